"""D1 and D10: a disk without room is a mode, not a crash; a store is kept within its size."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig import ALPINE, HUB, assert_store_is_sound, mirror_of
from sampan.errors import AllHostsFailed, ContentMismatch
from sampan.oci import Digest
from sampan.testing import FakeRegistry, Match, faults, image, random_layer

MIB = 1024 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 16 MiB."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", tmp_path], check=True)
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


@pytest.mark.row("D1")
async def test_a_blob_larger_than_the_disk_passes_through_whole(small_disk: Path) -> None:
    async with FakeRegistry("host") as host:
        host.add(image(ALPINE, "3", layers=[random_layer(1, 40 * MIB)]))
        async with mirror_of(small_disk, [host], verify="stream") as rig:
            assert await rig.pull() > 40 * MIB
            assert await rig.pull() > 40 * MIB
        assert_store_is_sound(small_disk)


@pytest.mark.row("D1")
async def test_a_reader_in_mid_blob_notices_nothing_when_the_disk_fills(small_disk: Path) -> None:
    async with FakeRegistry("host") as host:
        alpine = host.add(image(ALPINE, "3", layers=[random_layer(1, 40 * MIB)]))
        layer = alpine.layers[0]
        async with mirror_of(small_disk, [host], verify="stream") as rig:
            assert await rig.bytes(layer.digest) == layer.read()
            assert (await rig.bytes(layer.digest, start=39 * MIB)) == layer.read()[39 * MIB :]


@pytest.mark.row("D1")
async def test_what_passes_through_is_verified_and_fails_over_as_well(small_disk: Path) -> None:
    async with FakeRegistry("bad") as bad, FakeRegistry("good", host="127.0.0.2") as good:
        alpine = good.add(bad.add(image(ALPINE, "3", layers=[random_layer(1, 40 * MIB)])))
        layer = Digest.parse(alpine.layers[0].digest)
        bad.script(faults.resets(30 * MIB), on=Match(kind="blob"))
        async with mirror_of(small_disk, [bad, good], verify="stream") as rig:
            assert await rig.read(layer) == 40 * MIB
            good.script(faults.flipped_bit(39 * MIB), on=Match(kind="blob"))
            with pytest.raises((ContentMismatch, AllHostsFailed)):
                await rig.read(layer)


@pytest.mark.row("D10")
async def test_old_images_make_room_for_new_ones(small_disk: Path) -> None:
    async with FakeRegistry("host") as host:
        for number in range(4):
            host.add(image(ALPINE, str(number), layers=[random_layer(number, 6 * MIB)]))
        async with mirror_of(small_disk, [host]) as rig:
            for number in range(4):
                await rig.pull(str(number))
            while rig.mirror.downloads_in_flight:
                await asyncio.sleep(0)
            asked = len(host.requests)
            await rig.pull("3")
            assert len(host.requests) == asked, "the newest image is kept"
        assert_store_is_sound(small_disk)


@pytest.mark.row("D10")
async def test_a_store_is_kept_within_its_size(tmp_path: Path) -> None:
    async with FakeRegistry("host") as host:
        for number in range(6):
            host.add(image(ALPINE, str(number), layers=[random_layer(number, 2 * MIB)]))
        async with mirror_of(tmp_path, [host], max_size_bytes=7 * MIB) as rig:
            for number in range(6):
                await rig.pull(str(number))
                while rig.mirror.downloads_in_flight:
                    await asyncio.sleep(0)
                await rig.room.close()
                assert rig.store.usage() <= 7 * MIB
            kept = (await rig.mirror.manifest(HUB, ALPINE, "5")).manifest
            assert all(rig.store.stat(d.digest) is not None for d in kept.references)
        assert_store_is_sound(tmp_path)
