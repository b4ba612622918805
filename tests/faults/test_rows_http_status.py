"""Rows H1 to H13 of the catalogue: statuses that say no, and answers that no registry gives."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from faults.two_hosts import (
    ALPINE,
    AT_ONCE_SECONDS,
    BLOBS,
    BUSYBOX,
    EDGE,
    Calendar,
    assert_endured_at_once,
    ordeal,
)
from sampan.testing import Match, faults
from sampan.testing.catalogue import BLOB, MANIFEST, Apply, Case, cases
from sampan.upstream.health import DENIED_SECONDS, MISSING_SECONDS, NOT_A_REGISTRY_SECONDS

pytestmark = pytest.mark.standstill


@pytest.mark.parametrize("case", cases("H1"), ids=str)
async def test_h1_manifests_refused_by_an_allow_list(tmp_path: Path, case: Case[Apply]) -> None:
    clock = Calendar()
    async with ordeal(tmp_path, ALPINE, EDGE, BUSYBOX, clock=clock) as (endured, bad, _):
        case.apply(bad, ALPINE)
        await endured.pull(ALPINE)
        await assert_endured_at_once(endured, bad, "denied")
        await endured.pull(EDGE)
        assert bad.count("manifest") == 1
        await endured.pull(BUSYBOX)
        assert bad.count("manifest", repository=BUSYBOX.repository) == 1
        clock.advance(DENIED_SECONDS)
        await endured.ask("/v2/library/alpine/manifests/3.20")
        assert bad.count("manifest", repository=ALPINE.repository) == 2


@pytest.mark.parametrize("case", cases("H2"), ids=str)
async def test_h2_blobs_refused_after_the_manifest_was_given(tmp_path: Path, case: Case[Apply]) -> None:
    async with ordeal(tmp_path, ALPINE, EDGE) as (endured, bad, good):
        case.apply(bad, ALPINE)
        await endured.pull(ALPINE)
        await assert_endured_at_once(endured, bad, "denied")
        refused = bad.count("blob")
        await endured.pull(EDGE)
        assert (bad.count("manifest"), bad.count("blob")) == (2, refused)
        assert good.count("manifest") == 0


@pytest.mark.parametrize("case", cases("H3"), ids=str)
async def test_h3_refusals_that_are_not_the_specs_json(tmp_path: Path, case: Case[Apply]) -> None:
    async with ordeal(tmp_path) as (endured, bad, _):
        case.apply(bad, ALPINE)
        await endured.pull(ALPINE)
        reason = "missing" if "404" in case.name else "denied"
        await assert_endured_at_once(endured, bad, reason)


async def test_h3_of_an_endless_refusal_little_is_read_and_less_is_told(tmp_path: Path) -> None:
    async with ordeal(tmp_path, alone=True) as (endured, bad, _):
        words = b"\x1b[31m nothing here \r\nX-Fake: yes \x00" * 1_000_000
        bad.script(faults.page(403, words, "text/plain"))
        answer = await endured.ask("/v2/library/alpine/manifests/3")
        assert answer.status == 404
        told = answer.error["message"]
        assert "nothing here" in told
        assert len(told) < 500
        assert told.isprintable() or told.replace("\n", "").isprintable()
        assert bad.requests[0].bytes_sent < len(words) / 2
        await endured.assert_endured(bad, reasons=["denied"], requests_max=1, seconds_max=AT_ONCE_SECONDS)
        assert "\x1b" not in endured.written()


@pytest.mark.parametrize("case", cases("H4"), ids=str)
async def test_h4_a_manifest_that_only_another_host_has(tmp_path: Path, case: Case[Apply]) -> None:
    async with ordeal(tmp_path) as (endured, bad, good):
        case.apply(bad, ALPINE)
        await endured.pull(ALPINE)
        await assert_endured_at_once(endured, bad, "missing")
        assert (await endured.ask("/v2/library/alpine/manifests/3.20")).status == 404
        good.script(faults.status(502))
        unsure = await endured.ask("/v2/library/alpine/manifests/3.21")
        assert (unsure.status, unsure.error["code"]) == (503, "UNAVAILABLE")
        assert "retry-after" in unsure.headers


@pytest.mark.parametrize("case", cases("H5"), ids=str)
async def test_h5_blobs_missing_though_the_manifest_is_there(tmp_path: Path, case: Case[Apply]) -> None:
    async with ordeal(tmp_path) as (endured, bad, good):
        case.apply(bad, ALPINE)
        await endured.pull(ALPINE)
        await assert_endured_at_once(endured, bad, "missing")
        assert good.count("manifest") == 0


async def test_h5_a_missing_blob_is_asked_for_again_after_a_minute(tmp_path: Path) -> None:
    clock = Calendar()
    async with ordeal(tmp_path, alone=True, clock=clock) as (endured, bad, _):
        bad.script(faults.status(404), on=BLOB, times=1)
        blob = f"/v2/library/alpine/blobs/{ALPINE.blobs[0].digest}"
        for _ in range(2):
            assert (await endured.ask(blob)).status == 404
        assert bad.count("blob") == 1
        clock.advance(MISSING_SECONDS)
        assert (await endured.ask(blob)).body == ALPINE.blobs[0].read()


DATE = "Thu, 01 Jan 1970 00:{minutes:02}:{seconds:02} GMT"  # of the loop's time, which began at 1000 s
RESTS = [  # Retry-After -> for how long the host is left alone
    (None, 10),
    ("7", 7),
    ("7.5", 7.5),
    ("0", 1),
    (DATE.format(minutes=17, seconds=20), 40),
    (DATE.format(minutes=1, seconds=0), 1),
    ("Fri, 31 Dec 2038 23:59:59 GMT", 3600),
    ("1000000000", 3600),
    ("9" * 60, 3600),
    ("-5", 10),
    ("soon", 10),
    ("", 10),
    ("7, 8", 10),
]


@pytest.mark.parametrize(("header", "seconds"), RESTS, ids=lambda value: str(value)[:30])
async def test_h6_the_host_that_limits_rests_as_long_as_it_says_within_reason(
    tmp_path: Path, header: str | None, seconds: float
) -> None:
    clock = Calendar()
    async with ordeal(tmp_path, ALPINE, EDGE, BUSYBOX, clock=clock) as (endured, bad, _):
        bad.script(faults.rate_limited(header))
        await endured.pull(ALPINE)
        await endured.assert_endured(
            bad, reasons=["rate-limited"], requests_max=1, seconds_max=AT_ONCE_SECONDS, holds=[ALPINE]
        )
        clock.advance(seconds - 0.5)
        await endured.pull(EDGE)
        assert len(bad.requests) == 1
        clock.advance(0.5)
        await endured.pull(BUSYBOX)
        assert len(bad.requests) == 2


@pytest.mark.parametrize("case", cases("H6"), ids=str)
async def test_h6_limited_on_blobs_alone(tmp_path: Path, case: Case[Apply]) -> None:
    async with ordeal(tmp_path) as (endured, bad, good):
        case.apply(bad, ALPINE)
        good.script(faults.status(404), on=MANIFEST)
        bad.behave()
        await endured.ask("/v2/library/alpine/manifests/3")
        case.apply(bad, ALPINE)
        await endured.pull(ALPINE)
        await assert_endured_at_once(endured, bad, "rate-limited")


async def test_h7_all_hosts_limit_and_one_for_a_short_time(tmp_path: Path) -> None:
    async with ordeal(tmp_path) as (endured, bad, good):
        bad.script(faults.rate_limited("600"))
        good.script(faults.rate_limited("15"), times=1)
        await endured.pull(ALPINE)
        await endured.assert_endured(
            bad, reasons=["rate-limited"], requests_max=1, seconds_max=15 + AT_ONCE_SECONDS, holds=[ALPINE]
        )
        assert endured.seconds >= 15


@pytest.mark.parametrize("alone", [True, False], ids=["one host", "two hosts"])
async def test_h7_all_hosts_limit_blobs_for_a_short_time(tmp_path: Path, alone: bool) -> None:
    async with ordeal(tmp_path, alone=alone) as (endured, bad, good):
        for host in (bad, good):
            host.script(faults.rate_limited("15"), on=BLOB)
            asyncio.get_running_loop().call_later(15, host.behave)
        await endured.pull(ALPINE)
        await endured.assert_endured(
            bad,
            reasons=["rate-limited"],
            requests_max=1 + 2 * BLOBS,
            seconds_max=15 + AT_ONCE_SECONDS,
            holds=[ALPINE],
        )


@pytest.mark.parametrize("case", cases("H7"), ids=str)
async def test_h7_all_hosts_limit_and_the_client_is_told_the_shortest_time(
    tmp_path: Path, case: Case[Apply]
) -> None:
    async with ordeal(tmp_path) as (endured, bad, good):
        case.apply(bad, ALPINE)
        good.script(faults.rate_limited("600"))
        for _ in range(3):
            answer = await endured.ask("/v2/library/alpine/manifests/3")
            assert (answer.status, answer.error["code"]) == (429, "TOOMANYREQUESTS")
            assert answer.headers["retry-after"] == "20"
        await endured.assert_endured(
            bad, reasons=["rate-limited"], requests_max=1, seconds_max=AT_ONCE_SECONDS
        )
        assert len(good.requests) == 1


@pytest.mark.parametrize("case", cases("H9"), ids=str)
async def test_h9_a_host_that_is_in_trouble(tmp_path: Path, case: Case[Apply]) -> None:
    async with ordeal(tmp_path) as (endured, bad, _):
        case.apply(bad, ALPINE)
        await endured.pull(ALPINE)
        await assert_endured_at_once(endured, bad, "server-error")
        assert len(bad.faulted) <= (1 if "manifest" in case.name else BLOBS)


@pytest.mark.parametrize("kind", [MANIFEST, BLOB], ids=["manifest", "blob"])
async def test_h9_a_lone_host_in_trouble_is_asked_once_more(tmp_path: Path, kind: Match) -> None:
    async with ordeal(tmp_path, EDGE, alone=True) as (endured, bad, _):
        bad.script(faults.status(502), on=kind, times=1)
        await endured.pull(EDGE)
        await endured.assert_endured(
            bad,
            reasons=["server-error"],
            requests_max=2 + len(EDGE.blobs),
            seconds_max=AT_ONCE_SECONDS,
            holds=[EDGE],
        )


async def test_h9_a_lone_host_that_stays_in_trouble_is_no_404(tmp_path: Path) -> None:
    async with ordeal(tmp_path, alone=True) as (endured, bad, _):
        bad.script(faults.status(502))
        answer = await endured.ask("/v2/library/alpine/manifests/3")
        assert (answer.status, answer.headers["retry-after"]) == (503, "3")
        await endured.assert_endured(
            bad, reasons=["server-error"], requests_max=2, seconds_max=AT_ONCE_SECONDS
        )


@pytest.mark.parametrize("case", cases("H10"), ids=str)
async def test_h10_a_page_in_place_of_a_manifest(tmp_path: Path, case: Case[Apply]) -> None:
    await _is_no_registry(tmp_path, case)


@pytest.mark.parametrize("case", cases("H12"), ids=str)
async def test_h12_an_error_document_in_place_of_a_manifest(tmp_path: Path, case: Case[Apply]) -> None:
    await _is_no_registry(tmp_path, case)


async def _is_no_registry(path: Path, case: Case[Apply]) -> None:
    """It is asked for one manifest, and after the others for ten minutes."""
    clock = Calendar()
    async with ordeal(path, ALPINE, EDGE, clock=clock) as (endured, bad, _):
        case.apply(bad, ALPINE)
        await endured.pull(ALPINE)
        await assert_endured_at_once(endured, bad, "not-a-registry")
        clock.advance(NOT_A_REGISTRY_SECONDS - 1)
        await endured.pull(EDGE)
        assert bad.count("manifest") == 1
        clock.advance(1)
        assert (await endured.ask("/v2/library/alpine/manifests/3.20")).status == 503
        assert bad.count("manifest") == 2


@pytest.mark.parametrize("case", cases("H11"), ids=str)
async def test_h11_a_page_in_place_of_a_blob(tmp_path: Path, case: Case[Apply]) -> None:
    async with ordeal(tmp_path, ALPINE, EDGE) as (endured, bad, good):
        case.apply(bad, ALPINE)
        await endured.pull(ALPINE)
        await assert_endured_at_once(endured, bad, "not-a-registry")
        met = bad.count("blob")
        await endured.pull(EDGE)
        assert bad.count("blob") == met
        assert good.count("manifest") == 0


async def test_h11_a_page_of_which_nobody_knows_that_it_is_no_blob(tmp_path: Path) -> None:
    page = ALPINE.blobs[-1]
    async with ordeal(tmp_path) as (endured, bad, _):
        bad.script(faults.page(content_type="application/octet-stream"), on=BLOB)
        answer = await endured.ask(f"/v2/library/alpine/blobs/{page.digest}")
        assert (answer.status, answer.body) == (200, page.read())
        await endured.assert_endured(
            bad, reasons=["wrong-content"], requests_max=1, seconds_max=AT_ONCE_SECONDS
        )
        assert len(list((tmp_path / "store" / "blobs" / "sha256").iterdir())) == 1


@pytest.mark.parametrize("case", cases("H13"), ids=str)
async def test_h13_answers_to_another_question(tmp_path: Path, case: Case[Apply]) -> None:
    async with ordeal(tmp_path) as (endured, bad, _):
        case.apply(bad, ALPINE)
        await endured.pull(ALPINE)
        await assert_endured_at_once(endured, bad, "protocol")
