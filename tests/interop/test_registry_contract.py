"""The contract that the fake registry keeps is the one that a real registry keeps."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from contract.registry_contract import Held, RegistryContract
from interop.registries import docker_registry
from sampan.testing import Image, image, index, random_layer

pytestmark = pytest.mark.interop

LAYER_BYTES = 300_000
PUSH_TIMEOUT_SECONDS = 20


def push(netloc: str, made: Image) -> None:
    """By the distribution spec: blobs first, then manifests, that with the tag last."""
    connection = http.client.HTTPConnection(netloc, timeout=PUSH_TIMEOUT_SECONDS)
    with contextlib.closing(connection):
        for blob in made.blobs:
            started = send(connection, "POST", f"/v2/{made.repository}/blobs/uploads/")
            upload = urlsplit(started)
            send(connection, "PUT", f"{upload.path}?{upload.query}&digest={blob.digest}", blob.read())
        for content in reversed(made.manifests):
            name = made.tag if content is made.manifest else content.digest
            path = f"/v2/{made.repository}/manifests/{name}"
            send(connection, "PUT", path, content.read(), content.media_type)


def send(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes = b"",
    content_type: str = "application/octet-stream",
) -> str:
    connection.request(method, path, body, {"Content-Type": content_type})
    answer = connection.getresponse()
    assert answer.status in (201, 202), answer.read()
    answer.read()
    return answer.headers["Location"]


@pytest.fixture(scope="module", params=["image", "docker image", "index"])
def held(request: pytest.FixtureRequest, complete: None, scratch: Path) -> Iterator[Held]:
    layers = [random_layer(seed=1, size_bytes=LAYER_BYTES)]
    made = {
        "image": image("library/alpine", "3", layers=layers),
        "docker image": image("library/alpine", "3", layers=layers, docker=True),
        "index": index("library/alpine", "3"),
    }[request.param]
    with docker_registry(scratch) as registry:
        push(registry.netloc, made)
        yield Held(registry.url, made)


class TestDockerRegistry(RegistryContract):
    """distribution 2.8, as Debian ships it; it knows no referrers."""
