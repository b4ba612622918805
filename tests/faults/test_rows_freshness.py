"""Rows C of the catalogue about what tags mean, and what belongs to an image."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from faults.trial import HUB, Trial, names, trial
from sampan.errors import PlatformMissing
from sampan.mirror.tagged import TagPolicy
from sampan.oci import Digest, Platform, Reference, parse_manifest
from sampan.pull.events import Event
from sampan.pull.service import Report, pull
from sampan.pull.sinks.layout import LayoutSink
from sampan.testing import FakeRegistry, Image, Match, artifact, faults, image, index, random_layer
from sampan.testing.images import Content

pytestmark = pytest.mark.standstill

REPOSITORY = "library/alpine"
OLD, NEW, NEWER = (image(REPOSITORY, "3", layers=[random_layer(n, 50_000)], seed=n) for n in (1, 2, 3))
OBJECTS = 1 + len(NEW.blobs)
FRESH_SECONDS = 300.0
TAG = f"/v2/{REPOSITORY}/manifests/3"
MANIFEST = Match(kind="manifest")


async def registries(stack: AsyncExitStack, *images: Image) -> list[FakeRegistry]:
    """Each at an address of its own, so of an operator of its own."""
    made = [FakeRegistry(f"r{n}", host=f"127.0.0.{n}") for n in range(1, len(images) + 1)]
    for one, held in zip(made, images, strict=True):
        one.add(held)
        await stack.enter_async_context(one)
    return made


# -- C6, C7: who says what a tag means -----------------------------------------------------------------


async def test_c6_an_older_image_from_the_first_host_is_outvoted_and_told(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hosts = bad, *_ = await registries(stack, OLD, NEW, NEW)
        async with trial(tmp_path, hosts, policy=TagPolicy(agree=2)) as endured:
            await endured.pull(NEW)
            await endured.assert_endured(
                bad, reasons=["disagrees"], requests_max=OBJECTS, seconds_max=0.1, holds=[NEW]
            )
            assert f"{names([bad])[0]} says that it is {OLD.digest}" in endured.written()


async def test_c6_an_older_image_does_not_get_past_a_lock(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        bad, good = await registries(stack, OLD, NEW)
        policy = TagPolicy(locked={(HUB, REPOSITORY, "3"): Digest.parse(NEW.digest)})
        async with trial(tmp_path, [bad, good], policy=policy) as endured:
            await endured.pull(NEW)
            await endured.assert_endured(
                bad, reasons=["missing"], requests_max=OBJECTS, seconds_max=0.1, holds=[NEW]
            )
            assert all(request.tag is None for request in bad.requests)


@pytest.mark.parametrize("moves", [[OLD, NEW, OLD], [OLD, NEW, NEWER, OLD]], ids=["one back", "two back"])
async def test_c6_a_tag_that_goes_back_to_what_it_named_before_is_told(
    tmp_path: Path, moves: list[Image]
) -> None:
    """By a single host that may resolve there is nobody else to believe: it is served, and told."""
    async with AsyncExitStack() as stack:
        (bad,) = await registries(stack, moves[0])
        async with trial(tmp_path, [bad]) as endured:
            for now in moves:
                assert "which it named before" not in endured.written()
                bad.add(now)
                await endured.pull(now)
                endured.later(FRESH_SECONDS)
            await endured.assert_endured(
                bad, reasons=["rollback"], requests_max=2 * OBJECTS * len(moves), seconds_max=0.1, holds=moves
            )
            told = f"{HUB}/{REPOSITORY}:3 went back from {moves[-2].digest} to {OLD.digest}"
            assert told in endured.written()
            assert await endured.metric("sampan_attempts_total", outcome="rollback") == 1


async def test_c7_three_hosts_that_name_three_images_give_none(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hosts = await registries(stack, OLD, NEW, NEWER)
        async with trial(tmp_path, hosts, policy=TagPolicy(agree=2)) as endured:
            answer = await endured.ask(TAG)
            assert (answer.status, answer.error["code"]) == (503, "UNAVAILABLE")
            for host, named in zip(hosts, (OLD, NEW, NEWER), strict=True):
                assert f"{names([host])[0]}: disagrees: {named.digest}" in answer.error["message"]
                await endured.assert_endured(host, reasons=["disagrees"], requests_max=1, seconds_max=0.1)
            assert list((endured.store / "blobs" / "sha256").iterdir()) == []


async def test_c7_what_two_of_three_name_is_the_answer(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hosts = await registries(stack, NEW, OLD, NEW)
        async with trial(tmp_path, hosts, policy=TagPolicy(agree=2)) as endured:
            await endured.pull(NEW)
            await endured.assert_endured(
                hosts[1], reasons=["disagrees"], requests_max=1, seconds_max=0.1, holds=[NEW]
            )


# -- C8, C9: tags that go, and that move -----------------------------------------------------------------


async def test_c8_a_tag_that_was_deleted_is_served_marked(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        (bad,) = await registries(stack, NEW)
        async with trial(tmp_path, [bad]) as endured:
            await endured.pull(NEW)
            bad.untag(REPOSITORY, "3")
            endured.later(FRESH_SECONDS)
            for _ in range(3):  # and asked for once in the time that a tag is fresh
                answer = await endured.ask(TAG)
                assert (answer.status, answer.body) == (200, NEW.raw)
                assert answer.headers["warning"] == '110 sampan "Response is Stale"'
                assert int(answer.headers["age"]) >= FRESH_SECONDS
            await endured.assert_endured(
                bad, reasons=["missing"], requests_max=OBJECTS + 2, seconds_max=0.1, holds=[NEW]
            )
            assert await endured.metric("sampan_stale_answers_total") == 3


async def test_c8_a_deleted_tag_is_not_served_for_longer_than_configured(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        (bad,) = await registries(stack, NEW)
        policy = TagPolicy(fresh_for_seconds=FRESH_SECONDS, stale_for_seconds=60.0)
        async with trial(tmp_path, [bad], policy=policy) as endured:
            await endured.pull(NEW)
            bad.untag(REPOSITORY, "3")
            for later, status in ((FRESH_SECONDS + 59.0, 200), (2.0, 404)):
                endured.later(later)
                assert (await endured.ask(TAG)).status == status
            await endured.assert_endured(bad, reasons=["missing"], requests_max=OBJECTS + 4, seconds_max=0.1)


async def test_c9_a_tag_that_moves_between_two_requests_of_a_pull_stays_what_it_was(tmp_path: Path) -> None:
    """Runtimes ask by HEAD, then by GET, and then for what that named."""
    async with AsyncExitStack() as stack:
        (bad,) = await registries(stack, OLD)
        async with trial(tmp_path, [bad]) as endured:
            head = await endured.ask(TAG, method="HEAD")
            assert head.headers["docker-content-digest"] == OLD.digest
            bad.add(NEW)
            await endured.pull(OLD)
            await endured.assert_endured(bad, reasons=[], requests_max=OBJECTS, seconds_max=0.1, holds=[OLD])
            endured.later(FRESH_SECONDS)
            await endured.pull(NEW)


async def test_c9_a_pull_of_our_own_resolves_its_tag_once(tmp_path: Path) -> None:
    both = index(REPOSITORY, "3")
    async with AsyncExitStack() as stack:
        (bad,) = await registries(stack, both)
        bad.script(faults.answer_with(NEW.manifest), on=Match(kind="manifest", tag="3", nth=2))
        async with trial(tmp_path, [bad], policy=TagPolicy(fresh_for_seconds=0.0)) as endured:
            report = await pulled(endured, tmp_path)
            assert (report.error, str(report.digest)) == (None, both.digest)
            assert bad.count(kind="manifest", tag="3") == 1
            await endured.assert_endured(
                bad, reasons=[], requests_max=1 + OBJECTS, seconds_max=0.1, holds=[both.images[0]]
            )
        document = json.loads((tmp_path / "layout" / "index.json").read_text())
        assert both.images[0].digest in json.dumps(document)


async def pulled(endured: Trial, path: Path, architecture: str = "amd64") -> Report:
    """By the pull client, into a layout, as ``sampan pull`` does."""
    told: list[Event] = []
    (report,) = await pull(
        endured.rig.mirror,
        [Reference.parse("alpine:3")],
        sink=LayoutSink(path / "layout"),
        platforms=[Platform("linux", architecture)],
        listener=told.append,
    )
    return report


# -- C10, C11: images that lack something, or want more ----------------------------------------------


async def test_c10_an_index_that_lacks_the_platform_is_no_fault_of_a_host(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        (bad,) = await registries(stack, index(REPOSITORY, "3"))
        async with trial(tmp_path, [bad]) as endured:
            report = await pulled(endured, tmp_path, "riscv64")
            assert isinstance(report.error, PlatformMissing)
            assert "linux/amd64" in report.error.message
            assert "linux/arm64/v8" in report.error.message
            await endured.assert_endured(bad, reasons=[], requests_max=1, seconds_max=0.1)
            told = [await endured.metric("sampan_attempts_total", **ok) for ok in ({}, {"outcome": "ok"})]
            assert told == [1, 1]
            answer = await endured.ask(TAG)  # a runtime chooses for itself: it gets the index as it is
            assert answer.status == 200


def with_foreign_layer(url: str) -> tuple[Image, str]:
    """An image with a layer that is not for registries to give, but to be had at ``url``; its digest."""
    layer = Content.of(b"not to be distributed", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
    document = json.loads(NEW.raw)
    document["layers"].append(layer.descriptor(urls=[url]))
    return replace(
        NEW, manifest=Content.of(json.dumps(document).encode(), NEW.manifest.media_type)
    ), layer.digest


async def test_c11_the_urls_of_a_foreign_layer_are_not_followed(tmp_path: Path) -> None:
    async with FakeRegistry("elsewhere", host="127.0.0.9") as elsewhere, FakeRegistry("bad") as bad:
        made, foreign = with_foreign_layer(f"{elsewhere.url}/layer")
        bad.add(made)
        async with trial(tmp_path, [bad]) as endured:
            await endured.pull(made)
            answer = await endured.ask(f"/v2/{REPOSITORY}/blobs/{foreign}")
            assert (answer.status, answer.error["code"]) == (404, "BLOB_UNKNOWN")
            await endured.assert_endured(
                bad, reasons=["missing"], requests_max=OBJECTS + 1, seconds_max=0.1, holds=[made]
            )
            assert (await pulled(endured, tmp_path)).error is not None
        assert elsewhere.requests == []


# -- C16: what refers to an image ------------------------------------------------------------------------

SIGNATURE = artifact(NEW, "application/vnd.example.signature")
REFERRERS = f"/v2/{REPOSITORY}/referrers/{NEW.digest}"
FALLBACK = NEW.digest.replace(":", "-")


def listed(body: bytes) -> list[str]:
    return [str(entry.digest) for entry in parse_manifest(body).references]


async def listing(endured: Trial) -> list[str]:
    answer = await endured.ask(REFERRERS)
    assert (answer.status, answer.complete) == (200, True)
    return listed(answer.body)


@pytest.mark.parametrize("first", ["404", "an empty list"])
async def test_c16_a_mirror_without_referrers_does_not_hide_those_elsewhere(
    tmp_path: Path, first: str
) -> None:
    async with AsyncExitStack() as stack:
        bad, good = await registries(stack, NEW, NEW)
        good.add(SIGNATURE)
        if first == "404":
            bad.script(faults.status(404), on=Match(kind="referrers"))
        async with trial(tmp_path, [bad, good]) as endured:
            assert await listing(endured) == [SIGNATURE.digest]
            reasons = ["missing"] if first == "404" else []
            await endured.assert_endured(bad, reasons=reasons, requests_max=2, seconds_max=0.1)


async def test_c16_the_tag_that_stands_in_for_the_list_is_read(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        (bad,) = await registries(stack, NEW)
        bad.add(replace(index(REPOSITORY, images=[SIGNATURE]), tag=FALLBACK))
        bad.script(faults.status(404), on=Match(kind="referrers"))
        async with trial(tmp_path, [bad]) as endured:
            assert await listing(endured) == [SIGNATURE.digest]
            await endured.assert_endured(bad, reasons=[], requests_max=2, seconds_max=0.1)


async def test_c16_where_no_host_has_a_list_it_is_empty_and_not_missing(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        bad, other = await registries(stack, NEW, NEW)
        for one in (bad, other):
            one.script(faults.status(404), on=Match(kind="referrers"))
        async with trial(tmp_path, [bad, other]) as endured:
            assert await listing(endured) == []
            await endured.assert_endured(bad, reasons=["missing"], requests_max=2, seconds_max=0.1)


async def test_c16_what_was_brought_into_the_store_is_listed_beside_what_a_host_tells(tmp_path: Path) -> None:
    """As ``sampan bundle load`` brings it: no host knows of it."""
    carried = artifact(NEW, "application/vnd.example.sbom", payload=b"carried over an air gap")
    async with AsyncExitStack() as stack:
        (bad,) = await registries(stack, NEW)
        bad.add(SIGNATURE)
        async with trial(tmp_path, [bad]) as endured:
            assert await listing(endured) == [SIGNATURE.digest]
            brought = parse_manifest(carried.raw, media_type=carried.manifest.media_type)
            await asyncio.to_thread(endured.rig.store.put_manifest, brought)
            assert sorted(await listing(endured)) == sorted([SIGNATURE.digest, carried.digest])
            await endured.assert_endured(bad, reasons=[], requests_max=2, seconds_max=0.1)
