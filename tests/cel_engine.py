"""A policy's CEL run by Google's engine, type-checked, with what Kubernetes adds to the language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_strings
from google.protobuf import descriptor_pb2, descriptor_pool, struct_pb2
from google.protobuf.json_format import MessageToDict

PATCH_FIELDS = ("op", "path", "value")


def _json_patch() -> descriptor_pool.DescriptorPool:
    """A pool with the message that Kubernetes has policies make: strings, and a value of any kind."""
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(
        name="patch.proto", syntax="proto3", dependency=[struct_pb2.DESCRIPTOR.name]
    )
    message = file.message_type.add(name="JSONPatch")
    kinds = descriptor_pb2.FieldDescriptorProto
    for number, name in enumerate(PATCH_FIELDS, start=1):
        field = message.field.add(name=name, number=number, label=kinds.LABEL_OPTIONAL)
        if name == "value":
            field.type, field.type_name = kinds.TYPE_MESSAGE, ".google.protobuf.Value"
        else:
            field.type = kinds.TYPE_STRING
    values = descriptor_pb2.FileDescriptorProto()
    struct_pb2.DESCRIPTOR.CopyToProto(values)
    pool.Add(values)
    pool.Add(file)
    return pool


def _index_of(items: Sequence[Any], item: Any) -> int:
    return list(items).index(item) if item in items else -1


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _function(name: str, returns: cel.Type, parameters: list[cel.Type], impl: Any, *, is_member: bool) -> Any:
    overload = cel.Overload(f"of_kubernetes_{name}", returns, parameters, is_member, impl)
    return cel.FunctionDecl(name, [overload])


def _of_kubernetes() -> cel.CelExtension:
    """The two functions of Kubernetes' own that policies use: of lists, and of JSON patches."""
    any_list = cel.Type.List(cel.Type.DYN)
    return cel.CelExtension(
        "kubernetes",
        [
            _function("indexOf", cel.Type.INT, [any_list, cel.Type.DYN], _index_of, is_member=True),
            _function("jsonpatch.escapeKey", cel.Type.STRING, [cel.Type.STRING], _escape, is_member=False),
        ],
    )


def environment(variables: Mapping[str, cel.Type]) -> cel.Env:
    # In this order: an extension adds to a function that is there, the other way round is an error.
    return cel.NewEnv(
        descriptor_pool=_json_patch(),
        variables=dict(variables),
        extensions=[ext_strings.ExtStrings(2), _of_kubernetes()],
    )


class Variables:
    """Variables of a policy, compiled: each may use those before it, and what is ``known`` from the start."""

    def __init__(self, variables: Iterable[tuple[str, str]], known: Mapping[str, cel.Type]) -> None:
        self.types = dict(known)
        self._compiled: list[tuple[str, cel.Expression]] = []
        for name, text in variables:
            compiled = environment(self.types).compile(text)
            self.types[f"variables.{name}"] = compiled.return_type()
            self._compiled.append((f"variables.{name}", compiled))

    def values(self, **inputs: Any) -> dict[str, Any]:
        """The inputs, and the variables as they are with these."""
        data = dict(inputs)
        for name, compiled in self._compiled:
            data[name] = compiled.eval(data=data).plain_value()
        return data


class Policy:
    """The specification of a policy, compiled."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        known = dict.fromkeys(("object", "oldObject", "request"), cel.Type.DYN)
        variables = [(entry["name"], entry["expression"]) for entry in spec["variables"]]
        self._variables = Variables(variables, known)
        # Conditions are looked at before there are variables.
        self._conditions = [environment(known).compile(c["expression"]) for c in spec["matchConditions"]]
        (mutation,) = spec["mutations"]
        self._patch = environment(self._variables.types).compile(mutation["jsonPatch"]["expression"])

    def patch(self, **inputs: Any) -> list[dict[str, Any]]:
        """The JSON patch for a request; empty when a condition does not hold."""
        if not all(condition.eval(data=inputs).plain_value() for condition in self._conditions):
            return []
        found = self._patch.eval(data=self._variables.values(**inputs)).plain_value()
        return [_operation(message) for message in found]


def _operation(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = MessageToDict(message)
    return found
