"""The kubelet's side of the Container Runtime Interface, as much of it as pulling an image takes.

The messages are described in a table below, by the field numbers of the published runtime.v1 API,
and made when this is imported: no generated files. It guarantees a time limit on every call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PULL_TIMEOUT_SECONDS = 60.0
CALL_TIMEOUT_SECONDS = 10.0

_PACKAGE = "runtime.v1"
_MANY = "repeated "

# Message -> field -> (number, type); a type that is not a scalar is another message of this table.
_MESSAGES: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "ImageSpec": {"image": (1, "string")},
    "AuthConfig": {"username": (1, "string"), "password": (2, "string"), "server_address": (4, "string")},
    "PullImageRequest": {"image": (1, "ImageSpec"), "auth": (2, "AuthConfig")},
    "PullImageResponse": {"image_ref": (1, "string")},
    "ImageFilter": {"image": (1, "ImageSpec")},
    "ListImagesRequest": {"filter": (1, "ImageFilter")},
    "ListImagesResponse": {"images": (1, "repeated Image")},
    "Image": {
        "id": (1, "string"),
        "repo_tags": (2, "repeated string"),
        "repo_digests": (3, "repeated string"),
        "size": (4, "uint64"),
    },
    "ImageStatusRequest": {"image": (1, "ImageSpec")},
    "ImageStatusResponse": {"image": (1, "Image")},
    "RemoveImageRequest": {"image": (1, "ImageSpec")},
    "RemoveImageResponse": {},
    "VersionRequest": {"version": (1, "string")},
    "VersionResponse": {
        "version": (1, "string"),
        "runtime_name": (2, "string"),
        "runtime_version": (3, "string"),
        "runtime_api_version": (4, "string"),
    },
    "StatusRequest": {},
    "RuntimeCondition": {
        "type": (1, "string"),
        "status": (2, "bool"),
        "reason": (3, "string"),
        "message": (4, "string"),
    },
    "RuntimeStatus": {"conditions": (1, "repeated RuntimeCondition")},
    "StatusResponse": {"status": (1, "RuntimeStatus")},
}


def _messages() -> dict[str, Callable[..., Any]]:
    kinds = descriptor_pb2.FieldDescriptorProto
    scalars = {"string": kinds.TYPE_STRING, "bool": kinds.TYPE_BOOL, "uint64": kinds.TYPE_UINT64}
    file = descriptor_pb2.FileDescriptorProto(name="cri.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field_name, (number, kind) in fields.items():
            element = kind.removeprefix(_MANY)
            field = message.field.add(name=field_name, number=number)
            field.label = kinds.LABEL_REPEATED if kind.startswith(_MANY) else kinds.LABEL_OPTIONAL
            field.type = scalars.get(element, kinds.TYPE_MESSAGE)
            if element not in scalars:
                field.type_name = f".{_PACKAGE}.{element}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _MESSAGES
    }


_CLASSES = _messages()


class CriError(Exception):
    """The runtime's own words about why a call failed; ``code`` is gRPC's name of it."""

    def __init__(self, method: str, code: str, details: str) -> None:
        super().__init__(f"{method}: {code}: {details}")
        self.code = code
        self.details = details


@dataclass(frozen=True, slots=True)
class PulledImage:
    """An image as the runtime lists it: ``id`` is the digest of its config."""

    id: str
    tags: Sequence[str]
    digests: Sequence[str]
    size_bytes: int


class Cri:
    """The image and runtime services behind a unix socket; one connection, made when first needed."""

    def __init__(self, socket: Path) -> None:
        # A runtime that is just starting is asked again at once, not after gRPC's growing pauses.
        options = [("grpc.enable_http_proxy", 0), ("grpc.initial_reconnect_backoff_ms", 20)]
        options += [("grpc.max_reconnect_backoff_ms", 100), ("grpc.min_reconnect_backoff_ms", 20)]
        self._channel = grpc.insecure_channel(f"unix:{socket}", options=options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def pull(
        self,
        reference: str,
        *,
        login: Mapping[str, str] | None = None,
        timeout_seconds: float = PULL_TIMEOUT_SECONDS,
    ) -> str:
        """``PullImage``: the image's reference in the runtime, which for containerd is its ID. ``login``: an
        AuthConfig, as a kubelet makes it of a pull secret."""
        more = {} if login is None else {"auth": dict(login)}
        answer = self._call("Image", "PullImage", timeout_seconds, image={"image": reference}, **more)
        return str(answer.image_ref)

    def images(self) -> list[PulledImage]:
        return [_pulled(image) for image in self._call("Image", "ListImages").images]

    def image(self, reference: str) -> PulledImage | None:
        """``ImageStatus``: None when the runtime does not have it."""
        answer = self._call("Image", "ImageStatus", image={"image": reference})
        return _pulled(answer.image) if answer.HasField("image") else None

    def remove(self, reference: str) -> None:
        self._call("Image", "RemoveImage", image={"image": reference})

    def version(self) -> str:
        """Name and version of the runtime, in its own words."""
        answer = self._call("Runtime", "Version")
        return f"{answer.runtime_name} {answer.runtime_version}"

    def conditions(self) -> dict[str, bool]:
        """``Status``: RuntimeReady, NetworkReady."""
        answer = self._call("Runtime", "Status")
        return {condition.type: condition.status for condition in answer.status.conditions}

    def ready(self) -> bool:
        """Whether both services answer: containerd listens before its CRI does."""
        try:
            self._call("Image", "ListImages", 1)
            self._call("Runtime", "Version", 1)
        except CriError:
            return False
        return True

    def _call(
        self, service: str, method: str, timeout_seconds: float = CALL_TIMEOUT_SECONDS, **fields: Any
    ) -> Any:
        request = _CLASSES[f"{method}Request"](**fields)
        answer = _CLASSES[f"{method}Response"]
        call = self._channel.unary_unary(
            f"/{_PACKAGE}.{service}Service/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,  # type: ignore[attr-defined]  # made at run time
        )
        try:
            return call(request, timeout=timeout_seconds)
        except grpc.RpcError as error:
            raise CriError(method, error.code().name, error.details()) from None


def _pulled(image: Any) -> PulledImage:
    return PulledImage(image.id, tuple(image.repo_tags), tuple(image.repo_digests), image.size)
