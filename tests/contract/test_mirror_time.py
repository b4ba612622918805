"""Hosts that take their time: silence, stalls, crawls, rate limits; nobody waits for them long."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rig import ALPINE, HUB, mirror_of
from sampan.errors import AllHostsFailed
from sampan.mirror.pace import WINDOW_SECONDS
from sampan.mirror.patience import Patience
from sampan.oci import Digest
from sampan.testing import BlackHole, FakeRegistry, ManualClock, Match, faults, image, random_layer
from sampan.upstream.host import Host

MIB = 1024 * 1024
LARGE = 9 * MIB
BLOB = Match(kind="blob")
QUICK = Patience(
    connect_seconds=0.05,
    manifest_seconds=0.05,
    blob_seconds=0.05,
    budget_seconds=2.0,
    come_back_seconds=0.01,
    stale_seconds=0.05,
)


@pytest.mark.parametrize("kind", ["manifest", "blob"])
async def test_a_silent_host_is_overtaken_and_not_asked_again(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry, kind: str
) -> None:
    good.add(bad.add(image(ALPINE, "3", layers=[random_layer(1, 400_000)])))
    bad.script(faults.silence(), on=Match(kind=kind))
    async with mirror_of(tmp_path, [bad, good], patience=QUICK) as rig:
        await rig.pull()
        await rig.pull()
    assert len(bad.faulted) <= 2


async def test_a_host_that_never_accepts_is_overtaken(tmp_path: Path, good: FakeRegistry) -> None:
    good.add(image(ALPINE, "3"))
    async with (
        BlackHole() as hole,
        mirror_of(tmp_path, [Host.from_url(hole.url), Host.from_url(good.url)], patience=QUICK) as rig,
    ):
        await rig.pull()
        assert {a.outcome for _, a in rig.watcher.attempts} <= {"beaten", "ok"}


@pytest.mark.parametrize("size", [400_000, LARGE])
async def test_a_stall_in_mid_blob_is_gone_on_from_elsewhere(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry, size: int
) -> None:
    alpine = good.add(bad.add(image(ALPINE, "3", layers=[random_layer(1, size)])))
    bad.script(faults.stalls(50_000), on=BLOB)
    async with mirror_of(tmp_path, [bad, good], patience=QUICK, read_seconds=0.1, verify="stream") as rig:
        assert await rig.read(alpine.layers[0].digest) == size
        assert "stalled" in {a.outcome for _, a in rig.watcher.attempts}
    assert good.requests[-1].headers["range"] == "bytes=50000-"


async def test_a_crawl_is_left_for_a_host_that_promises_more(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    alpine = good.add(bad.add(image(ALPINE, "3", layers=[random_layer(1, LARGE)])))
    gate, clock = asyncio.Event(), ManualClock()
    bad.script(faults.held(gate, at=100_000), on=BLOB)
    async with mirror_of(tmp_path, [bad, good], clock=clock) as rig:
        reading = asyncio.create_task(rig.read(alpine.layers[0].digest))
        while rig.watcher.received_bytes.get(bad.netloc, 0) < 90_000:
            await asyncio.sleep(0)
        clock.advance(WINDOW_SECONDS)
        gate.set()
        assert await reading == LARGE
        assert "slow" in {a.outcome for _, a in rig.watcher.attempts}
        assert rig.watcher.received_bytes[good.netloc] > LARGE / 2


@pytest.mark.row("N12")
async def test_a_lone_crawling_host_is_kept(tmp_path: Path, bad: FakeRegistry) -> None:
    alpine = bad.add(image(ALPINE, "3", layers=[random_layer(1, 400_000)]))
    gate, clock = asyncio.Event(), ManualClock()
    bad.script(faults.held(gate, at=100_000), on=BLOB)
    async with mirror_of(tmp_path, [bad], clock=clock) as rig:
        reading = asyncio.create_task(rig.read(alpine.layers[0].digest))
        while rig.watcher.received_bytes.get(bad.netloc, 0) < 90_000:
            await asyncio.sleep(0)
        clock.advance(WINDOW_SECONDS)
        gate.set()
        assert await reading == 400_000
    assert bad.count(kind="blob") == 1


async def test_a_short_rate_limit_of_all_hosts_is_waited_for_once(tmp_path: Path, bad: FakeRegistry) -> None:
    bad.add(image(ALPINE, "3"))
    bad.script(faults.rate_limited("1"), times=1)
    async with mirror_of(tmp_path, [bad]) as rig:
        await rig.pull()
    assert len(bad.faulted) == 1


async def test_a_long_rate_limit_of_all_hosts_is_told_to_the_client(
    tmp_path: Path, bad: FakeRegistry
) -> None:
    bad.add(image(ALPINE, "3"))
    bad.script(faults.rate_limited("600"))
    async with mirror_of(tmp_path, [bad]) as rig:
        for _ in range(3):
            with pytest.raises(AllHostsFailed) as caught:
                await rig.mirror.manifest(HUB, ALPINE, "3")
            assert caught.value.status == 429
            assert 500 < (caught.value.retry_after_seconds or 0) <= 600
    assert len(bad.faulted) == 1


async def test_an_unearned_host_may_send_unverified_bytes_when_the_client_would_give_up(
    tmp_path: Path, bad: FakeRegistry
) -> None:
    alpine = bad.add(image(ALPINE, "3", layers=[random_layer(1, LARGE)]))
    gate = asyncio.Event()
    bad.script(faults.held(gate, at=4 * MIB), on=BLOB)
    patience = Patience(headers_seconds=0.05, first_byte_seconds=0.05)
    async with mirror_of(tmp_path, [bad], patience=patience) as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        answer = await rig.mirror.blob(HUB, ALPINE, Digest.parse(alpine.layers[0].digest))
        windows = answer.windows(0, answer.size)
        first = await anext(aiter(windows))
        assert 0 < first.count <= 4 * MIB
        gate.set()
        assert first.count + sum([window.count async for window in windows]) == LARGE


async def test_a_known_tag_does_not_wait_for_a_silent_host(tmp_path: Path, bad: FakeRegistry) -> None:
    bad.add(image(ALPINE, "3"))
    clock = ManualClock()
    async with mirror_of(tmp_path, [bad], clock=clock, patience=QUICK) as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        bad.script(faults.silence())
        clock.advance(301)
        assert (await rig.mirror.manifest(HUB, ALPINE, "3")).stale
