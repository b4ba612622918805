"""A mirror that bans whoever it has to refuse too often is never brought to it, by no client."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from rig import ALPINE, HUB, mirror_of
from sampan.config import Config
from sampan.config.build import Lasting, build
from sampan.errors import AllHostsFailed, Attempt, SampanError
from sampan.mirror.tagged import TagPolicy
from sampan.oci import Digest
from sampan.testing import (
    Bans,
    FakeRegistry,
    ManualClock,
    Match,
    PullCount,
    TokenServer,
    faults,
    image,
    random_layer,
)
from sampan.upstream.budget import WINDOW_SECONDS
from sampan.upstream.host import REFUSALS_MAX, Host
from upstreams import client_for

WEEK_SECONDS = 7 * 86_400
STEP_SECONDS = 3600.0


def feared(registry: FakeRegistry, *, refusals_max: int = REFUSALS_MAX) -> Host:
    """A public mirror's budget, for a host on loopback."""
    return Host.from_url(registry.url, max_refusals=refusals_max)


async def test_an_aggressive_week_ends_without_a_ban(tmp_path: Path, bad: FakeRegistry) -> None:
    """What exists, what does not, tags and digests and blobs, by HEAD and by GET, eight at a time, each
    hour; the mirror refuses now and then what it has."""
    alpine = bad.add(image(ALPINE, "3", layers=[random_layer(1, 1000)]))
    clock, dice = ManualClock(), random.Random(8)
    bans = Bans(clock)
    served = 0
    policy = TagPolicy(fresh_for_seconds=60)
    async with mirror_of(tmp_path, {HUB: [feared(bad)]}, clock=clock, policy=policy) as rig:
        await rig.pull("3")
        for status, share in ((403, 0.1), (429, 0.02), (503, 0.05)):
            unlucky = Match(when=lambda _request, share=share: dice.random() < share)  # type: ignore[misc]
            bad.script(faults.status(status).joined(bans.fault()), on=unlucky)
        bad.script(bans.fault())
        for step in range(int(WEEK_SECONDS / STEP_SECONDS)):
            wanted = [
                rig.mirror.manifest(HUB, ALPINE, "3"),
                rig.mirror.manifest(HUB, ALPINE, "no-such-tag"),
                rig.mirror.manifest(HUB, ALPINE, f"tag-{step}"),
                rig.mirror.manifest(HUB, f"mistyped/name-{step}", "latest"),
                rig.mirror.manifest(HUB, ALPINE, Digest.of(str(step).encode())),
                rig.mirror.stat_blob(HUB, f"other/name-{step % 50}", Digest.of(b"nothing")),
                rig.mirror.tags(HUB, f"other/name-{step % 7}"),
                rig.read(Digest.parse(alpine.layers[0].digest)),
            ]
            answers = await asyncio.gather(*wanted, return_exceptions=True)
            assert all(isinstance(a, SampanError) for a in answers if isinstance(a, BaseException))
            served += not isinstance(answers[0], BaseException)
            clock.advance(STEP_SECONDS)
    assert bans.bans == 0
    assert REFUSALS_MAX <= bans.worst < bans.refusals_max
    assert served == WEEK_SECONDS / STEP_SECONDS  # what is stored is served all the time
    assert len(bad.requests) > 300  # and it is asked again, as soon as it may be


async def test_without_a_budget_the_same_clients_bring_it_to_a_ban(tmp_path: Path, bad: FakeRegistry) -> None:
    clock = ManualClock()
    bans = Bans(clock)
    bad.script(bans.fault())
    async with mirror_of(tmp_path, {HUB: [Host.from_url(bad.url)]}, clock=clock) as rig:
        for step in range(bans.refusals_max + 1):
            with pytest.raises(AllHostsFailed):
                await rig.mirror.manifest(HUB, f"mistyped/name-{step}", "latest")
    assert bans.worst > bans.refusals_max


async def test_many_at_once_stop_where_one_after_another_would(tmp_path: Path, bad: FakeRegistry) -> None:
    clock = ManualClock()
    host = Host.from_url(bad.url, max_refusals=REFUSALS_MAX, max_connections=500)
    async with mirror_of(tmp_path, {HUB: [host]}, clock=clock) as rig:
        names = [f"mistyped/name-{number}" for number in range(300)]
        asked = (rig.mirror.manifest(HUB, name, "latest") for name in names)
        errors = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(error, AllHostsFailed) for error in errors)
    assert REFUSALS_MAX <= len(bad.requests) < 100


