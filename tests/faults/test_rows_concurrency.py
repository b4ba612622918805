"""Rows P of the catalogue: many clients at once, and what is done to the store while they read."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from faults.trial import Trial, trial
from rig import assert_store_is_sound, mirror_of
from sampan.server.settings import REQUEST_HEAD_SECONDS
from sampan.store import scrub
from sampan.testing import FakeRegistry, Match, faults, image, random_layer

pytestmark = pytest.mark.standstill

MIB = 1024 * 1024
SIZE = 9 * MIB  # more than is verified before its first byte leaves
HALF = 4 * MIB
CLIENTS = 100
ALPINE = image("library/alpine", "3", layers=[random_layer(1, SIZE)])
SMALL = image("library/small", "3", layers=[random_layer(2, 200_000)])
DATA = ALPINE.layers[0].read()
LAYER = Match(kind="blob", digest=ALPINE.layers[0].digest)
PATH = f"/v2/{ALPINE.repository}/blobs/{ALPINE.layers[0].digest}"


@dataclass
class Ground:
    """Two hosts, the first of which misbehaves as told, and a mirror whose clients know the manifest."""

    bad: FakeRegistry
    good: FakeRegistry
    endured: Trial

    async def layer(self) -> bytes:
        """All of it, read by a client."""
        answer = await self.endured.ask(PATH)
        assert (answer.status, answer.complete) == (200, True)
        return answer.body

    def asked(self, host: FakeRegistry) -> list[str]:
        """The ranges of the requests for the layer."""
        return [request.headers.get("range", "") for request in host.requests if LAYER.meets(request)]


@asynccontextmanager
async def ground(path: Path, **options: Any) -> AsyncIterator[Ground]:
    async with FakeRegistry("bad") as bad, FakeRegistry("good", host="127.0.0.2") as good:
        for one in (ALPINE, SMALL):
            good.add(bad.add(one))
        async with trial(path, [bad, good], verify="stream", **options) as endured:
            answer = await endured.ask(f"/v2/{ALPINE.repository}/manifests/3")
            assert answer.status == 200
            yield Ground(bad, good, endured)


@asynccontextmanager
async def begun(endured: Trial, path: str = PATH, *, buffer_bytes: int | None = None) -> AsyncIterator[Any]:
    """A client that has the head of an answer: its reader."""
    connection = socket.socket()
    if buffer_bytes is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, endured.server.address)
    limit = 64 * 1024 if buffer_bytes is None else buffer_bytes
    reader, writer = await asyncio.open_connection(sock=connection, limit=limit)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: sampan.test\r\nConnection: close\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        yield reader
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


# -- P1 to P4: readers of one download ----------------------------------------------------------------


async def test_p1_a_hundred_clients_of_one_absent_blob(tmp_path: Path) -> None:
    async with ground(tmp_path) as g:
        for body in await asyncio.gather(*(g.layer() for _ in range(CLIENTS))):
            assert body == DATA
        assert g.asked(g.bad) == [""]
        await g.endured.pull(ALPINE)
        await g.endured.assert_endured(g.bad, reasons=[], requests_max=3, seconds_max=0.1, holds=[ALPINE])


async def test_p1_who_comes_late_reads_what_is_there(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with ground(tmp_path) as g:
        g.bad.script(faults.held(gate, at=HALF), on=LAYER)
        async with begun(g.endured) as first:
            before = await first.readexactly(HALF // 2)
            async with begun(g.endured) as late:
                assert await late.readexactly(HALF // 2) == before == DATA[: HALF // 2]
                gate.set()
                for reader in (first, late):
                    assert await reader.read() == DATA[HALF // 2 :]
        assert g.asked(g.bad) == [""]


async def test_p2_the_first_client_leaves(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with ground(tmp_path) as g:
        g.bad.script(faults.held(gate, at=HALF), on=LAYER)
        async with begun(g.endured) as first:
            await first.readexactly(MIB)
            others = [asyncio.create_task(g.layer()) for _ in range(9)]
            await g.endured.pass_seconds(0.1)
        gate.set()
        assert await asyncio.gather(*others) == [DATA] * 9
        assert g.asked(g.bad) == [""]
        assert await g.endured.metric("sampan_clients_left_total") == 1


async def test_p2_all_clients_leave_and_the_download_ends(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with ground(tmp_path) as g:
        g.bad.script(faults.held(gate, at=HALF), on=LAYER)
        async with begun(g.endured) as first:
            await first.readexactly(MIB)
        gate.set()
        await g.endured.pass_seconds(0.1)
        assert await g.layer() == DATA
        assert g.asked(g.bad) == [""]


async def test_p3_the_host_fails_while_ninety_nine_follow(tmp_path: Path) -> None:
    async with ground(tmp_path) as g:
        g.bad.script(faults.resets(HALF), on=LAYER)
        assert await asyncio.gather(*(g.layer() for _ in range(CLIENTS))) == [DATA] * CLIENTS
        assert g.asked(g.bad) == [""]
        assert g.asked(g.good) == [f"bytes={HALF}-"]
        await g.endured.pull(ALPINE)
        await g.endured.assert_endured(
            g.bad, reasons=["reset"], requests_max=3, seconds_max=0.5, holds=[ALPINE]
        )


async def test_p4_one_reader_is_slow(tmp_path: Path) -> None:
    async with ground(tmp_path) as g, begun(g.endured, buffer_bytes=8 * 1024) as slow:
        assert await asyncio.gather(*(g.layer() for _ in range(9))) == [DATA] * 9
        await g.endured.assert_endured(g.bad, reasons=[], requests_max=2, seconds_max=0.1)
        (waiting,) = g.endured.server.stalls._waiting
        assert waiting.get_write_buffer_size() <= MIB  # what it has not taken waits on the disk
        assert await slow.read() == DATA


# -- P6 and P7: what is done to the store and the mirror meanwhile -----------------------------------


async def test_p6_eviction_and_scrubbing_beside_clients(tmp_path: Path) -> None:
    images = [image(f"library/i{n}", "3", layers=[random_layer(10 + n, 150_000)]) for n in range(8)]
    async with FakeRegistry("host") as host:
        for one in images:
            host.add(one)
        async with trial(tmp_path, [host], max_size_bytes=400_000) as endured:  # a third of them
            done = asyncio.Event()

            async def scrubs() -> int:
                rounds = 0
                while not done.is_set():
                    await asyncio.to_thread(scrub, endured.rig.store)
                    await endured.rig.room.tidy()
                    rounds += 1
                return rounds

            scrubbing = asyncio.create_task(scrubs())
            for number in range(3):
                order = images[number:] + images[:number]
                await asyncio.gather(*(endured.pull(one) for one in order))
                for _ in range(2):  # a sweep that runs may have begun before the last of them were there
                    endured.rig.room.check()
                    await endured.rig.room.close()
            done.set()
            assert await scrubbing > 0
            await endured.rig.room.close()
            assert endured.rig.store.usage() <= 400_000
            assert host.count() > 3 * len(images)  # some were driven out, and came again
            assert_store_is_sound(endured.store)


async def test_p7_the_configuration_is_reloaded_in_mid_blob(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with ground(tmp_path) as g:
        g.bad.script(faults.held(gate, at=HALF), on=LAYER)
        async with (
            FakeRegistry("new", host="127.0.0.3") as new,
            mirror_of(g.endured.store, [new], verify="stream") as other,
            begun(g.endured) as running,
        ):
            for one in (ALPINE, SMALL):
                new.add(one)
            assert await running.readexactly(MIB) == DATA[:MIB]
            g.endured.server.replace_mirror(other.mirror)
            asked = len(g.bad.requests)
            await g.endured.pull(SMALL)
            await g.endured.assert_endured(
                g.bad, reasons=[], requests_max=2, seconds_max=0.1, holds=[SMALL], resumable=True
            )
            assert new.count() == 3
            gate.set()
            assert await running.read() == DATA[MIB:]
            assert len(g.bad.requests) == asked  # what ran went on with the hosts that it began with
            assert g.asked(g.bad) == [""]
            assert await g.layer() == DATA  # and the new ones need give none of it again
            assert sum(r.bytes_sent for r in new.requests if LAYER.meets(r)) == 0
            await g.endured.server.stop(grace_seconds=0.0)
        # The commit of the old one may still be awaited, as another process's would be.
        await g.endured.assert_endured(g.bad, reasons=[], requests_max=2, seconds_max=1.0, holds=[SMALL])


# -- P8: clients that ask for nothing ----------------------------------------------------------------


async def test_p8_a_thousand_clients_that_never_come_to_the_point(tmp_path: Path) -> None:
    said = [b"", b"GET /v2/ HTTP/1.1\r\nHost: x\r\n", b"GET / HTTP"]
    async with ground(tmp_path) as g, contextlib.AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(idle(g.endured, said[n % 3])) for n in range(1000)]
        await g.endured.pull(ALPINE)
        await g.endured.assert_endured(g.bad, reasons=[], requests_max=3, seconds_max=0.1, holds=[ALPINE])
        for _ in range(3):
            for _, writer in crowd[2::3]:
                writer.write(b"x")  # a byte now and then does not save it
            await g.endured.pass_seconds(REQUEST_HEAD_SECONDS / 2.5)
        ended = await asyncio.gather(*(reader.read() for reader, _ in crowd), return_exceptions=True)
        assert {end for end in ended if not isinstance(end, OSError)} <= {b""}
        await g.endured.pull(SMALL)
        await g.endured.assert_endured(g.bad, reasons=[], requests_max=6, seconds_max=0.1, holds=[SMALL])


@asynccontextmanager
async def idle(
    endured: Trial, said: bytes
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*endured.server.address)
    writer.write(said)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
