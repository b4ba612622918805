"""However a download from several hosts ends, nobody is left at work, and what arrived is kept."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from disks import mounted
from pouring import BLOB, KIB, MIB, PATIENCE, SPREAD, TICK_SECONDS, Ground, ground, outcome
from rig import ALPINE, HUB, assert_store_is_sound, mirror_of
from sampan.errors import AllHostsFailed, StoreFull
from sampan.oci import Digest
from sampan.store.disk import DiskStore
from sampan.testing import FakeRegistry, Match, faults, image, random_bytes, random_layer

pytestmark = pytest.mark.standstill

FAST = 2 * MIB
SLACK = 512 * KIB


def shares(g: Ground) -> list[int]:
    return [g.received(line) for line in g.lines]


# -- cancelled -----------------------------------------------------------------------------------------


async def turns(g: Ground, count: int) -> None:
    """So many turns of the event loop, with time passing as they do."""
    for number in range(count):
        if number % 20 == 0 and any(line.tap.waiting for line in g.lines):
            g.clock.advance(TICK_SECONDS)
            for line in g.lines:
                line.tap.pour(int(line.bytes_per_second * TICK_SECONDS))
        await asyncio.sleep(0)


def all_connections_are_free(g: Ground) -> bool:
    return all(g.rig.mirror._client.has_room(host) for host in g.rig.mirror._asking.hosts(HUB))


@pytest.mark.parametrize("threads", [False, True])
async def test_a_download_cancelled_at_any_moment_leaves_nothing_behind(
    tmp_path: Path, threads: bool
) -> None:
    """Not a task, nor a connection, nor a lock; and the next one goes on from what there is."""
    one = [{"max_connections": 1}] * 3
    size = 6 * MIB
    before = asyncio.all_tasks()
    moments = random.Random(7)
    kept = []
    async with ground(tmp_path, FAST, FAST, FAST, size=size, settings=one, threads=threads) as g:
        await g.rig.mirror.manifest(HUB, ALPINE, "3")
        downloads = g.rig.mirror._downloads
        for moment in [*range(1, 70), *(moments.randrange(70, 900) for _ in range(25))]:
            bringing = asyncio.ensure_future(outcome(g.rig.mirror.bring(HUB, ALPINE, g.layer)))
            await turns(g, moment)
            bringing.cancel()
            await asyncio.wait([bringing])
            await downloads.close()
            fakes = {task for line in g.lines for task in line.registry._tasks}
            left = [t for t in asyncio.all_tasks() - before - fakes if not t.done()]
            assert left == []
            assert all_connections_are_free(g)
            if g.rig.store.remove(g.layer):
                continue
            ingest = g.rig.store.ingest(g.layer, size)
            assert ingest.resumable, "nobody holds it"
            assert all(ingest.read(a, b) == g.data[a:b] for a, b in ingest.spans)
            kept.append(ingest.resumed_bytes)
            ingest.discard() if ingest.resumed_bytes > size / 2 and moment % 3 else ingest.suspend()
        brought = await g.bring()
        assert brought.size == size
    assert max(kept) > MIB, "some moments were in the middle"
    assert assert_store_is_sound(tmp_path) >= 1


async def test_a_mirror_that_closes_in_the_middle_keeps_all_pieces(tmp_path: Path) -> None:
    async with ground(tmp_path, FAST, FAST, FAST, size=24 * MIB) as g:
        await g.rig.mirror.manifest(HUB, ALPINE, "3")
        task = asyncio.ensure_future(outcome(g.rig.mirror.bring(HUB, ALPINE, g.layer)))
        await g.pour(lambda: sum(shares(g)) > 14 * MIB and min(shares(g)) > 2 * MIB)
        await g.rig.mirror.close()
        assert await task is not None
        had = sum(shares(g))
    store = await asyncio.to_thread(DiskStore, tmp_path)
    ingest = store.ingest(g.layer, g.size)
    assert ingest.resumed_bytes > had - SLACK
    assert not ingest.spans.is_prefix, "there are holes"
    assert all(ingest.read(a, min(b, a + MIB)) == g.data[a : min(b, a + MIB)] for a, b in ingest.spans)
    ingest.discard()
    store.close()


async def test_pieces_that_nobody_waits_for_any_more_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ground(tmp_path, FAST, FAST, FAST, size=24 * MIB, verify="stream") as g:
        monkeypatch.setattr("sampan.mirror.download.ABANDONED_BYTES", 0)
        await g.rig.mirror.manifest(HUB, ALPINE, "3")
        answer = await g.poured(g.rig.mirror.blob(HUB, ALPINE, g.layer))
        answer.close()
        g.clock.advance(31)
        await g.settled()
        assert g.rig.watcher.downloads == ["abandoned"]
        assert g.rig.store.stat(g.layer) is None


# -- a disk without room ---------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", "size=16m") as disk:
        yield disk


async def test_a_disk_that_fills_up_under_several_hosts_is_told_and_what_fitted_is_kept(
    small_disk: Path,
) -> None:
    async with ground(small_disk, FAST, FAST, FAST, size=24 * MIB) as g:
        error = await outcome(g.bring())
        assert isinstance(error, StoreFull)
        assert min(shares(g)) > 0
        assert g.attempts("wrong-content") == set()
        ingest = g.rig.store.ingest(g.layer, g.size)
        assert ingest.resumed_bytes > 12 * MIB
        assert all(ingest.read(a, min(b, a + MIB)) == g.data[a : min(b, a + MIB)] for a, b in ingest.spans)
        ingest.discard()
    assert_store_is_sound(small_disk)


async def test_a_reader_notices_nothing_when_the_disk_fills_up_under_several_hosts(small_disk: Path) -> None:
    async with ground(small_disk, FAST, FAST, FAST, size=24 * MIB, verify="stream") as g:
        await g.rig.mirror.manifest(HUB, ALPINE, "3")
        assert await g.poured(g.rig.bytes(g.layer)) == g.data
    assert_store_is_sound(small_disk)


async def test_old_images_make_room_for_pieces(small_disk: Path) -> None:
    async with ground(small_disk, FAST, FAST, FAST, size=9 * MIB) as g:
        old = g.lines[0].registry.add(image(ALPINE, "old", layers=[random_layer(5, 8 * MIB)]))
        answer = await g.rig.mirror.manifest(HUB, ALPINE, "old")
        for descriptor in answer.manifest.references:
            await g.poured(g.rig.mirror.bring(HUB, ALPINE, descriptor.digest))
        used = g.rig.store.usage()
        await g.bring()
        assert used > 8 * MIB
        assert g.rig.store.verify(g.layer)
        assert g.rig.store.stat(Digest.parse(old.layers[0].digest)) is None
    assert_store_is_sound(small_disk)


# -- nobody tells the size -------------------------------------------------------------------------------


@pytest.mark.parametrize("longer_by", [-10, 0, 10])
@pytest.mark.parametrize("with_holes", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
async def test_what_an_earlier_run_left_of_a_blob_of_unknown_size_never_makes_it_turn_in_circles(
    tmp_path: Path, longer_by: int, with_holes: bool, chunked: bool
) -> None:
    """The host ignores Range: what it sends is shorter than what there is, and nothing is missing of it."""
    size = 400_000
    async with FakeRegistry("host") as host:
        alpine = host.add(image(ALPINE, "3", layers=[random_layer(1, size)]))
        whole = faults.range_ignored()
        host.script(whole.joined(faults.chunked()) if chunked else whole, on=Match(kind="blob", ranged=True))
        if chunked:
            host.script(faults.chunked(), on=BLOB)
        async with mirror_of(tmp_path, [host], patience=PATIENCE, spread=SPREAD) as rig:
            layer = Digest.parse(alpine.layers[0].digest)
            left = rig.store.ingest(layer)
            start = 300_000 if with_holes else 0
            left.place(start, random_bytes(9, size + longer_by)[start:])
            left.suspend()
            assert await asyncio.wait_for(rig.read(layer), 5) == size
            assert host.count(kind="blob") <= 4


async def test_a_host_that_ends_early_without_saying_so_is_not_asked_for_ever(tmp_path: Path) -> None:
    """Only the first host told the size, and it is gone. The other one ends each body at half of it."""
    async with (
        FakeRegistry("tells", host="127.0.0.2") as tells,
        FakeRegistry("ends", host="127.0.0.3") as ends,
    ):
        alpine = tells.add(ends.add(image(ALPINE, "3", layers=[random_layer(1, 400_000)])))
        layer = Digest.parse(alpine.layers[0].digest)
        tells.script(faults.truncated(100_000), on=BLOB, times=1)
        tells.script(faults.status(404), on=BLOB)
        early = faults.range_ignored().joined(faults.http_1_0()).joined(faults.truncated(200_000))
        ends.script(replace(early, on=BLOB))
        async with mirror_of(tmp_path, [tells, ends], patience=PATIENCE, spread=SPREAD) as rig:
            with pytest.raises(AllHostsFailed):
                await asyncio.wait_for(rig.read(layer), 5)
        assert ends.count(kind="blob") <= 6
    assert_store_is_sound(tmp_path)
