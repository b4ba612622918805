"""The CRI's messages as they are written here, against those of google.protobuf and a gRPC server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from sampan.doctor.chain.cri import Images, fields, request_of

NAME = "docker.io/library/alpine:3"
TEXT, NESTED = 9, 11  # kinds of fields, as descriptors number them


def _classes() -> tuple[Any, Any]:
    """ImageStatusRequest (the others are the same) and ImageStatusResponse of the published API."""
    file = descriptor_pb2.FileDescriptorProto(name="chain_cri.proto", package="runtime.v1", syntax="proto3")
    for name, field, kind, of in (
        ("ImageSpec", "image", TEXT, ""),
        ("Request", "image", NESTED, ".runtime.v1.ImageSpec"),
        ("Image", "id", TEXT, ""),
        ("Response", "image", NESTED, ".runtime.v1.Image"),
    ):
        message = file.message_type.add(name=name)
        message.field.add(name=field, number=1, label=1, type=kind, type_name=of or None)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = (pool.FindMessageTypeByName(f"runtime.v1.{name}") for name in ("Request", "Response"))
    request, response = map(message_factory.GetMessageClass, found)
    return request, response


REQUEST, RESPONSE = _classes()


@given(st.text(max_size=300))
def test_a_request_is_what_protobuf_writes(name: str) -> None:
    wanted = REQUEST()
    wanted.image.image = name
    assert REQUEST.FromString(request_of(name)).image.image == name
    assert not name or request_of(name) == wanted.SerializeToString()  # it leaves out what is empty


@given(st.binary(max_size=200))
def test_any_answer_is_read_to_its_end(data: bytes) -> None:
    assert all(number >= 0 for number, _ in fields(data))


class Service:
    """An image service with what ``there`` names, that pulls as ``refusal`` says."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.refusal: str | None = None

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        method = str(details.method).removeprefix("/runtime.v1.ImageService/")
        answers: dict[str, Callable[[Any, grpc.ServicerContext], Any]] = {
            "PullImage": self._pull,
            "ImageStatus": self._status,
            "RemoveImage": self._remove,
        }
        return grpc.unary_unary_rpc_method_handler(
            answers[method], REQUEST.FromString, lambda message: message.SerializeToString()
        )

    def _pull(self, request: Any, context: grpc.ServicerContext) -> Any:
        if self.refusal is not None:
            context.abort(grpc.StatusCode.UNKNOWN, self.refusal)
        self.there.add(request.image.image)
        return RESPONSE()

    def _status(self, request: Any, _context: grpc.ServicerContext) -> Any:
        answer = RESPONSE()
        if request.image.image in self.there:
            answer.image.id = "sha256:" + 64 * "a"
        return answer

    def _remove(self, request: Any, _context: grpc.ServicerContext) -> Any:
        self.there.discard(request.image.image)
        return RESPONSE()


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[tuple[Service, Images]]:
    service, path = Service(), str(tmp_path / "cri.sock")
    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[service])
    server.add_insecure_port(f"unix:{path}")
    server.start()
    yield service, Images(path)
    server.stop(None).wait()


def test_an_image_is_pulled_seen_and_removed(serving: tuple[Service, Images]) -> None:
    service, images = serving
    assert not images.is_there(NAME)
    assert images.pull(NAME, 5.0) is None
    assert service.there == {NAME}
    assert images.is_there(NAME)
    images.remove(NAME)
    assert not images.is_there(NAME)


def test_what_it_says_when_it_cannot_is_told_without_grpcs_own_words(
    serving: tuple[Service, Images],
) -> None:
    service, images = serving
    service.refusal = f'failed to pull and unpack image "{NAME}": not found'
    assert images.pull(NAME, 5.0) == service.refusal


def test_a_socket_that_nobody_answers_is_told_within_its_limit(tmp_path: Path) -> None:
    images = Images(str(tmp_path / "gone.sock"))
    assert images.pull(NAME, 5.0)
    assert not images.is_there(NAME)
