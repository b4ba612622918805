"""Two mirrors on one store, as two processes have it: a blob that both lack is fetched once.

Locks belong to open files, so two stores of one process keep each other out as two processes do; that a
killed process lets go of its own is shown in tests/faults.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path

import pytest

from rig import ALPINE, HUB, Rig, assert_store_is_sound, mirror_of
from sampan.errors import StoreFull
from sampan.mirror.patience import Patience
from sampan.oci import Digest
from sampan.store import BeingWritten, DiskStore
from sampan.store.ingest import FileIngest, partial_name
from sampan.testing import FakeRegistry, Match, Tap, faults, image, random_layer

MIB = 1024 * 1024
SIZE = 12 * MIB
BLOB = Match(kind="blob")
TURNS = 5000


@dataclass
class Pair:
    """Two mirrors, their one host, and the line to it, of which nothing comes but what is poured."""

    one: Rig
    other: Rig
    host: FakeRegistry
    tap: Tap
    layer: Digest
    data: bytes

    @property
    def ranges(self) -> list[str]:
        """Of each request for the layer."""
        return [r.headers.get("range", "") for r in self.host.requests if r.kind == "blob"]

    async def ended(self, *tasks: asyncio.Task[int]) -> None:
        """Each client has the whole layer."""
        assert [await task for task in tasks] == [SIZE] * len(tasks)

    async def begun(self, rig: Rig) -> asyncio.Task[int]:
        """The layer, read by a client of ``rig``, of which the host has been asked."""
        task = asyncio.create_task(rig.read(self.layer))
        await until(lambda: self.tap.waiting == 1)
        return task

    async def poured(self, rig: Rig, count_bytes: int) -> None:
        """So much more comes to ``rig``, which writes it, but for a stride that may be in memory."""
        received = rig.watcher.received_bytes
        wanted = sum(received.values()) + count_bytes
        self.tap.pour(count_bytes)
        await until(lambda: sum(received.values()) >= wanted)
        await until(lambda: self.on_disk >= wanted // 3)

    @property
    def on_disk(self) -> int:
        """Bytes of the partial."""
        found = self.one.store.ingests.stat(partial_name(self.layer))
        return found.st_size if found else 0


async def until(is_so: Callable[[], bool]) -> None:
    for _ in range(TURNS):
        if is_so():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never comes to that")


@asynccontextmanager
async def pair(path: Path, patience: Patience | None = None) -> AsyncIterator[Pair]:
    layer, tap = image(ALPINE, "3", layers=[random_layer(1, SIZE)]), Tap()
    async with FakeRegistry("host") as host, mirror_of(path, [host], patience=patience) as one:
        host.add(layer)
        host.script(tap.fault(), on=BLOB)
        async with mirror_of(path, [host], patience=patience) as other:
            for rig in (one, other):
                await rig.mirror.manifest(HUB, ALPINE, "3")
            yield Pair(one, other, host, tap, Digest.parse(layer.layers[0].digest), layer.layers[0].read())


@pytest.mark.row("P5")
async def test_what_one_brings_the_other_waits_for_and_serves(tmp_path: Path) -> None:
    async with pair(tmp_path) as p:
        first, second = await p.begun(p.one), asyncio.create_task(p.other.read(p.layer))
        await p.poured(p.one, 5 * MIB)
        p.tap.open()
        await p.ended(first, second)
        assert p.ranges == [""]
        assert (p.one.watcher.downloads, p.other.watcher.downloads) == (["committed"], ["found"])
        assert await p.other.bytes(p.layer, start=SIZE - 10) == p.data[-10:]
    assert assert_store_is_sound(tmp_path) == 2
    assert list((tmp_path / "ingest").iterdir()) == []


async def test_a_pull_beside_a_mirror_says_who_brings_and_counts_nothing_as_fetched(tmp_path: Path) -> None:
    async with pair(tmp_path) as p:
        first, told = await p.begun(p.one), list[tuple[int, tuple[str, ...]]]()
        pull = asyncio.create_task(
            p.other.mirror.bring(HUB, ALPINE, p.layer, told=lambda *word: told.append(word))
        )
        await p.poured(p.one, 5 * MIB)
        await until(lambda: any(count > 3 * MIB and hosts == ("another process",) for count, hosts in told))
        p.tap.open()
        brought = await pull
        assert (brought.size, brought.already, brought.attempts) == (SIZE, True, ())
        assert await first == SIZE
        assert p.ranges == [""]


@pytest.mark.row("P5")
async def test_when_one_leaves_the_other_goes_on_from_its_last_byte(tmp_path: Path) -> None:
    async with pair(tmp_path) as p:
        first, second = await p.begun(p.one), asyncio.create_task(p.other.read(p.layer))
        await p.poured(p.one, 5 * MIB)
        on_disk = p.on_disk
        await p.one.mirror.close()
        with pytest.raises(Exception, match="stopping"):
            await first
        await until(lambda: len(p.ranges) == 2)
        p.tap.open()
        assert await second == SIZE
        whole, rest = p.ranges
        start = int(rest.removeprefix("bytes=").rstrip("-"))
        assert whole == ""
        assert MIB < on_disk <= start <= 5 * MIB
        await until(lambda: p.other.watcher.downloads == ["committed"])
    assert assert_store_is_sound(tmp_path) == 2


@pytest.mark.parametrize(
    "patience",
    [
        Patience(another_still_seconds=0.3),
        Patience(another_seconds=0.3, another_still_seconds=inf),
        Patience(another_seconds=0.0),
    ],
    ids=["it stands still", "it takes too long", "nobody waits"],
)
async def test_who_is_too_slow_with_it_is_not_waited_for(tmp_path: Path, patience: Patience) -> None:
    async with pair(tmp_path, patience) as p:
        first = await p.begun(p.one)
        await p.poured(p.one, 5 * MIB)
        second = asyncio.create_task(p.other.read(p.layer))
        await until(lambda: p.ranges == ["", ""])
        p.tap.open()
        await p.ended(first, second)
        await until(lambda: p.other.watcher.downloads == ["committed"])
    assert assert_store_is_sound(tmp_path) == 2
    assert list((tmp_path / "ingest").iterdir()) == []


async def test_a_partial_of_a_blob_that_is_committed_meanwhile_is_of_no_use(tmp_path: Path) -> None:
    """The other process had begun a file of its own, and commits while we hold the partial."""
    async with pair(tmp_path) as p:
        partial = p.other.store.ingest(p.layer, SIZE)
        partial.write(p.data[: 2 * MIB])
        private = p.other.store.ingest(p.layer, SIZE)
        private.write(p.data)
        second = asyncio.create_task(p.one.read(p.layer))
        await until(lambda: p.one.mirror.downloads_in_flight == 1)
        private.commit()
        partial.suspend()
        assert await second == SIZE
        assert p.ranges == []
    assert list((tmp_path / "ingest").iterdir()) == []


async def test_a_host_that_has_nothing_is_no_reason_to_wait_for_ever(tmp_path: Path) -> None:
    """Who brought it fails, and so do we, each after having asked."""
    async with pair(tmp_path) as p:
        first, second = await p.begun(p.one), asyncio.create_task(p.other.read(p.layer))
        p.host.behave()
        p.host.script(faults.status(404), on=BLOB)
        await p.one.mirror.close()
        with pytest.raises(Exception, match="stopping"):
            await first
        with pytest.raises(Exception, match="missing"):
            await second


async def test_of_our_own_downloads_none_waits_for_another(tmp_path: Path) -> None:
    """Another repository's manifest may lie about the size: ours must not wait for that to be found out."""
    async with pair(tmp_path) as p:
        lie = image("library/lie", "3", layers=[random_layer(1, SIZE)])
        p.host.add(lie)
        first = await p.begun(p.one)
        running = next(iter(p.one.mirror._downloads._running.values()))
        running.arrival.size = SIZE + 1
        second = asyncio.create_task(p.one.read(p.layer))
        await until(lambda: p.ranges == ["", ""])
        running.arrival.size = SIZE
        p.tap.open()
        await p.ended(first, second)


class Full(DiskStore):
    """No file can be made in it, and nobody else writes there."""

    def take_up(self, digest: Digest, size: int | None = None) -> FileIngest | BeingWritten:
        raise StoreFull("no space left")


async def test_a_full_disk_is_no_other_process(tmp_path: Path) -> None:
    async with pair(tmp_path) as p:
        full = Full(tmp_path)
        p.one.mirror._downloads._store = full
        p.tap.open()
        assert await p.one.read(p.layer) == SIZE, "it passes through"
        full.close()
