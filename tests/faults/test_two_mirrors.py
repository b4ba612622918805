"""Two mirrors, each a process, on one store: what both lack is fetched once, though one is killed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from pathlib import Path

import pytest

from faults.client import download
from interop.serving import Mirror, Serving, serving
from rig import assert_store_is_sound
from sampan.oci import Digest
from sampan.testing import FakeRegistry, Image, Match, ServerThread, faults, image, random_layer

MIB = 1024 * 1024
SIZE = 24 * MIB
BYTES_PER_SECOND = 12 * MIB
CLIENTS = 10  # of each mirror
IN_FLIGHT_BYTES = 4 * MIB  # in the kernel and in memory, when it is killed

Download = Coroutine[object, object, tuple[int, Digest | None]]


@contextlib.contextmanager
def two_mirrors(path: Path) -> Iterator[tuple[FakeRegistry, Image, Serving, Serving]]:
    host = FakeRegistry("host")
    alpine = host.add(image("library/alpine", "3", layers=[random_layer(1, SIZE)]))
    host.script(faults.bandwidth(BYTES_PER_SECOND), on=Match(kind="blob"))
    with ServerThread(host), contextlib.ExitStack() as stack:
        mirrors: list[Mirror] = [{"url": host.url, "verify": "stream"}]
        one, other = (stack.enter_context(serving(path, mirrors, home=path)) for _ in range(2))
        for mirror in (one, other):
            assert mirror.get("/v2/library/alpine/manifests/3?ns=docker.io")[0] == 200
        yield host, alpine, one, other


def layer_of(mirror: Serving, alpine: Image) -> Download:
    path = f"/v2/library/alpine/blobs/{alpine.layers[0].digest}?ns=docker.io"
    return download(mirror.netloc, path)


def sent_by(host: FakeRegistry) -> int:
    return sum(request.bytes_sent for request in host.requests if request.kind == "blob")


@pytest.mark.row("P5")
def test_what_both_lack_is_fetched_once(tmp_path: Path) -> None:
    with two_mirrors(tmp_path) as (host, alpine, one, other):

        async def pull() -> list[tuple[int, Digest | None]]:
            clients = [layer_of(mirror, alpine) for mirror in (one, other) for _ in range(CLIENTS)]
            return await asyncio.gather(*clients)

        right = (SIZE, Digest.parse(alpine.layers[0].digest))
        assert asyncio.run(pull()) == [right] * (2 * CLIENTS)
        assert host.count(kind="blob") == 1
        assert sent_by(host) == SIZE
    assert assert_store_is_sound(tmp_path / "store") == 2


@pytest.mark.row("P5")
def test_when_the_one_that_fetches_is_killed_the_other_goes_on_from_its_last_byte(tmp_path: Path) -> None:
    with two_mirrors(tmp_path) as (host, alpine, one, other):

        async def pull() -> list[tuple[int, Digest | None]]:
            victims = [asyncio.create_task(layer_of(one, alpine)) for _ in range(CLIENTS)]
            while sent_by(host) < SIZE // 2:
                await asyncio.sleep(0)
            clients = [asyncio.create_task(layer_of(other, alpine)) for _ in range(CLIENTS)]
            while sent_by(host) < SIZE * 3 // 4:
                await asyncio.sleep(0)
            one.process.kill()
            for each in await asyncio.gather(*victims, return_exceptions=True):
                assert isinstance(each, OSError | asyncio.IncompleteReadError)
            return await asyncio.gather(*clients)

        right = (SIZE, Digest.parse(alpine.layers[0].digest))
        assert asyncio.run(pull()) == [right] * CLIENTS
        assert host.count(kind="blob") == 2
        assert sent_by(host) <= SIZE + IN_FLIGHT_BYTES
    assert assert_store_is_sound(tmp_path / "store") == 2
