"""Rows H20 to H35 of the catalogue: HEAD, lengths, ranges, encodings, types, lists, and HTTP itself."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from faults.trial import Trial, trial
from faults.two_hosts import (
    ALPINE,
    AT_ONCE_SECONDS,
    BLOBS,
    Calendar,
    assert_endured_at_once,
    ordeal,
)
from sampan.testing import FakeRegistry, Fault, Match, faults, image, index
from sampan.testing.catalogue import BLOB, MANIFEST, TAGS, Apply, Case, cases

pytestmark = pytest.mark.standstill

OLD_SECONDS = 301.0  # after which a tag is asked for again
LAYER = ALPINE.layers[0]
LAYER_PATH = f"/v2/library/alpine/blobs/{LAYER.digest}"
MANIFEST_PATH = "/v2/library/alpine/manifests/3"
TAGS_PATH = "/v2/library/alpine/tags/list"
GET_BLOB, GET_MANIFEST = Match(kind="blob", method="GET"), Match(kind="manifest", method="GET")


# -- HEAD -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [*cases("H20"), *cases("H21")], ids=str)
async def test_h20_a_host_that_answers_head_badly_is_asked_so_once(tmp_path: Path, case: Case[Apply]) -> None:
    clock = Calendar()
    async with ordeal(tmp_path, clock=clock, alone=True) as (endured, bad, _):
        case.apply(bad, ALPINE)
        for _ in range(4):
            await endured.pull(ALPINE)
            clock.advance(OLD_SECONDS)
        await endured.assert_endured(
            bad, reasons=[], requests_max=4 + 1 + BLOBS, seconds_max=AT_ONCE_SECONDS, holds=[ALPINE]
        )
        assert (bad.count(method="HEAD"), bad.count("manifest", method="GET")) == (1, 4)


@pytest.mark.parametrize("case", cases("H21"), ids=str)
async def test_h21_our_own_answers_to_head_say_all_of_it(tmp_path: Path, case: Case[Apply]) -> None:
    async with ordeal(tmp_path, alone=True) as (endured, bad, _):
        case.apply(bad, ALPINE)
        bad.script(faults.no_header("Docker-Content-Digest"))
        for path, content in ((MANIFEST_PATH, ALPINE.manifest), (LAYER_PATH, LAYER)):
            answer = await endured.ask(path, method="HEAD")
            assert answer.status == 200
            assert answer.headers["content-length"] == str(content.size)
            assert answer.headers["docker-content-digest"] == content.digest
        await endured.pull(ALPINE)
        await endured.assert_endured(
            bad, reasons=[], requests_max=3 + BLOBS, seconds_max=AT_ONCE_SECONDS, holds=[ALPINE]
        )


# -- lengths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", cases("H22"), ids=str)
async def test_h22_no_length_but_a_body_in_chunks(tmp_path: Path, case: Case[Apply]) -> None:
    await _is_served_by_the_first(tmp_path, case.apply)


async def test_h22_chunks_without_an_end_are_read_to_the_size_of_the_blob(tmp_path: Path) -> None:
    async with ordeal(tmp_path) as (endured, bad, good):
        bad.script(faults.longer_by(64 * 1024 * 1024).joined(faults.chunked()), on=Match(digest=LAYER.digest))
        await endured.pull(ALPINE)
        await assert_endured_at_once(endured, bad)
        assert good.requests == []
        assert max(request.bytes_sent for request in bad.requests) < 16 * 1024 * 1024


@pytest.mark.parametrize("case", cases("H23"), ids=str)
async def test_h23_a_body_that_is_shorter_than_it_was_said_to_be(tmp_path: Path, case: Case[Apply]) -> None:
    async with ordeal(tmp_path) as (endured, bad, good):
        case.apply(bad, ALPINE)
        await endured.pull(ALPINE)
        await assert_endured_at_once(endured, bad, "truncated")
        assert good.count("manifest") == 0


async def test_h23_what_came_before_the_end_is_not_fetched_again(tmp_path: Path) -> None:
    async with ordeal(tmp_path) as (endured, bad, good):
        bad.script(faults.cut_off(), on=Match(kind="blob", digest=LAYER.digest))
        await endured.pull(ALPINE)
        await assert_endured_at_once(endured, bad, "truncated")
        (rest,) = good.requests
        assert rest.headers["range"] == f"bytes={LAYER.size // 2}-"


@pytest.mark.parametrize("case", cases("H24"), ids=str)
async def test_h24_bytes_beyond_the_end_are_not_taken(tmp_path: Path, case: Case[Apply]) -> None:
    async with ordeal(tmp_path) as (endured, bad, _):
        case.apply(bad, ALPINE)
        await endured.pull(ALPINE)
        # Those that come together with the blob's last make malformed HTTP of it, later ones do not.
        await assert_endured_at_once(endured, bad)


async def test_h24_a_length_that_is_too_small(tmp_path: Path) -> None:
    async with ordeal(tmp_path) as (endured, bad, _):
        short = faults.header("Content-Length", str(LAYER.size - 10))
        bad.script(short, on=Match(kind="blob", digest=LAYER.digest))
        await endured.pull(ALPINE)
        await assert_endured_at_once(endured, bad, "other-size")


async def test_h24_a_length_that_is_too_small_of_a_blob_whose_size_nobody_knows(tmp_path: Path) -> None:
    async with ordeal(tmp_path) as (endured, bad, _):
        bad.script(faults.header("Content-Length", str(LAYER.size - 10)), on=BLOB)
        answer = await endured.ask(LAYER_PATH)
        assert (answer.status, answer.body) == (200, LAYER.read())
        await endured.assert_endured(
            bad, reasons=["wrong-content"], requests_max=1, seconds_max=AT_ONCE_SECONDS
        )


@pytest.mark.parametrize("case", cases("H25"), ids=str)
async def test_h25_a_length_and_no_body(tmp_path: Path, case: Case[Apply]) -> None:
    async with ordeal(tmp_path) as (endured, bad, _):
        case.apply(bad, ALPINE)
        await endured.pull(ALPINE)
        await assert_endured_at_once(endured, bad, "truncated")


# -- ranges -----------------------------------------------------------------------------------------


@asynccontextmanager
async def cut_short(path: Path) -> AsyncIterator[tuple[Trial, FakeRegistry, FakeRegistry]]:
    """Three hosts; the first cuts the layer off in its middle, so that ``bad`` is asked for the rest."""
    async with (
        FakeRegistry("cuts", host="127.0.0.3") as cuts,
        FakeRegistry("bad") as bad,
        FakeRegistry("good", host="127.0.0.2") as good,
    ):
        for host in (cuts, bad, good):
            host.add(ALPINE)
        cuts.script(faults.cut_off(), on=Match(kind="blob", digest=LAYER.digest))
        async with trial(path, [cuts, bad, good]) as endured:
            yield endured, bad, good


async def test_h26_a_host_that_ignores_the_range(tmp_path: Path) -> None:
    async with cut_short(tmp_path) as (endured, bad, good):
        bad.script(faults.range_ignored())
        await endured.pull(ALPINE)
        await endured.assert_endured(
            bad, reasons=[], requests_max=1, seconds_max=AT_ONCE_SECONDS, holds=[ALPINE]
        )
        assert (bad.requests[0].headers["range"], bad.requests[0].status) == ("bytes=100000-", 200)
        assert good.requests == []


@pytest.mark.parametrize("case", cases("H26"), ids=str)
async def test_h26_a_lone_host_that_ignores_the_range(tmp_path: Path, case: Case[Apply]) -> None:
    async with ordeal(tmp_path, alone=True) as (endured, bad, _):
        case.apply(bad, ALPINE)
        await endured.pull(ALPINE)
        await endured.assert_endured(
            bad, reasons=["truncated"], requests_max=2 + BLOBS, seconds_max=AT_ONCE_SECONDS, holds=[ALPINE]
        )


async def test_h26_other_bytes_before_the_range_do_not_matter_and_wrong_ones_behind_it_are_found(
    tmp_path: Path,
) -> None:
    async with cut_short(tmp_path) as (endured, bad, good):
        bad.script(faults.range_ignored().joined(faults.flipped_bit(LAYER.size - 1)))
        await endured.pull(ALPINE)
        await endured.assert_endured(
            bad, reasons=["wrong-content"], requests_max=2, seconds_max=AT_ONCE_SECONDS, holds=[ALPINE]
        )
        assert good.count("blob") >= 1


SIZE = LAYER.size
WRONG_RANGES = [
    faults.wrong_range(f"bytes 0-{SIZE // 2 - 1}/{SIZE}"),
    faults.wrong_range(f"bytes {SIZE // 2}-{SIZE}/{SIZE + 1}"),
    faults.wrong_range(f"bytes {SIZE // 2}-{SIZE - 2}/{SIZE}"),
    faults.wrong_range("all of it"),
    faults.no_header("Content-Range"),
    faults.status(416),
    faults.unsatisfied_with_false_length(),
]


@pytest.mark.parametrize("number", range(len(WRONG_RANGES)))
async def test_h27_another_range_than_the_one_asked_for(tmp_path: Path, number: int) -> None:
    async with cut_short(tmp_path) as (endured, bad, good):
        bad.script(WRONG_RANGES[number], on=Match(kind="blob", ranged=True))
        await endured.pull(ALPINE)
        await endured.assert_endured(
            bad, reasons=["protocol"], requests_max=1, seconds_max=AT_ONCE_SECONDS, holds=[ALPINE]
        )
        assert [request.headers["range"] for request in good.requests] == ["bytes=100000-"]


@pytest.mark.parametrize("case", cases("H27"), ids=str)
async def test_h27_resumed_at_another_host_instead(tmp_path: Path, case: Case[Apply]) -> None:
    async with ordeal(tmp_path) as (endured, bad, good):
        case.apply(bad, ALPINE)
        await endured.pull(ALPINE)
        await assert_endured_at_once(endured, bad, "truncated")
        assert good.count("blob", ranged=True) == 1


# -- encodings and types ----------------------------------------------------------------------------


@pytest.mark.parametrize("case", cases("H28"), ids=str)
async def test_h28_a_manifest_in_an_encoding_that_nobody_asked_for(tmp_path: Path, case: Case[Apply]) -> None:
    await _is_served_by_the_first(tmp_path, case.apply)


UNREADABLE = [
    faults.substituted().joined(faults.header("Content-Encoding", "br")),
    faults.substituted().joined(faults.header("Content-Encoding", "zstd")),
    faults.substituted().joined(faults.header("Content-Encoding", "gzip")),
    faults.gzip_encoded().joined(faults.no_header("Docker-Content-Digest")),
    faults.gzip_bomb(),
]


@pytest.mark.parametrize("fault", UNREADABLE, ids=lambda fault: fault.name)
async def test_h28_a_manifest_that_cannot_be_unpacked(tmp_path: Path, fault: Fault) -> None:
    async with ordeal(tmp_path) as (endured, bad, _):
        bad.script(fault, on=MANIFEST)
        await endured.pull(ALPINE)
        reason = "protocol" if "Docker-Content-Digest" in fault.name else "not-a-registry"
        await assert_endured_at_once(endured, bad, reason)


@pytest.mark.parametrize("case", cases("H29"), ids=str)
async def test_h29_a_blob_said_to_be_encoded(tmp_path: Path, case: Case[Apply]) -> None:
    if "said" in case.name:
        await _is_served_by_the_first(tmp_path, case.apply)
        return
    async with ordeal(tmp_path) as (endured, bad, _):
        case.apply(bad, ALPINE)
        await endured.pull(ALPINE)
        await assert_endured_at_once(endured, bad, "not-a-registry")


async def test_h29_an_encoded_blob_of_no_length(tmp_path: Path) -> None:
    async with ordeal(tmp_path) as (endured, bad, _):
        packed = faults.gzip_encoded().joined(faults.longer_by(10_000)).joined(faults.chunked())
        bad.script(packed, on=Match(kind="blob", digest=LAYER.digest))
        await endured.pull(ALPINE)
        await assert_endured_at_once(endured, bad, "wrong-content")


@pytest.mark.parametrize("case", cases("H30"), ids=str)
@pytest.mark.parametrize("docker", [False, True], ids=["OCI", "Docker"])
async def test_h30_a_wrong_type_of_a_right_manifest(tmp_path: Path, case: Case[Apply], docker: bool) -> None:
    one = image("library/alpine", "3", docker=docker)
    async with ordeal(tmp_path, one) as (endured, bad, good):
        case.apply(bad, one)
        await endured.pull(one)
        await endured.assert_endured(
            bad, reasons=[], requests_max=1 + len(one.blobs), seconds_max=AT_ONCE_SECONDS, holds=[one]
        )
        for by in (one.tag, one.digest):
            answer = await endured.ask(f"/v2/library/alpine/manifests/{by}")
            assert answer.headers["content-type"] == one.manifest.media_type
        assert good.requests == []


@pytest.mark.parametrize("case", cases("H31"), ids=str)
async def test_h31_schema_1(tmp_path: Path, case: Case[Apply]) -> None:
    async with ordeal(tmp_path) as (endured, bad, _):
        case.apply(bad, ALPINE)
        await endured.pull(ALPINE)
        await assert_endured_at_once(endured, bad, "not-a-registry")


@pytest.mark.parametrize("case", cases("H31"), ids=str)
async def test_h31_schema_1_everywhere_is_told_in_words(tmp_path: Path, case: Case[Apply]) -> None:
    async with ordeal(tmp_path, alone=True) as (endured, bad, _):
        case.apply(bad, ALPINE)
        answer = await endured.ask(MANIFEST_PATH)
        assert answer.status == 503
        assert "schema 1" in answer.error["message"]
        await endured.assert_endured(
            bad, reasons=["not-a-registry"], requests_max=1, seconds_max=AT_ONCE_SECONDS
        )


async def test_h31_an_index_is_kept_as_it_is_though_one_platform_is_wanted(tmp_path: Path) -> None:
    async with ordeal(tmp_path, many := index("library/alpine", "3"), alone=True) as (endured, bad, _):
        wanted = "application/vnd.oci.image.manifest.v1+json"
        answer = await endured.ask(MANIFEST_PATH, Accept=wanted)
        assert answer.status == 200
        assert answer.body == many.raw
        assert answer.headers["content-type"] == many.manifest.media_type
        one = many.images[0]
        await endured.pull(one, by=one.digest)
        await endured.assert_endured(
            bad, reasons=[], requests_max=2 + len(one.blobs), seconds_max=AT_ONCE_SECONDS, holds=[one]
        )


# -- /v2/ and lists ---------------------------------------------------------------------------------


@pytest.mark.parametrize("case", cases("H32"), ids=str)
async def test_h32_a_base_that_is_none(tmp_path: Path, case: Case[Apply]) -> None:
    async with ordeal(tmp_path, alone=True) as (endured, bad, _):
        case.apply(bad, ALPINE)
        await endured.pull(ALPINE)
        await assert_endured_at_once(endured, bad)
        assert bad.count("base") == 0
        assert (await endured.ask("/v2/")).status == 200


H33 = {
    "no tags": ("ok", 1),
    "tags 401": ("denied", 1),
    "next page elsewhere": ("protocol", 1),
    "next page is this page": ("protocol", 2),
}


@pytest.mark.parametrize("case", cases("H33"), ids=str)
async def test_h33_a_list_of_tags_that_is_none(tmp_path: Path, case: Case[Apply]) -> None:
    async with ordeal(tmp_path) as (endured, bad, _):
        case.apply(bad, ALPINE)
        answer = await endured.ask(TAGS_PATH)
        assert json.loads(answer.body) == {"name": "library/alpine", "tags": ["3"]}
        reason, requests = H33[case.name]
        await endured.assert_endured(
            bad,
            reasons=[] if reason == "ok" else [reason],
            requests_max=requests,
            seconds_max=AT_ONCE_SECONDS,
        )


async def test_h33_pages_without_end(tmp_path: Path) -> None:
    async with ordeal(tmp_path) as (endured, bad, _):
        bad.script(faults.endless_pages(), on=TAGS)
        answer = await endured.ask(TAGS_PATH)
        assert json.loads(answer.body)["tags"] == ["3"]
        await endured.assert_endured(
            bad, reasons=["protocol"], requests_max=100, seconds_max=10 * AT_ONCE_SECONDS
        )


async def test_h33_a_known_tag_is_listed_though_every_list_is_empty(tmp_path: Path) -> None:
    async with ordeal(tmp_path) as (endured, bad, good):
        await endured.pull(ALPINE)
        for host in (bad, good):
            host.script(faults.json_fields(tags=[]), on=TAGS)
        answer = await endured.ask(TAGS_PATH)
        assert json.loads(answer.body)["tags"] == ["3"]
        assert (await endured.ask(MANIFEST_PATH)).status == 200


# -- HTTP -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", cases("H34"), ids=str)
async def test_h34_heads_without_measure(tmp_path: Path, case: Case[Apply]) -> None:
    async with ordeal(tmp_path) as (endured, bad, _):
        case.apply(bad, ALPINE)
        await endured.pull(ALPINE)
        await assert_endured_at_once(endured, bad, "protocol")


@pytest.mark.parametrize("case", cases("H35"), ids=str)
async def test_h35_http_that_is_odd(tmp_path: Path, case: Case[Apply]) -> None:
    if "two" not in case.name:
        await _is_served_by_the_first(tmp_path, case.apply)
        return
    async with ordeal(tmp_path) as (endured, bad, _):
        case.apply(bad, ALPINE)
        await endured.pull(ALPINE)
        await assert_endured_at_once(endured, bad, "protocol")


async def _is_served_by_the_first(path: Path, apply: Apply) -> None:
    """What is odd but right is taken: nobody else is asked."""
    async with ordeal(path) as (endured, bad, good):
        apply(bad, ALPINE)
        await endured.pull(ALPINE)
        await assert_endured_at_once(endured, bad)
        assert good.requests == []
        assert await endured.metric("sampan_attempts_total", outcome="ok") >= 1 + BLOBS
