"""Tags and manifests through the mirror: fresh, revalidated, stale, agreed upon."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rig import ALPINE, HUB, assert_store_is_sound, mirror_of
from sampan.errors import AllHostsFailed, NotFound
from sampan.mirror.patience import Patience
from sampan.mirror.tagged import TagPolicy
from sampan.oci import Digest, Index
from sampan.testing import (
    ClosedPort,
    FakeRegistry,
    Fault,
    ManualClock,
    Match,
    artifact,
    faults,
    image,
    index,
    older,
)
from sampan.upstream.host import Host

MANIFEST = Match(kind="manifest")


MANIFESTS = [
    faults.status(500),
    faults.status(502),
    faults.denied(),
    faults.status(404),
    faults.rate_limited(),
    faults.page(),
    faults.error_document_with_200(),
    faults.lying_digest(),
    faults.flipped_bit(),
    faults.status_line(204),
    faults.redirect(faults.UNREACHABLE_URL),
    faults.hang_up(),
    faults.gibberish(),
    faults.unauthorized('Basic realm="x"'),
    faults.bearer_at(faults.UNREACHABLE_URL),
]


@pytest.mark.parametrize("fault", MANIFESTS, ids=lambda fault: fault.name)
async def test_a_fault_on_manifests_costs_the_client_nothing(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry, fault: Fault
) -> None:
    alpine = good.add(bad.add(image(ALPINE, "3")))
    bad.script(fault, on=MANIFEST)
    async with mirror_of(tmp_path, [bad, good]) as rig:
        by_tag = await rig.mirror.manifest(HUB, ALPINE, "3")
        assert str(by_tag.manifest.digest) == alpine.digest
        assert by_tag.source == good.netloc
        await rig.pull()
    assert len(bad.faulted) <= 3
    assert_store_is_sound(tmp_path)


async def test_a_fresh_tag_asks_nobody(tmp_path: Path, good: FakeRegistry) -> None:
    good.add(image(ALPINE, "3"))
    async with mirror_of(tmp_path, [good]) as rig:
        first = await rig.mirror.manifest(HUB, ALPINE, "3")
        second = await rig.mirror.manifest(HUB, ALPINE, "3")
    assert (first.source, second.source) == (good.netloc, "store")
    assert good.count(kind="manifest") == 1


async def test_an_old_tag_is_confirmed_by_head_alone(tmp_path: Path, good: FakeRegistry) -> None:
    good.add(image(ALPINE, "3"))
    clock = ManualClock()
    async with mirror_of(tmp_path, [good], clock=clock, policy=TagPolicy(fresh_for_seconds=60)) as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        clock.advance(61)
        again = await rig.mirror.manifest(HUB, ALPINE, "3")
        assert (again.source, again.stale) == (good.netloc, False)
        assert good.count(kind="manifest", method="GET") == 1
        assert (await rig.mirror.manifest(HUB, ALPINE, "3")).source == "store"


async def test_a_moved_tag_is_followed_after_its_freshness(tmp_path: Path, good: FakeRegistry) -> None:
    old = good.add(image(ALPINE, "3"))
    clock = ManualClock()
    async with mirror_of(tmp_path, [good], clock=clock, policy=TagPolicy(fresh_for_seconds=60)) as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        new = good.add(older(old))
        assert str((await rig.mirror.manifest(HUB, ALPINE, "3")).manifest.digest) == old.digest
        clock.advance(61)
        assert str((await rig.mirror.manifest(HUB, ALPINE, "3")).manifest.digest) == new.digest


async def test_a_known_tag_is_served_stale_while_every_host_is_down_and_asked_for_once_a_window(
    tmp_path: Path, good: FakeRegistry
) -> None:
    alpine = good.add(image(ALPINE, "3"))
    clock = ManualClock()
    async with mirror_of(tmp_path, [good], clock=clock, policy=TagPolicy(fresh_for_seconds=60)) as rig:
        await rig.pull()
        clock.advance(61)
        good.script(faults.status(503))
        for _ in range(3):
            answer = await rig.mirror.manifest(HUB, ALPINE, "3")
            assert (str(answer.manifest.digest), answer.stale, answer.age_seconds) == (
                alpine.digest,
                True,
                61,
            )
            await rig.pull()
    assert len(good.faulted) == 2  # one check, and once more because the host is alone
    assert rig.watcher.stale == 6


async def test_a_tag_too_old_to_be_stale_is_refused(tmp_path: Path, good: FakeRegistry) -> None:
    good.add(image(ALPINE, "3"))
    clock = ManualClock()
    policy = TagPolicy(fresh_for_seconds=60, stale_for_seconds=3600)
    async with mirror_of(tmp_path, [good], clock=clock, policy=policy) as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        good.script(faults.status(503))
        clock.advance(3600)
        assert (await rig.mirror.manifest(HUB, ALPINE, "3")).stale
        clock.advance(61)
        with pytest.raises(AllHostsFailed):
            await rig.mirror.manifest(HUB, ALPINE, "3")


async def test_a_stamp_from_the_future_is_old(tmp_path: Path, good: FakeRegistry) -> None:
    good.add(image(ALPINE, "3"))
    clock = ManualClock()
    clock.wall_offset_seconds = 365 * 86400
    async with mirror_of(tmp_path, [good], clock=clock) as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        clock.wall_offset_seconds = 0
        await rig.mirror.manifest(HUB, ALPINE, "3")
    assert good.count(kind="manifest") == 2


@pytest.mark.parametrize(("step_seconds", "asked"), [(-59.0, 1), (-61.0, 2)])
@pytest.mark.row("K1")
async def test_a_clock_that_is_set_right_by_a_little_makes_no_tag_old(
    tmp_path: Path, good: FakeRegistry, step_seconds: float, asked: int
) -> None:
    good.add(image(ALPINE, "3"))
    clock = ManualClock()
    async with mirror_of(tmp_path, [good], clock=clock) as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        clock.wall_offset_seconds = step_seconds
        answer = await rig.mirror.manifest(HUB, ALPINE, "3")
    assert (answer.age_seconds, good.count(kind="manifest")) == (0.0, asked)


@pytest.mark.row("K1")
async def test_the_age_of_a_stale_tag_from_the_future_is_finite(tmp_path: Path, good: FakeRegistry) -> None:
    good.add(image(ALPINE, "3"))
    clock = ManualClock()
    async with mirror_of(tmp_path, [good], clock=clock) as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        clock.wall_offset_seconds = -365 * 86400
        good.script(faults.status(503))
        answer = await rig.mirror.manifest(HUB, ALPINE, "3")
    assert (answer.stale, answer.age_seconds) == (True, 2**31)


@pytest.mark.row("N17")
async def test_a_tag_survives_a_restart_with_no_host_at_all(tmp_path: Path, good: FakeRegistry) -> None:
    alpine = good.add(image(ALPINE, "3"))
    async with mirror_of(tmp_path, [good]) as rig:
        await rig.pull()
    async with ClosedPort() as nobody, mirror_of(tmp_path, [Host.from_url(nobody.url)]) as rig:
        answer = await rig.mirror.manifest(HUB, ALPINE, "3")
        assert (str(answer.manifest.digest), answer.source) == (alpine.digest, "store")
        await rig.pull()


async def test_an_image_never_seen_fails_at_once_and_again_at_once(tmp_path: Path) -> None:
    async with ClosedPort() as nobody, mirror_of(tmp_path, [Host.from_url(nobody.url)]) as rig:
        for _ in range(2):
            with pytest.raises(AllHostsFailed) as caught:
                await rig.mirror.manifest(HUB, ALPINE, "3")
            assert caught.value.status == 503
            assert caught.value.attempts[0].outcome == "refused"


async def test_a_digest_that_nobody_has_is_not_found_and_remembered(
    tmp_path: Path, good: FakeRegistry
) -> None:
    good.add(image(ALPINE, "3"))
    async with mirror_of(tmp_path, [good]) as rig:
        for _ in range(2):
            with pytest.raises(NotFound):
                await rig.mirror.manifest(HUB, ALPINE, Digest.of(b"nothing"))
    assert len(good.requests) == 1


async def test_an_index_keeps_its_bytes_and_its_entries_are_found(tmp_path: Path, good: FakeRegistry) -> None:
    alpine = good.add(index(ALPINE, "3"))
    async with mirror_of(tmp_path, [good]) as rig:
        top = (await rig.mirror.manifest(HUB, ALPINE, "3")).manifest
        assert isinstance(top, Index)
        assert top.raw == alpine.raw
        for entry in top.manifests:
            child = (await rig.mirror.manifest(HUB, ALPINE, entry.digest)).manifest
            assert child.size == entry.size


async def test_two_operators_must_agree_when_the_policy_says_so(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    alpine = good.add(bad.add(image(ALPINE, "3")))
    hosts = [Host.from_url(bad.url, group="one"), Host.from_url(good.url, group="two")]
    async with mirror_of(tmp_path, {HUB: hosts}, policy=TagPolicy(agree=2)) as rig:
        assert str((await rig.mirror.manifest(HUB, ALPINE, "3")).manifest.digest) == alpine.digest
        bad.add(older(image(ALPINE, "4")))
        good.add(image(ALPINE, "4"))
        with pytest.raises(AllHostsFailed) as caught:
            await rig.mirror.manifest(HUB, ALPINE, "4")
    assert [a.outcome for a in caught.value.attempts].count("disagrees") == 2


async def test_two_hosts_of_one_operator_are_one_voice(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    good.add(bad.add(image(ALPINE, "3")))
    hosts = [Host.from_url(bad.url, group="one"), Host.from_url(good.url, group="one")]
    async with mirror_of(tmp_path, {HUB: hosts}, policy=TagPolicy(agree=2)) as rig:
        with pytest.raises(AllHostsFailed):
            await rig.mirror.manifest(HUB, ALPINE, "3")


async def test_those_who_agree_do_not_wait_for_the_silent_though_they_could_make_a_tie(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    alpine = good.add(bad.add(image(ALPINE, "3")))
    async with FakeRegistry("c", host="127.0.0.3") as c, FakeRegistry("d", host="127.0.0.4") as d:
        for silent in (c, d):
            silent.script(faults.silence())
        hosts = [Host.from_url(one.url, group=one.name) for one in (c, bad, d, good)]
        async with mirror_of(
            tmp_path, {HUB: hosts}, policy=TagPolicy(agree=2), patience=Patience(stale_seconds=0.05)
        ) as rig:
            asked = rig.mirror.manifest(HUB, ALPINE, "3")
            answer = await asyncio.wait_for(asked, 2)
            assert str(answer.manifest.digest) == alpine.digest


async def test_a_repository_that_every_host_lists_as_empty_has_no_tags(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    for host in (bad, good):
        host.add(image(ALPINE, "3"))
        host.untag(ALPINE, "3")
    async with mirror_of(tmp_path, [bad, good]) as rig:
        for _ in range(2):
            assert await rig.mirror.tags(HUB, ALPINE) == []
        good.script(faults.status(404), on=Match(kind="tags"))
        assert await rig.mirror.tags(HUB, ALPINE) == []
        with pytest.raises(NotFound):
            await rig.mirror.tags(HUB, "library/absent")


async def test_an_empty_list_does_not_hide_that_the_next_host_is_down(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    bad.add(image(ALPINE, "3"))
    bad.untag(ALPINE, "3")
    good.script(faults.status(503))
    async with mirror_of(tmp_path, [bad, good]) as rig:
        with pytest.raises(AllHostsFailed) as caught:
            await rig.mirror.tags(HUB, ALPINE)
    assert caught.value.status == 503


@pytest.mark.parametrize("further", [200, 404])
async def test_nor_that_one_before_it_is_which_is_not_asked_again(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry, further: int
) -> None:
    good.add(image(ALPINE, "3"))
    good.untag(ALPINE, "3")
    bad.script(faults.status(503))
    async with FakeRegistry("c", host="127.0.0.3") as third:
        third.add(image(ALPINE, "3"))
        third.untag(ALPINE, "3")
        if further != 200:
            third.script(faults.status(further))
        async with mirror_of(tmp_path, [bad, good, third]) as rig:
            with pytest.raises(AllHostsFailed) as caught:
                await rig.mirror.tags(HUB, ALPINE)
        assert (caught.value.status, [a.host for a in caught.value.attempts]) == (503, [bad.netloc])
        assert [len(one.requests) for one in (bad, good, third)] == [1, 1, 1]


async def test_a_host_that_was_only_late_still_tells_what_an_empty_list_lacks(
    tmp_path: Path, bad: FakeRegistry, good: FakeRegistry
) -> None:
    alpine = good.add(bad.add(image(ALPINE, "3")))
    good.untag(ALPINE, "3")
    bad.add(artifact(alpine, "application/vnd.example.signature"))
    bad.script(faults.sleeps_first(Patience().blob_seconds + 1))
    async with mirror_of(tmp_path, [bad, good]) as rig:
        found = await rig.mirror.referrers(HUB, ALPINE, Digest.parse(alpine.digest))
        assert await rig.mirror.tags(HUB, ALPINE) == ["3"]
    assert [entry.artifact_type for entry in found.manifests] == ["application/vnd.example.signature"]
    assert (bad.count(kind="referrers"), good.count(kind="referrers")) == (2, 1)


async def test_tags_are_listed_sorted_and_known_ones_survive_an_empty_list(
    tmp_path: Path, good: FakeRegistry
) -> None:
    good.add(image(ALPINE, "3"))
    good.add(image(ALPINE, "3.20"))
    async with mirror_of(tmp_path, [good]) as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        assert await rig.mirror.tags(HUB, ALPINE) == ["3", "3.20"]
        good.script(faults.status(503), on=Match(kind="tags"))
        assert await rig.mirror.tags(HUB, ALPINE) == ["3"]


async def test_referrers_come_from_the_api_and_are_empty_where_no_host_has_it(
    tmp_path: Path, good: FakeRegistry
) -> None:
    alpine = good.add(image(ALPINE, "3"))
    good.add(artifact(alpine, "application/vnd.example.signature"))
    async with mirror_of(tmp_path, [good]) as rig:
        found = await rig.mirror.referrers(HUB, ALPINE, Digest.parse(alpine.digest))
        assert [entry.artifact_type for entry in found.manifests] == ["application/vnd.example.signature"]
        good.script(faults.status(404), on=Match(kind="referrers"))
        nothing = await rig.mirror.referrers(HUB, ALPINE, Digest.of(b"other"))
        assert nothing.manifests == ()


async def test_referrers_are_none_where_no_host_may_tell(tmp_path: Path, good: FakeRegistry) -> None:
    alpine = good.add(image(ALPINE, "3"))
    puller = Host.from_url(good.url, capabilities=frozenset({"pull"}))
    async with mirror_of(tmp_path, {HUB: [puller]}) as rig:
        assert (await rig.mirror.referrers(HUB, ALPINE, Digest.parse(alpine.digest))).manifests == ()
    assert good.requests == []