async def test_whoever_waits_for_what_others_may_be_refused_holds_no_connection_and_spends_no_time(
    bad: FakeRegistry,
) -> None:
    """Two may be refused, so two are asked at a time, and they are slow: the last has all its time yet."""
    bad.add(image(ALPINE, "3"))
    bad.script(faults.sleeps_first(3.0))
    host = Host.from_url(bad.url, max_refusals=2, max_connections=3)
    async with client_for(host, small_seconds=5.0, short_seconds=5.0) as client:
        asked = [asyncio.create_task(client.manifest(host, ALPINE, "3")) for _ in range(6)]
        await bad.wait_for(times=2)
        assert client.has_room(host)
        assert len({manifest.digest for manifest in await asyncio.gather(*asked)}) == 1


async def test_a_spent_budget_is_told_and_others_are_asked_instead(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    good.add(bad.add(image(ALPINE, "3")))
    clock = ManualClock()
    async with mirror_of(tmp_path, {HUB: [feared(bad)]}, clock=clock) as rig:
        for _ in range(REFUSALS_MAX):
            rig.mirror.health.budget.answered(feared(bad), 404)
        with pytest.raises(AllHostsFailed) as caught:
            await rig.mirror.manifest(HUB, ALPINE, "3")
        assert (caught.value.status, caught.value.retry_after_seconds) == (503, WINDOW_SECONDS)
        (attempt,) = caught.value.attempts
        assert isinstance(attempt, Attempt)
        assert attempt.outcome == "over-budget"
        assert "has refused 90 requests in two days" in attempt.detail
        assert bad.requests == []
        clock.advance(WINDOW_SECONDS)
        assert (await rig.mirror.manifest(HUB, ALPINE, "3")).source == bad.netloc
    both = {HUB: [feared(bad), Host.from_url(good.url)]}
    async with mirror_of(tmp_path / "both", both, clock=clock) as rig:
        for _ in range(REFUSALS_MAX):
            rig.mirror.health.budget.answered(feared(bad), 404)
        assert (await rig.mirror.manifest(HUB, ALPINE, "3")).source == good.netloc


async def test_a_mirror_is_not_asked_for_what_is_not_on_its_list(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    for name in (ALPINE, "library/nginx"):
        good.add(bad.add(image(name, "3")))
    (tmp_path / "allows.txt").write_text("docker.io/library/nginx\nghcr.io/library/alpine\n")
    text = f"""
        store = {{ path = "{tmp_path}/store" }}
        [registry."*"]
        mirrors = [{{ url = "{bad.url}", allow = ["file:allows.txt"], max_refusals = 5 }}, "{good.url}"]
    """
    config = Config.parse(text, name=str(tmp_path / "sampan.toml"), environ={})
    bad.script(PullCount(ManualClock()).fault())
    lasting = Lasting.of(config)
    mirror = build(config, lasting=lasting)
    try:
        assert (await mirror.manifest(HUB, ALPINE, "3")).source == good.netloc
        assert bad.requests == []
        assert (await mirror.manifest(HUB, "library/nginx", "3")).source == bad.netloc
        assert [pulls.left for pulls in lasting.health.quota.known()] == [99]
        for _ in range(2):
            with pytest.raises(AllHostsFailed):
                await mirror.manifest(HUB, "library/nginx", "4")
        assert [left.refusals for left in lasting.health.budget.left()] == [4]
    finally:
        await mirror.close()
        lasting.close()


async def test_what_whoever_gives_the_tokens_refuses_counts_too(tmp_path: Path, bad: FakeRegistry) -> None:
    bad.add(image(ALPINE, "3"))
    async with TokenServer() as realm:
        bad.auth = realm
        realm.script(faults.status(403))
        async with mirror_of(tmp_path, {HUB: [feared(bad)]}, clock=ManualClock()) as rig:
            with pytest.raises(AllHostsFailed):
                await rig.mirror.manifest(HUB, ALPINE, "3")
            assert [left.refusals for left in rig.mirror.health.budget.left()] == [REFUSALS_MAX - 1]
