"""Writing behind the network: what is told to be on disk is on disk, and is the writer's own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from disks import mounted
from sampan.errors import StoreError, StoreFull
from sampan.mirror.stride import StrideWriter
from sampan.oci import Digest
from sampan.store import DiskStore
from sampan.store.content import Buffer
from sampan.store.ingest import FileIngest
from sampan.testing import random_bytes

KIB = 1024
DATA = random_bytes(3, 300_000)
DIGEST = Digest.of(DATA)


@pytest.fixture
def ingest(tmp_path: Path) -> Iterator[FileIngest]:
    store = DiskStore(tmp_path)
    ingest = store.ingest(DIGEST, len(DATA))
    yield ingest
    ingest.discard()
    store.close()


class SlowIngest(FileIngest):
    """Writes when it may."""

    may_write = threading.Event()

    def place(self, start: int, data: Buffer | Iterable[Buffer]) -> None:
        self.may_write.wait()
        super().place(start, data)


async def test_two_writers_tell_of_their_own_bytes(ingest: FileIngest) -> None:
    told: dict[str, list[tuple[int, int]]] = {"one": [], "two": []}
    one = StrideWriter(ingest, 0, lambda start, stop: told["one"].append((start, stop)))
    two = StrideWriter(ingest, 200_000, lambda start, stop: told["two"].append((start, stop)))
    await asyncio.gather(one.put(DATA[:50_000]), two.put(DATA[200_000:]))
    await one.put(DATA[50_000:200_000])
    await asyncio.gather(one.drain(), two.drain())
    assert told == {"one": [(0, 50_000), (50_000, 200_000)], "two": [(200_000, 300_000)]}
    assert ingest.matches()


async def test_what_was_not_written_is_not_told(tmp_path: Path) -> None:
    """One who is cancelled while it waits for the last stride has not begun the next."""
    store = DiskStore(tmp_path)
    ingest = SlowIngest(store.ingests, store, DIGEST, len(DATA))
    told: list[tuple[int, int]] = []
    writer = StrideWriter(ingest, 0, lambda start, stop: told.append((start, stop)))
    await writer.put(DATA[:1000])
    waiting = asyncio.create_task(writer.put(DATA[1000:2000]))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert told == []
    ingest.may_write.set()
    await writer.drain()
    assert told == [(0, 1000)]
    assert list(ingest.spans) == [(0, 1000)]
    ingest.discard()
    store.close()


async def test_of_a_stride_for_which_there_is_no_room_what_fitted_is_told(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=256k") as disk:
        store = DiskStore(disk / "store")
        ingest = store.ingest(DIGEST, len(DATA))
        ingest.place(250_000, DATA[250_000:260_000])  # somebody else's
        told: list[tuple[int, int]] = []
        writer = StrideWriter(ingest, 0, lambda start, stop: told.append((start, stop)))
        await writer.put(DATA[:250_000])
        with pytest.raises(StoreFull):
            await writer.drain()
        assert len(told) == 1
        assert 0 == told[0][0] < told[0][1] < 250_000
        assert ingest.read(*told[0]) == DATA[: told[0][1]]
        ingest.discard()
        store.close()


async def test_an_error_of_the_disk_is_raised_once_and_nothing_is_told(ingest: FileIngest) -> None:
    told: list[tuple[int, int]] = []
    writer = StrideWriter(ingest, 0, lambda start, stop: told.append((start, stop)))
    ingest.suspend()
    await writer.put(DATA[:10])
    with pytest.raises(StoreError, match="has ended"):
        await writer.put(DATA[10:20])
    await writer.drain()
    assert told == []
