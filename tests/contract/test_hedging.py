"""A host that is later than its own usual, on the wire: another is asked, for whatever was wanted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from rig import ALPINE, HUB, Rig, mirror_of
from sampan.mirror.patience import Patience
from sampan.mirror.tagged import TagPolicy
from sampan.oci import Digest
from sampan.testing import FakeRegistry, Match, artifact, faults, image, random_layer
from sampan.testing.images import Image
from sampan.upstream.host import Host
from sampan.upstream.tempo import HEDGES_SAVED_MAX, LATE_SECONDS_MIN, SAMPLES_MIN

FAST, SLOW = 0.02, 1.0
SLACK = 0.02  # turns of the loop: sockets, threads, the store
SOON = SAMPLES_MIN + 2

Ask = Callable[[int], Awaitable[object]]


@dataclass
class Scene:
    """A mirror of both hosts, the first of which usually answers after ``FAST``."""

    rig: Rig
    images: list[Image]
    bad: FakeRegistry
    good: FakeRegistry

    async def timed(self, asking: Awaitable[object]) -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asking
        return loop.time() - began

    def asks(self, what: str) -> Ask:
        """Ways to ask the hosts for the image of a number; the store has none of it yet, but its tag."""
        mirror = self.rig.mirror

        async def blob(number: int) -> None:
            await self.rig.read(self.images[number].layers[0].digest)

        async def referrers(number: int) -> None:
            await mirror.referrers(HUB, ALPINE, Digest.parse(self.images[number].digest))

        return {
            "manifest by tag": lambda number: mirror.manifest(HUB, ALPINE, f"t{number}"),
            "manifest by digest": lambda number: mirror.manifest(
                HUB, ALPINE, Digest.parse(self.images[number].digest)
            ),
            "HEAD of a tag": lambda _: mirror.manifest(HUB, ALPINE, "t0"),
            "blob": blob,
            "HEAD of a blob": lambda number: mirror.stat_blob(
                HUB, ALPINE, Digest.parse(self.images[number].layers[0].digest)
            ),
            "tags": lambda _: mirror.tags(HUB, ALPINE),
            "referrers": referrers,
        }[what]


@asynccontextmanager
async def scene(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry, *, limited: int | None = None, more: int = 5
) -> AsyncIterator[Scene]:
    images = [image(ALPINE, f"t{n}", layers=[random_layer(n, 1_000)]) for n in range(SOON + more)]
    for each in images:
        good.add(bad.add(each))
        # An empty list of referrers would be asked for elsewhere, too.
        good.add(bad.add(artifact(each, "application/x.signature")))
    hosts = [Host.from_url(bad.url), Host.from_url(good.url, requests_per_minute=limited)]
    policy = TagPolicy(fresh_for_seconds=0.0)
    async with mirror_of(tmp_path, hosts, policy=policy) as rig:
        yield Scene(rig, images, bad, good)


WHAT = [
    "manifest by tag",
    "manifest by digest",
    "HEAD of a tag",
    "blob",
    "HEAD of a blob",
    "tags",
    "referrers",
]


@pytest.mark.parametrize("what", WHAT)
async def test_a_host_that_is_late_once_is_overtaken_after_its_own_usual_time(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry, what: str
) -> None:
    async with scene(tmp_path, bad, good) as it:
        ask = it.asks(what)
        await it.rig.mirror.manifest(HUB, ALPINE, "t0")
        bad.script(faults.sleeps_first(FAST), times=SOON)
        for number in range(1, SOON + 1):
            assert await it.timed(ask(number)) == pytest.approx(FAST, abs=SLACK)
        assert not good.requests
        bad.script(faults.sleeps_first(SLOW))
        seconds = await it.timed(ask(SOON + 1))
    assert seconds == pytest.approx(LATE_SECONDS_MIN, abs=SLACK), "neither the constant nor the host's second"
    assert len(good.requests) == 1
    assert [won for _, won in it.rig.watcher.hedges] == [True]


@pytest.mark.parametrize("what", ["manifest by digest", "blob"])
async def test_a_host_that_is_always_slow_is_waited_for(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry, what: str
) -> None:
    bad.script(faults.sleeps_first(SLOW))
    async with scene(tmp_path, bad, good) as it:
        for number in range(SOON + 5):
            await it.asks(what)(number)
    assert it.rig.watcher.hedges == []
    assert good.requests == []


async def test_a_host_that_became_slow_is_hedged_within_the_budget_and_then_loses_its_place(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    async with scene(tmp_path, bad, good, more=20) as it:
        ask = it.asks("manifest by digest")
        bad.script(faults.sleeps_first(FAST), times=SOON)
        for number in range(SOON):
            await ask(number)
        bad.script(faults.sleeps_first(SLOW))
        for number in range(SOON, SOON + 20):
            await ask(number)
    assert 0 < len(it.rig.watcher.hedges) <= HEDGES_SAVED_MAX + 20 * 0.1
    assert bad.count(kind="manifest") < SOON + 10, "who is faster again and again goes first"


async def test_the_requests_of_a_minute_are_not_spent_on_hedges(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    async with scene(tmp_path, bad, good, limited=4) as it:
        ask = it.asks("manifest by digest")
        bad.script(faults.sleeps_first(FAST), times=SOON)
        for number in range(SOON):
            await ask(number)
        bad.script(faults.sleeps_first(SLOW), on=Match(kind="manifest"), times=3)
        times = [await it.timed(ask(SOON + number)) for number in range(3)]
    is_hedged = [seconds < SLOW / 2 for seconds in times]
    assert is_hedged == [True, True, False], "two of its four a minute, no more"
    assert len(good.requests) == 2


async def test_a_host_without_a_past_is_waited_for_as_long_as_anybody(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    bad.script(faults.sleeps_first(30.0))
    async with scene(tmp_path, bad, good) as it:
        seconds = await it.timed(it.asks("manifest by digest")(0))
    assert seconds == pytest.approx(Patience().manifest_seconds, abs=SLACK)
