"""Giving content to a registry: whole, in chunks, after cuts, with logins, elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import FileIO
from pathlib import Path

import pytest

from sampan.errors import Denied, HostError, NotARegistry, RateLimited, ServerFault, Unreachable
from sampan.oci import Digest
from sampan.oci.manifest import OCI_MANIFEST
from sampan.secret import Secret
from sampan.testing import ClosedPort, Fault, Match, TokenServer, faults, image
from sampan.testing.images import random_bytes
from sampan.upstream.credentials import CredentialFiles
from sampan.upstream.host import Host
from sampan.upstream.push import TRIES_MAX, PushClient
from sampan.upstream.transport import Transport
from standstill import LoopClock
from uploads import UploadRegistry

CHUNK = 4096
DATA = random_bytes(7, 4 * CHUNK + 100)
BLOB = Digest.of(DATA)
NAME = "team/app"
PATCHES = Match(method="PATCH")


@pytest.fixture
async def registry() -> AsyncIterator[UploadRegistry]:
    async with UploadRegistry() as server:
        yield server


@asynccontextmanager
async def pushing(chunk_bytes: int = CHUNK, answer_seconds: float = 2.0) -> AsyncIterator[PushClient]:
    clock = LoopClock()
    client = PushClient(
        Transport(),
        credentials=CredentialFiles((), environment={}, clock=clock),
        clock=clock,
        chunk_bytes=chunk_bytes,
        answer_seconds=answer_seconds,
        retry_seconds=0.0,
    )
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
def file(tmp_path: Path) -> FileIO:
    path = tmp_path / "blob"
    path.write_bytes(DATA)
    return FileIO(path)


async def push(
    registry: UploadRegistry, file: FileIO, *, host: Host | None = None, chunk: int = CHUNK
) -> None:
    with file:
        async with pushing(chunk) as client:
            await client.blob(host or Host.from_url(registry.url), NAME, BLOB, file, len(DATA))


def holds(registry: UploadRegistry) -> bool:
    content = registry.place(NAME).blobs.get(str(BLOB))
    return content is not None and content.read() == DATA


async def test_a_small_blob_goes_whole(registry: UploadRegistry, file: FileIO) -> None:
    await push(registry, file, chunk=len(DATA))
    assert holds(registry)
    assert [request.method for request in registry.requests] == ["POST", "PUT"]


async def test_a_blob_is_taken_over_from_another_repository_that_has_it(registry: UploadRegistry) -> None:
    made = registry.add(image("library/base", "1"))
    host, layer = Host.from_url(registry.url), Digest.parse(made.layers[0].digest)
    async with pushing() as client:
        assert await client.mount(host, NAME, layer, "library/base")
        assert await client.has_blob(host, NAME, layer)
        assert not await client.mount(host, NAME, BLOB, "library/base")
    assert registry.uploads == {}, "an upload that nobody will finish is left there"


async def test_a_large_blob_goes_in_chunks(registry: UploadRegistry, file: FileIO) -> None:
    await push(registry, file)
    assert holds(registry)
    assert registry.chunks == [CHUNK, CHUNK, CHUNK, CHUNK, 100]


async def test_a_registrys_least_chunk_is_kept_to(registry: UploadRegistry, file: FileIO) -> None:
    registry.least_bytes = 2 * CHUNK
    await push(registry, file)
    assert registry.chunks == [2 * CHUNK, 2 * CHUNK, 100]


async def test_a_registry_that_wants_no_chunks_gets_it_whole(registry: UploadRegistry, file: FileIO) -> None:
    registry.takes_chunks = False
    await push(registry, file)
    assert holds(registry)
    assert registry.chunks == [CHUNK]


@pytest.mark.parametrize(
    "fault",
    [faults.status(500), faults.status(503), faults.hang_up(), faults.rate_limited()],
    ids=lambda f: f.name,
)
async def test_a_lost_answer_costs_no_chunk_that_arrived(
    registry: UploadRegistry, file: FileIO, fault: Fault
) -> None:
    registry.script(fault, on=Match(method="PATCH", nth=3))
    await push(registry, file)
    assert holds(registry)
    assert registry.chunks == [CHUNK, CHUNK, CHUNK, CHUNK, 100]  # the registry took it before it failed


async def test_an_upload_that_is_forgotten_begins_anew(registry: UploadRegistry, file: FileIO) -> None:
    registry.forgetful = True
    registry.script(faults.status(500), on=PATCHES, times=1)
    await push(registry, file)
    assert holds(registry)
    assert registry.count(method="POST") == 2


async def test_a_lost_answer_to_the_end_is_looked_up(registry: UploadRegistry, file: FileIO) -> None:
    registry.script(faults.hang_up(), on=Match(method="PUT"), times=1)
    await push(registry, file)
    assert holds(registry)
    assert registry.count(method="PUT") == 1


async def test_without_progress_it_ends(registry: UploadRegistry, file: FileIO) -> None:
    registry.script(faults.status(503), on=Match(method="POST"))
    with pytest.raises(ServerFault):
        await push(registry, file)
    assert registry.count(method="POST") == TRIES_MAX


@pytest.mark.parametrize(
    ("status", "kind"), [(403, Denied), (413, NotARegistry), (429, RateLimited), (500, ServerFault)]
)
async def test_what_a_registry_refuses_says_so(
    registry: UploadRegistry, file: FileIO, status: int, kind: type[HostError]
) -> None:
    registry.script(faults.status(status), on=Match(method="PUT"))
    with pytest.raises(kind):
        await push(registry, file, chunk=len(DATA))
    assert registry.count(method="PUT") == (1 if status in (403, 413) else TRIES_MAX)


async def test_nobody_there_is_told_as_what_it_is(file: FileIO, registry: UploadRegistry) -> None:
    async with ClosedPort() as nobody:
        with pytest.raises(Unreachable):
            await push(registry, file, host=Host.from_url(nobody.url))


async def test_bytes_that_are_not_the_blob_are_refused_by_the_registry(
    registry: UploadRegistry, tmp_path: Path
) -> None:
    (tmp_path / "blob").write_bytes(DATA[::-1])
    with pytest.raises(NotARegistry) as caught:
        await push(registry, FileIO(tmp_path / "blob"), chunk=len(DATA))
    assert "DIGEST_INVALID" in caught.value.message
    assert not holds(registry)


async def test_a_token_to_push_is_asked_for_and_shown(file: FileIO) -> None:
    async with TokenServer(users={"robot": "secret"}) as realm, UploadRegistry(auth=realm) as registry:
        host = Host.from_url(registry.url, username="robot", password=Secret("secret"))
        await push(registry, file, host=host)
        assert holds(registry)


async def test_an_upload_that_is_led_elsewhere_shows_no_login_there(file: FileIO) -> None:
    async with (
        TokenServer(users={"robot": "secret"}) as realm,
        UploadRegistry("storage", host="127.0.0.2") as storage,
        UploadRegistry(auth=realm) as registry,
    ):
        registry.elsewhere = storage
        host = Host.from_url(registry.url, username="robot", password=Secret("secret"))
        await push(registry, file, host=host)
        assert holds(storage)
        assert storage.requests
        assert not any("authorization" in request.headers for request in storage.requests)


async def test_whether_a_user_may_push_is_found_out_and_nothing_is_left(registry: UploadRegistry) -> None:
    host = Host.from_url(registry.url)
    async with pushing() as client:
        await client.check(host, NAME)
        assert not registry.uploads
        registry.script(faults.status(403))
        with pytest.raises(Denied):
            await client.check(host, NAME)


async def test_a_manifest_is_put_as_it_is(registry: UploadRegistry) -> None:
    alpine, host = image(NAME, "3"), Host.from_url(registry.url)
    registry.script(faults.status(503), on=Match(method="PUT"), times=1)
    async with pushing() as client:
        await client.manifest(host, NAME, "3", alpine.raw, Digest.parse(alpine.digest), OCI_MANIFEST)
    place = registry.place(NAME)
    assert place.tags == {"3": alpine.digest}
    assert place.manifests[alpine.digest].read() == alpine.raw
    assert place.manifests[alpine.digest].media_type == OCI_MANIFEST


async def test_a_blob_that_is_there_is_known(registry: UploadRegistry) -> None:
    alpine, host = image(NAME, "3"), Host.from_url(registry.url)
    registry.add(alpine)
    async with pushing() as client:
        assert await client.has_blob(host, NAME, Digest.parse(alpine.blobs[0].digest))
        assert not await client.has_blob(host, NAME, BLOB)
        assert not await client.has_blob(host, "no/such", BLOB)
