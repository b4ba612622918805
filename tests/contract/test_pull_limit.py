"""Docker Hub's count of pulls: it is never spent on what is stored, and its end stops manifests alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from rig import ALPINE, HUB, mirror_of
from sampan.errors import AllHostsFailed
from sampan.mirror.tagged import TagPolicy
from sampan.oci import Digest
from sampan.testing import (
    FakeRegistry,
    Fault,
    ManualClock,
    Match,
    PullCount,
    faults,
    image,
    older,
    random_layer,
)
from sampan.testing.counting import PULL_LIMIT_MESSAGE, SOURCE, abuse_limit
from sampan.testing.wire import error_reply
from sampan.upstream.host import Host
from sampan.upstream.quota import REST_SECONDS, Supply

FRESH_SECONDS = 60.0
POLICY = TagPolicy(fresh_for_seconds=FRESH_SECONDS)
BLOB = Match(kind="blob")
PULL = Match(kind="manifest", method="GET")


def counting(registry: FakeRegistry, clock: ManualClock, *, left: int, **options: str | int) -> PullCount:
    """``registry`` counts pulls from now on, of 100, and ``left`` are left."""
    count = PullCount(clock, **options)  # type: ignore[arg-type]
    count.spend(count.limit - left)
    registry.script(count.fault())
    return count


def pulls(registry: FakeRegistry) -> int:
    return registry.count(kind="manifest", method="GET")


@pytest.mark.row("H8")
async def test_a_confirmed_tag_costs_no_pull(tmp_path: Path, good: FakeRegistry) -> None:
    good.add(image(ALPINE, "3"))
    clock = ManualClock()
    count = counting(good, clock, left=50)
    async with mirror_of(tmp_path, [good], clock=clock, policy=POLICY) as rig:
        for _ in range(5):
            answer = await rig.mirror.manifest(HUB, ALPINE, "3")
            assert not answer.stale
            clock.advance(FRESH_SECONDS)
        assert (pulls(good), count.left) == (1, 49)
        assert [(p.limit, p.left) for p in rig.mirror.health.quota.known()] == [(100, 49)]


@pytest.mark.row("H8")
async def test_a_tag_that_moved_waits_while_few_pulls_are_left(tmp_path: Path, good: FakeRegistry) -> None:
    new = image(ALPINE, "3", layers=[random_layer(1, 1000)])
    old = good.add(older(new))
    clock = ManualClock()
    async with mirror_of(tmp_path, [good], clock=clock, policy=POLICY) as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        good.add(new)
        count = counting(good, clock, left=10)
        clock.advance(FRESH_SECONDS + 5)
        waiting = await rig.mirror.manifest(HUB, ALPINE, "3")
        assert (str(waiting.manifest.digest), waiting.stale, waiting.source) == (old.digest, True, "store")
        assert waiting.age_seconds == FRESH_SECONDS + 5
        assert [attempt.outcome for attempt in waiting.attempts] == ["pull-limit"]
        await rig.mirror.manifest(HUB, ALPINE, "3")
        assert (pulls(good), count.left) == (1, 10)
        clock.advance(count.window_seconds)
        assert str((await rig.mirror.manifest(HUB, ALPINE, "3")).manifest.digest) == new.digest


@pytest.mark.parametrize("head", ["useful", "useless"])
@pytest.mark.row("H8")
async def test_a_tag_that_waits_for_pulls_does_not_go_back_to_what_a_mirror_that_is_behind_says(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry, head: str
) -> None:
    """``good`` counts its pulls and goes first; ``bad`` is behind."""
    old, new, newer = (image(ALPINE, "3", seed=seed) for seed in (1, 2, 3))
    bad.add(old)
    good.add(new)
    other = good.add(image("library/debian", "12"))
    clock = ManualClock()
    if head == "useless":
        good.script(faults.status(405), on=Match(method="HEAD"))
    async with mirror_of(tmp_path, [good, bad], clock=clock, policy=POLICY) as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        good.add(newer)
        count = counting(good, clock, left=3)
        await rig.mirror.manifest(HUB, other.repository, "12")  # tells how many are left
        clock.advance(FRESH_SECONDS)
        waiting = await rig.mirror.manifest(HUB, ALPINE, "3")
        assert (str(waiting.manifest.digest), waiting.stale, waiting.source) == (new.digest, True, "store")
        assert [attempt.outcome for attempt in waiting.attempts] == ["pull-limit"]
        assert (pulls(good), count.left) == (2, 2)
        clock.advance(count.window_seconds)
        assert str((await rig.mirror.manifest(HUB, ALPINE, "3")).manifest.digest) == newer.digest


@pytest.mark.row("H8")
async def test_what_nobody_has_yet_may_have_the_last_pulls(tmp_path: Path, good: FakeRegistry) -> None:
    good.add(image(ALPINE, "3"))
    clock = ManualClock()
    count = counting(good, clock, left=1)
    async with mirror_of(tmp_path, [good], clock=clock, policy=POLICY) as rig:
        assert await rig.pull() > 0
    assert count.left == 0


async def test_a_moved_tag_that_may_be_stale_no_longer_has_the_last_pulls(
    tmp_path: Path, good: FakeRegistry
) -> None:
    new = image(ALPINE, "3", layers=[random_layer(1, 1000)])
    good.add(older(new))
    clock = ManualClock()
    strict = TagPolicy(fresh_for_seconds=FRESH_SECONDS, stale_for_seconds=FRESH_SECONDS)
    async with mirror_of(tmp_path, [good], clock=clock, policy=strict) as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        good.add(new)
        counting(good, clock, left=5)
        clock.advance(2 * FRESH_SECONDS)
        assert str((await rig.mirror.manifest(HUB, ALPINE, "3")).manifest.digest) == new.digest


async def test_where_head_is_of_no_use_a_known_tag_costs_no_pull_either(
    tmp_path: Path, good: FakeRegistry
) -> None:
    good.add(image(ALPINE, "3"))
    clock = ManualClock()
    good.script(faults.status(405), on=Match(method="HEAD"))
    counting(good, clock, left=8)
    async with mirror_of(tmp_path, [good], clock=clock, policy=POLICY) as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        clock.advance(FRESH_SECONDS)
        assert (await rig.mirror.manifest(HUB, ALPINE, "3")).stale
    assert pulls(good) == 1


@pytest.mark.row("H8")
async def test_other_hosts_go_first_while_few_pulls_are_left(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    for tag in ("1", "2", "3"):
        good.add(bad.add(image(ALPINE, tag, layers=[random_layer(int(tag), 1000)])))
    clock = ManualClock()
    counting(bad, clock, left=11)
    async with mirror_of(tmp_path, [bad, good], clock=clock, policy=POLICY) as rig:
        sources = [(await rig.mirror.manifest(HUB, ALPINE, tag)).source for tag in ("1", "2", "3")]
    assert sources == [bad.netloc, good.netloc, good.netloc]


@pytest.mark.row("H6", "H7")
async def test_the_pull_limit_stops_manifests_and_neither_blobs_nor_head(
    tmp_path: Path, good: FakeRegistry
) -> None:
    alpine = good.add(image(ALPINE, "3", layers=[random_layer(1, 1000)]))
    good.add(image("library/debian", "12", layers=[random_layer(2, 1000)]))
    clock = ManualClock()
    count = counting(good, clock, left=1)
    async with mirror_of(tmp_path, [good], clock=clock, policy=POLICY) as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        for _ in range(3):
            with pytest.raises(AllHostsFailed) as caught:
                await rig.mirror.manifest(HUB, "library/debian", "12")
            assert (caught.value.status, caught.value.retry_after_seconds) == (429, REST_SECONDS)
            assert [attempt.outcome for attempt in caught.value.attempts] == ["pull-limit"]
            assert caught.value.hint is not None
            assert caught.value.hint.startswith("log in at the host")
        assert await rig.read(Digest.parse(alpine.layers[0].digest)) == 1000
        clock.advance(FRESH_SECONDS)
        assert not (await rig.mirror.manifest(HUB, ALPINE, "3")).stale
        assert pulls(good) == 2
        clock.advance(count.window_seconds)
        assert await rig.pull("12", repository="library/debian") > 0
        assert rig.mirror.health.quota.supply(Host.from_url(good.url)) is Supply.ENOUGH


async def test_while_no_pull_is_left_the_host_is_tried_again_with_one_request_at_a_time(
    tmp_path: Path, good: FakeRegistry
) -> None:
    good.add(image(ALPINE, "3"))
    clock = ManualClock()
    counting(good, clock, left=0)
    async with mirror_of(tmp_path, [good], clock=clock, policy=POLICY) as rig:
        for minute in range(60):
            with pytest.raises(AllHostsFailed):
                await rig.mirror.manifest(HUB, ALPINE, "3")
            assert pulls(good) <= 1 + minute // 5
            clock.advance(60)
    assert pulls(good) == 4  # at 0, 5, 15 and 35 minutes


@pytest.mark.row("H6")
async def test_the_time_of_the_pull_limit_that_the_host_names_is_kept_to(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    good.add(bad.add(image(ALPINE, "3")))
    clock = ManualClock()
    counting(bad, clock, left=0, retry_after="1800")
    async with mirror_of(tmp_path, [bad], clock=clock, policy=POLICY) as rig:
        with pytest.raises(AllHostsFailed) as caught:
            await rig.mirror.manifest(HUB, ALPINE, "3")
        assert caught.value.retry_after_seconds == 1800
        clock.advance(1799)
        with pytest.raises(AllHostsFailed):
            await rig.mirror.manifest(HUB, ALPINE, "3")
        assert pulls(bad) == 1


@pytest.mark.row("H6", "H7")
async def test_the_limit_against_abuse_stops_everything_for_seconds(
    tmp_path: Path, good: FakeRegistry
) -> None:
    alpine = good.add(image(ALPINE, "3", layers=[random_layer(1, 1000)]))
    clock = ManualClock()
    async with mirror_of(tmp_path, [good], clock=clock, policy=POLICY) as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        good.script(abuse_limit(), times=2)
        for rest in (10.0, 20.0):
            with pytest.raises(AllHostsFailed) as caught:
                await rig.mirror.manifest(HUB, "library/debian", "12")
            assert [attempt.outcome for attempt in caught.value.attempts] == ["rate-limited"]
            assert caught.value.status == 429
            before = len(good.requests)
            with pytest.raises(AllHostsFailed):
                await rig.read(Digest.parse(alpine.layers[0].digest))
            assert len(good.requests) == before
            clock.advance(rest)
        assert await rig.read(Digest.parse(alpine.layers[0].digest)) == 1000


def relayed_limit() -> Fault:
    """429 of a mirror that hands on what Docker Hub says of its pulls, without the headers."""
    said = error_reply(429, "TOOMANYREQUESTS", PULL_LIMIT_MESSAGE)
    return Fault("relayed limit", lambda _request, _reply: said)


@pytest.mark.parametrize("has_head", [True, False])
async def test_a_tag_that_moved_is_looked_at_again_after_a_limit_without_numbers(
    tmp_path: Path, good: FakeRegistry, has_head: bool
) -> None:
    new = image(ALPINE, "3", layers=[random_layer(1, 1000)])
    good.add(older(new))
    clock = ManualClock()
    if not has_head:
        good.script(faults.status(405), on=Match(method="HEAD"))
    async with mirror_of(tmp_path, [good], clock=clock, policy=POLICY) as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        good.add(new)
        good.script(relayed_limit(), on=PULL, times=1)
        clock.advance(FRESH_SECONDS)
        assert (await rig.mirror.manifest(HUB, ALPINE, "3")).stale
        clock.advance(REST_SECONDS)
        found = await rig.mirror.manifest(HUB, ALPINE, "3")
        assert (str(found.manifest.digest), found.stale) == (new.digest, False)
    assert pulls(good) == 3


async def test_the_tag_in_the_place_of_referrers_is_a_pull_and_waits_like_one(
    tmp_path: Path, good: FakeRegistry
) -> None:
    alpine = good.add(image(ALPINE, "3"))
    clock = ManualClock()
    good.script(faults.status(404), on=Match(kind="referrers"))
    good.script(relayed_limit(), on=PULL, times=1)
    async with mirror_of(tmp_path, [good], clock=clock, policy=POLICY) as rig:
        for _ in range(5):
            with pytest.raises(AllHostsFailed) as caught:
                await rig.mirror.referrers(HUB, ALPINE, Digest.parse(alpine.digest))
            assert (caught.value.status, caught.value.retry_after_seconds) == (429, REST_SECONDS)
        assert pulls(good) == 1
        clock.advance(REST_SECONDS)
        assert (await rig.mirror.referrers(HUB, ALPINE, Digest.parse(alpine.digest))).manifests == ()
    assert pulls(good) == 2


async def test_an_index_and_its_manifest_are_pulled_once_each(tmp_path: Path, good: FakeRegistry) -> None:
    alpine = good.add(image(ALPINE, "3"))
    clock = ManualClock()
    count = counting(good, clock, left=50)
    async with mirror_of(tmp_path, [good], clock=clock, policy=POLICY) as rig:
        for _ in range(3):
            await rig.mirror.manifest(HUB, ALPINE, "3")
            await rig.mirror.manifest(HUB, ALPINE, Digest.parse(alpine.digest))
            clock.advance(FRESH_SECONDS)
    assert count.left == 49


@pytest.mark.row("H8")
async def test_several_operators_confirm_a_tag_without_a_pull(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    new = image(ALPINE, "3", layers=[random_layer(1, 1000)])
    good.add(bad.add(older(new)))
    clock = ManualClock()
    policy = TagPolicy(fresh_for_seconds=FRESH_SECONDS, agree=2)
    for registry in (bad, good):
        counting(registry, clock, left=50)
    async with mirror_of(tmp_path, [bad, good], clock=clock, policy=policy) as rig:
        for _ in range(4):
            assert not (await rig.mirror.manifest(HUB, ALPINE, "3")).stale
            clock.advance(FRESH_SECONDS)
        assert (pulls(bad), pulls(good)) == (1, 1)
        good.add(bad.add(new))
        assert str((await rig.mirror.manifest(HUB, ALPINE, "3")).manifest.digest) == new.digest
    assert (pulls(bad), pulls(good)) == (2, 2)


async def test_whose_quota_it_is_stands_in_no_log_and_no_error(
    tmp_path: Path, good: FakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    good.add(image(ALPINE, "3"))
    clock = ManualClock()
    counting(good, clock, left=0)
    with caplog.at_level("DEBUG"):
        async with mirror_of(tmp_path, [good], clock=clock, policy=POLICY) as rig:
            with pytest.raises(AllHostsFailed) as caught:
                await rig.mirror.manifest(HUB, ALPINE, "3")
    assert good.requests[-1].status == 429
    assert SOURCE not in caplog.text
    assert SOURCE not in f"{caught.value} {caught.value.attempts} {caught.value.hint}"
