"""Blobs through the mirror: whatever a host does, the client gets the right bytes or a clear failure."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rig import ALPINE, HUB, assert_store_is_sound, mirror_of, pieces
from sampan.errors import AllHostsFailed, ContentMismatch, NotFound, RegistryUnknown
from sampan.mirror.arrival import HELD_BACK_BYTES
from sampan.mirror.patience import Patience
from sampan.oci import Digest
from sampan.testing import FakeRegistry, Fault, Image, Match, faults, image, random_layer

MIB = 1024 * 1024
LARGE = 9 * MIB  # above what is verified before it leaves
BLOB = Match(kind="blob")


def small_image(*, seed: int = 1) -> Image:
    return image(ALPINE, "3", layers=[random_layer(seed, 400_000)])


def large_image(*, seed: int = 2) -> Image:
    return image(ALPINE, "3", layers=[random_layer(seed, LARGE)])


BODIES = [
    faults.status(502),
    faults.denied(),
    faults.status(404),
    faults.rate_limited(),
    faults.page(),
    faults.truncated(),
    faults.empty(),
    faults.resets(),
    faults.flipped_bit(),
    faults.substituted(),
    faults.short_by(10),
    faults.longer_by(10),
    faults.redirect(faults.UNREACHABLE_URL),
]


@pytest.mark.parametrize("make", [small_image, large_image], ids=["small", "large"])
@pytest.mark.parametrize("fault", BODIES, ids=lambda fault: fault.name)
@pytest.mark.parametrize("verify", [None, "stream"])
async def test_a_fault_on_blobs_costs_the_client_nothing(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry, fault: Fault, make: object, verify: str | None
) -> None:
    assert callable(make)
    alpine = good.add(bad.add(make()))
    bad.script(fault, on=BLOB)
    async with mirror_of(tmp_path, [bad, good]) as rig:
        manifest = (await rig.mirror.manifest(HUB, ALPINE, "3")).manifest
        for descriptor in manifest.references:
            assert await rig.read(descriptor.digest) == descriptor.size
        assert rig.mirror.downloads_in_flight == 0 or await settled(rig.mirror)
    assert len(bad.faulted) <= 2
    assert assert_store_is_sound(tmp_path) == len(alpine.blobs) + 1


async def settled(mirror: object) -> bool:
    """The commit goes on behind the answer."""
    while getattr(mirror, "downloads_in_flight"):  # noqa: B009
        await asyncio.sleep(0)
    return True


async def test_a_host_that_dies_in_mid_blob_is_gone_on_from_where_it_stopped(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    alpine = good.add(bad.add(large_image()))
    bad.script(faults.resets(5 * MIB), on=BLOB)
    layer = alpine.layers[0].digest
    async with mirror_of(tmp_path, [bad, good], verify="stream") as rig:
        assert await rig.read(layer) == LARGE
        asked = [request for request in good.requests if request.digest == layer]
        assert asked[0].headers["range"].startswith("bytes=")
        assert sum(rig.watcher.received_bytes.values()) <= LARGE + MIB


async def test_a_range_that_is_ignored_is_skipped_and_never_appended(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    alpine = good.add(bad.add(large_image()))
    bad.script(faults.resets(5 * MIB), on=BLOB)
    good.script(faults.range_ignored())
    async with mirror_of(tmp_path, [bad, good], verify="stream") as rig:
        assert await rig.read(alpine.layers[0].digest) == LARGE


async def test_a_hundred_readers_share_one_download(tmp_path: Path, good: FakeRegistry) -> None:
    alpine = good.add(large_image())
    layer = alpine.layers[0].digest
    async with mirror_of(tmp_path, [good]) as rig:
        assert await asyncio.gather(*(rig.read(layer) for _ in range(100))) == [LARGE] * 100
    assert good.count(kind="blob") == 1


async def test_the_first_reader_leaving_disturbs_nobody(tmp_path: Path, good: FakeRegistry) -> None:
    alpine = good.add(large_image())
    layer = Digest.parse(alpine.layers[0].digest)
    async with mirror_of(tmp_path, [good], verify="stream") as rig:
        first = await rig.mirror.blob(HUB, ALPINE, layer)
        async for _ in pieces(first):
            break
        first.close()
        assert await rig.read(layer) == LARGE
    assert good.count(kind="blob") == 1


async def test_readers_begin_anywhere(tmp_path: Path, good: FakeRegistry) -> None:
    alpine = good.add(large_image())
    whole = alpine.layers[0].read()
    async with mirror_of(tmp_path, [good], verify="stream") as rig:
        parts = await asyncio.gather(
            *(rig.bytes(alpine.layers[0].digest, start=start) for start in (0, 1, LARGE // 2, LARGE - 1))
        )
    assert parts == [whole, whole[1:], whole[LARGE // 2 :], whole[-1:]]


async def test_the_last_piece_waits_for_the_digest(tmp_path: Path, bad: FakeRegistry) -> None:
    alpine = bad.add(large_image())
    bad.script(faults.flipped_bit(), on=BLOB)
    async with mirror_of(tmp_path, [bad], verify="stream") as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        answer = await rig.mirror.blob(HUB, ALPINE, Digest.parse(alpine.layers[0].digest))
        got: list[int] = []

        async def read_all() -> None:
            async for piece in pieces(answer):
                got.append(len(piece))  # noqa: PERF401  # what came before the error counts

        with pytest.raises((ContentMismatch, AllHostsFailed)):
            await read_all()
        assert sum(got) <= LARGE - HELD_BACK_BYTES
    assert assert_store_is_sound(tmp_path) == 1


async def test_an_unknown_host_is_verified_before_the_first_byte(tmp_path: Path, bad: FakeRegistry) -> None:
    alpine = bad.add(large_image())
    bad.script(faults.flipped_bit(), on=BLOB)
    async with mirror_of(tmp_path, [bad]) as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        with pytest.raises(AllHostsFailed) as caught:
            await rig.mirror.blob(HUB, ALPINE, Digest.parse(alpine.layers[0].digest))
    assert caught.value.attempts[0].outcome == "wrong-content"


async def test_what_arrived_before_everything_failed_is_not_fetched_again(
    tmp_path: Path, bad: FakeRegistry
) -> None:
    alpine = bad.add(large_image())
    layer = alpine.layers[0].digest
    bad.script(faults.resets(5 * MIB), on=BLOB, times=1)
    async with mirror_of(tmp_path, [bad], patience=Patience(come_back_seconds=0.01)) as rig:
        task = asyncio.create_task(rig.read(layer))
        while not bad.faulted:
            await asyncio.sleep(0)
        bad.script(faults.status(503), on=BLOB)
        with pytest.raises(AllHostsFailed):
            await task
    bad.behave()
    async with mirror_of(tmp_path, [bad]) as rig:
        assert await rig.read(layer) == LARGE
        assert rig.watcher.received_bytes[bad.netloc] < LARGE


async def test_a_blob_that_nobody_has_is_not_found(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    good.add(bad.add(small_image()))
    async with mirror_of(tmp_path, [bad, good]) as rig:
        with pytest.raises(NotFound) as caught:
            await rig.read(Digest.of(b"nobody has this"))
    assert [(a.outcome, a.status) for a in caught.value.attempts] == [("missing", 404)] * 2


async def test_an_empty_blob_is_served(tmp_path: Path, good: FakeRegistry) -> None:
    empty = good.add(image(ALPINE, "3", layers=[random_layer(1, 0)]))
    async with mirror_of(tmp_path, [good]) as rig:
        assert await rig.read(empty.layers[0].digest) == 0


async def test_sha512_blobs_are_served(tmp_path: Path, good: FakeRegistry) -> None:
    alpine = good.add(image(ALPINE, "3", layers=[random_layer(1, 400_000)], algorithm="sha512"))
    async with mirror_of(tmp_path, [good]) as rig:
        assert await rig.pull() > 400_000
    assert alpine.layers[0].digest.startswith("sha512:")


async def test_a_registry_that_is_not_configured_is_never_dialled(tmp_path: Path, good: FakeRegistry) -> None:
    async with mirror_of(tmp_path, [good]) as rig:
        with pytest.raises(RegistryUnknown):
            await rig.read(Digest.of(b"x"), registry="evil.test")
    assert not good.requests


async def test_a_stored_blob_asks_nobody(tmp_path: Path, good: FakeRegistry) -> None:
    alpine = good.add(small_image())
    async with mirror_of(tmp_path, [good]) as rig:
        await rig.pull()
        await settled(rig.mirror)
        asked = len(good.requests)
        await rig.pull()
        assert len(good.requests) == asked
        answer = await rig.mirror.blob(HUB, ALPINE, Digest.parse(alpine.layers[0].digest))
        assert answer.source == "store"
        answer.close()
