"""The rules as a policy that the API server itself carries out, or Kyverno: no server of ours at all.

It guarantees the webhook's answers: the same images of the same pods, and the same annotations with their
originals. Both kinds are one specification in CEL; documents are plain values, not YAML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from sampan.errors import UsageError
from sampan.rewrite.admission import MIRROR_POD
from sampan.rewrite.cel import quote, steps
from sampan.rewrite.originals import ORIGINAL, ORIGINAL_OF_VOLUME
from sampan.rewrite.pods import CONTAINERS, EPHEMERAL_CONTAINERS, INIT_CONTAINERS
from sampan.rewrite.rules import Rules

Document = dict[str, object]

NAME = "sampan-rewrite"
KYVERNO_API = "policies.kyverno.io/v1"
# The first Kubernetes 1.x with each version of the API; it is on by default from the last on.
POLICY_API: Mapping[int, str] = MappingProxyType({36: "v1", 34: "v1beta1", 32: "v1alpha1"})
PODS_CREATED_OR_UPDATED = MappingProxyType(
    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["pods"]}
)
EPHEMERAL_UPDATED = MappingProxyType(
    {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["UPDATE"],
        "resources": ["pods/ephemeralcontainers"],
    }
)
NO_MIRROR_POD = MappingProxyType(
    {
        "name": "no-mirror-pod",
        "expression": "!has(object.metadata.annotations)"
        f" || !({quote(MIRROR_POD)} in object.metadata.annotations)",
    }
)
_SUBRESOURCE = "has(request.subResource) && request.subResource == " + quote(EPHEMERAL_CONTAINERS.lower())


def admission_policy(rules: Rules, *, kubernetes: int, selector: Document) -> list[Document]:
    """A MutatingAdmissionPolicy and its binding, for Kubernetes 1.``kubernetes``. Raises UsageError for one
    that has none."""
    version = next((name for first, name in POLICY_API.items() if kubernetes >= first), None)
    if version is None:
        raise UsageError(
            f"Kubernetes 1.{kubernetes} has no MutatingAdmissionPolicy",
            hint=f"it came with 1.{min(POLICY_API)}; the webhook and --kyverno work with older ones",
        )
    api = f"admissionregistration.k8s.io/{version}"
    spec = _specification(rules, selector)
    return [
        {"apiVersion": api, "kind": "MutatingAdmissionPolicy", "metadata": {"name": NAME}, "spec": spec},
        {
            "apiVersion": api,
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": NAME},
            "spec": {"policyName": NAME},
        },
    ]


def kyverno_policy(rules: Rules, *, selector: Document) -> list[Document]:
    """A MutatingPolicy of Kyverno; pods alone, not what makes them."""
    spec = {
        **_specification(rules, selector),
        "evaluation": {"admission": {"enabled": True}, "mutateExisting": {"enabled": False}},
        "autogen": {"podControllers": {"controllers": []}},
    }
    return [{"apiVersion": KYVERNO_API, "kind": "MutatingPolicy", "metadata": {"name": NAME}, "spec": spec}]


def _specification(rules: Rules, selector: Document) -> Document:
    variables = [("images", _images()), *steps(rules, "variables.images"), *_changed()]
    return {
        "failurePolicy": "Ignore",
        "reinvocationPolicy": "IfNeeded",
        "matchConstraints": {
            "matchPolicy": "Equivalent",
            "namespaceSelector": selector,
            "resourceRules": [dict(PODS_CREATED_OR_UPDATED), dict(EPHEMERAL_UPDATED)],
        },
        "matchConditions": [dict(NO_MIRROR_POD)],
        "variables": [{"name": name, "expression": expression} for name, expression in variables],
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": _patch()}}],
    }


def _field(name: str) -> str:
    return f"(has(object.spec.{name}) ? object.spec.{name} : [])"


def _volumes() -> str:
    return f"{_field('volumes')}.filter(v, has(v.image) && has(v.image.reference))"


def _images() -> str:
    """All images of the pod, as texts: the lists are of several types, and CEL joins none but equals."""
    fields = (CONTAINERS, INIT_CONTAINERS, EPHEMERAL_CONTAINERS)
    containers = " + ".join(f"{_field(name)}.filter(c, has(c.image)).map(c, c.image)" for name in fields)
    return f"({containers} + {_volumes()}.map(v, v.image.reference))"


def _after(image: str) -> str:
    return f"variables.after[variables.images.indexOf({image})]"


def _changed() -> list[tuple[str, str]]:
    """What is to be patched, a variable for each field."""
    created = "request.operation == 'CREATE'"
    found = []
    for name, before in ((CONTAINERS, True), (INIT_CONTAINERS, False), (EPHEMERAL_CONTAINERS, True)):
        asked = created
        if before:
            admitted = (
                f"oldObject.spec.{name}.exists(o, o.name == c.name && has(o.image) && o.image == c.image)"
            )
            asked = f"({created} || !(has(oldObject.spec.{name}) && {admitted}))"
        changes = f"{_after('c.image')} != c.image"
        found.append((name, f"{_field(name)}.filter(c, has(c.image) && {changes} && {asked})"))
    reference = "v.image.reference"
    changes = f"{_after(reference)} != {reference}"
    found.append(("volumes", f"{_volumes()}.filter(v, {changes} && {created})"))
    return found


def _patch() -> str:
    fields: Sequence[tuple[str, str, str, str]] = (
        (CONTAINERS, "image", "c.image", ORIGINAL),
        (INIT_CONTAINERS, "image", "c.image", ORIGINAL),
        (EPHEMERAL_CONTAINERS, "image", "c.image", ORIGINAL),
        ("volumes", "image/reference", "c.image.reference", ORIGINAL_OF_VOLUME),
    )
    replaced = [
        f"variables.{name}.map(c, JSONPatch{{op: 'replace', path: '/spec/{name}/'"
        f" + string(object.spec.{name}.map(n, n.name).indexOf(c.name)) + '/{rest}', value: {_after(image)}}})"
        for name, rest, image, _ in fields
    ]
    kept = [
        f"variables.{name}.map(c, JSONPatch{{op: 'add', path: '/metadata/annotations/'"
        f" + jsonpatch.escapeKey({quote(prefix)} + c.name), value: {image}}})"
        for name, _, image, prefix in fields
    ]
    some = " || ".join(f"size(variables.{name}) > 0" for name, *_ in fields)
    parent = (
        f"(!has(object.metadata.annotations) && ({some}) ?"
        " [JSONPatch{op: 'add', path: '/metadata/annotations', value: {}}] : [])"
    )
    originals = " +\n  ".join([parent, *kept])
    return " +\n".join(replaced) + f" +\n({_SUBRESOURCE} ? [] :\n  {originals})"
