"""Rows H14 to H19 of the catalogue: where redirects lead, and what goes along."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.trial import trial
from faults.two_hosts import (
    ALPINE,
    AT_ONCE_SECONDS,
    BLOBS,
    BUSYBOX,
    EDGE,
    assert_endured_at_once,
    ordeal,
)
from sampan.mirror.tagged import TagPolicy
from sampan.secret import Secret
from sampan.testing import BasicAuth, BlackHole, ClosedPort, FakeCdn, FakeRegistry, Fault, Match, faults
from sampan.testing.catalogue import BLOB, MANIFEST, Apply, Case, cases
from sampan.upstream.host import Host
from sampan.upstream.transport import REDIRECTS_MAX

pytestmark = pytest.mark.standstill

HOPS = REDIRECTS_MAX + 1  # requests, for one object
CONNECT_SECONDS = 3.0


@pytest.mark.parametrize("case", cases("H14"), ids=str)
async def test_h14_redirects_within_the_host(tmp_path: Path, case: Case[Apply]) -> None:
    async with ordeal(tmp_path) as (endured, bad, good):
        case.apply(bad, ALPINE)
        await endured.pull(ALPINE)
        await endured.assert_endured(
            bad, reasons=[], requests_max=2 * (1 + BLOBS), seconds_max=AT_ONCE_SECONDS, holds=[ALPINE]
        )
        assert good.requests == []


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.3"], ids=["other port", "other host"])
async def test_h14_nothing_secret_goes_along_to_another_host(tmp_path: Path, code: int, address: str) -> None:
    users = {"me": "hunter2"}
    async with (
        FakeRegistry("bad", auth=BasicAuth(users)) as bad,
        FakeRegistry("elsewhere", host=address) as elsewhere,
    ):
        elsewhere.add(bad.add(ALPINE))
        cookie = faults.header("Set-Cookie", "session=hunter2")
        bad.script(faults.redirect_to(elsewhere.url, code).joined(cookie), on=Match(when=_is_logged_in))
        host = Host.from_url(bad.url, username="me", password=Secret("hunter2"), headers={"X-Key": "hunter2"})
        async with trial(tmp_path, [host]) as endured:
            await endured.pull(ALPINE)
            await endured.assert_endured(
                bad, reasons=[], requests_max=2 * (1 + BLOBS), seconds_max=AT_ONCE_SECONDS, holds=[ALPINE]
            )
        assert len(elsewhere.requests) == 1 + BLOBS
        assert "hunter2" not in str([request.headers for request in elsewhere.requests])
        assert not any("cookie" in request.headers for request in (*bad.requests, *elsewhere.requests))


def _is_logged_in(request: object) -> bool:
    return "authorization" in getattr(request, "headers", {})


@pytest.mark.parametrize("hops", [REDIRECTS_MAX, REDIRECTS_MAX + 1])
async def test_h14_five_are_followed_and_no_more(tmp_path: Path, hops: int) -> None:
    async with ordeal(tmp_path) as (endured, bad, good):
        bad.script(faults.redirect_hops(hops), on=MANIFEST)
        await endured.pull(ALPINE)
        await endured.assert_endured(
            bad,
            reasons=["redirect"] if hops > REDIRECTS_MAX else [],
            requests_max=HOPS + BLOBS,
            seconds_max=AT_ONCE_SECONDS,
            holds=[ALPINE],
        )
        assert good.count("manifest") == (1 if hops > REDIRECTS_MAX else 0)


ONE_HOP = ("no Location", "malformed Location", "data: Location")


@pytest.mark.parametrize("case", cases("H15"), ids=str)
async def test_h15_redirects_that_lead_nowhere(tmp_path: Path, case: Case[Apply]) -> None:
    async with ordeal(tmp_path) as (endured, bad, _):
        case.apply(bad, ALPINE)
        await endured.pull(ALPINE)
        await endured.assert_endured(
            bad,
            reasons=["redirect"],
            requests_max=1 + (1 if case.name in ONE_HOP else HOPS) * BLOBS,
            seconds_max=AT_ONCE_SECONDS,
            holds=[ALPINE],
        )


@pytest.mark.parametrize("kind", [ClosedPort, BlackHole], ids=["refused", "SYN dropped"])
async def test_h16_the_hosts_of_a_dead_cdn_are_asked_last(
    tmp_path: Path, kind: type[ClosedPort | BlackHole]
) -> None:
    async with (
        kind() as cdn,
        FakeRegistry("one") as one,
        FakeRegistry("two", host="127.0.0.2") as two,
        FakeRegistry("good", host="127.0.0.3") as good,
        trial(tmp_path, [one, two, good]) as endured,
    ):
        for host in (one, two, good):
            for image in (ALPINE, EDGE, BUSYBOX):
                host.add(image)
        for host in (one, two):
            host.script(faults.redirect_to(cdn.url), on=BLOB)
        refused = kind is ClosedPort
        await endured.pull(ALPINE)
        for host in (one, two):
            await endured.assert_endured(
                host,
                reasons=["refused" if refused else "connect-timeout"],
                requests_max=1 + BLOBS,
                seconds_max=AT_ONCE_SECONDS + (0 if refused else 2 * CONNECT_SECONDS),
                holds=[ALPINE],
            )
        asked = one.count("blob"), two.count("blob")
        await endured.pull(EDGE)
        await endured.pull(BUSYBOX)
        assert (one.count("blob"), two.count("blob")) == asked
        assert endured.seconds <= AT_ONCE_SECONDS
        assert (one.count("manifest"), two.count("manifest"), good.count("manifest")) == (3, 0, 0)


@pytest.mark.parametrize("case", cases("H16"), ids=str)
async def test_h16_an_unreachable_cdn(tmp_path: Path, case: Case[Apply]) -> None:
    async with ordeal(tmp_path) as (endured, bad, good):
        case.apply(bad, ALPINE)
        await endured.pull(ALPINE)
        await assert_endured_at_once(endured, bad, "refused")
        assert good.count("manifest") == 0


async def test_h17_a_signature_that_has_expired_is_renewed_once(tmp_path: Path) -> None:
    async with FakeCdn() as cdn, FakeRegistry("bad", cdn=cdn) as bad:
        bad.add(ALPINE)
        async with trial(tmp_path, [bad]) as endured:
            for blob in ALPINE.blobs:
                cdn.script(faults.status(403), on=Match(digest=blob.digest), times=1)
            await endured.pull(ALPINE)
            await endured.assert_endured(
                bad, reasons=[], requests_max=1 + 2 * BLOBS, seconds_max=AT_ONCE_SECONDS, holds=[ALPINE]
            )
            assert bad.count("blob") == len(cdn.requests) == 2 * BLOBS


async def test_h17_signatures_that_are_for_somebody_else(tmp_path: Path) -> None:
    async with (
        FakeCdn() as cdn,
        FakeRegistry("bad", cdn=cdn) as bad,
        FakeRegistry("good", host="127.0.0.2") as good,
    ):
        for image in (ALPINE, EDGE):
            good.add(bad.add(image))
        async with trial(tmp_path, [bad, good]) as endured:
            cdn.script(faults.status(403))
            await endured.pull(ALPINE)
            await endured.assert_endured(
                bad,
                reasons=["denied"],
                requests_max=1 + 2 * BLOBS,
                seconds_max=AT_ONCE_SECONDS,
                holds=[ALPINE],
            )
            asked = bad.count("blob")
            await endured.pull(EDGE)
            assert bad.count("blob") == asked
            assert good.count("manifest") == 0


async def test_h17_a_refusal_by_all_cdns_is_no_404(tmp_path: Path) -> None:
    async with FakeCdn() as cdn, FakeRegistry("bad", cdn=cdn) as bad:
        bad.add(ALPINE)
        async with trial(tmp_path, [bad]) as endured:
            cdn.script(faults.status(403))
            answer = await endured.ask(f"/v2/library/alpine/blobs/{ALPINE.blobs[-1].digest}")
            assert answer.status == 503
            await endured.assert_endured(bad, reasons=["denied"], requests_max=2, seconds_max=AT_ONCE_SECONDS)


async def test_h18_no_authorization_comes_along_to_a_cdn(tmp_path: Path) -> None:
    async with FakeCdn() as cdn, FakeRegistry("bad", auth=BasicAuth({"me": "hunter2"}), cdn=cdn) as bad:
        bad.add(ALPINE)
        host = Host.from_url(bad.url, username="me", password=Secret("hunter2"))
        async with trial(tmp_path, [host]) as endured:
            await endured.pull(ALPINE)
            await endured.assert_endured(
                bad, reasons=[], requests_max=2 * (1 + BLOBS), seconds_max=AT_ONCE_SECONDS, holds=[ALPINE]
            )
        assert [request.status for request in cdn.requests] == [200] * BLOBS
        assert cdn.leaks == []


async def test_h19_the_whole_api_is_another_mirror(tmp_path: Path) -> None:
    async with (
        ordeal(tmp_path) as (endured, bad, _),
        FakeRegistry("elsewhere", host="127.0.0.3") as elsewhere,
    ):
        elsewhere.add(ALPINE)
        bad.script(faults.redirect_to(elsewhere.url, 302))
        await endured.pull(ALPINE)
        await assert_endured_at_once(endured, bad)
        assert len(elsewhere.requests) == 1 + BLOBS


@pytest.mark.parametrize("fault", [faults.substituted(), faults.flipped_bit()], ids=lambda fault: fault.name)
async def test_h19_another_mirror_is_believed_no_more_than_the_first(tmp_path: Path, fault: Fault) -> None:
    async with (
        ordeal(tmp_path) as (endured, bad, _),
        FakeRegistry("elsewhere", host="127.0.0.3") as elsewhere,
    ):
        elsewhere.add(ALPINE)
        bad.script(faults.redirect_to(elsewhere.url, 302))
        elsewhere.script(fault)
        await endured.pull(ALPINE)
        await assert_endured_at_once(endured, bad, "wrong-content")


async def test_h19_a_host_that_only_leads_to_another_is_no_voice_of_its_own(tmp_path: Path) -> None:
    async with (
        FakeRegistry("bad") as bad,
        FakeRegistry("good", host="127.0.0.2") as good,
    ):
        good.add(bad.add(ALPINE))
        bad.script(faults.redirect_to(good.url, 302))
        hosts = [Host.from_url(bad.url, group="one"), Host.from_url(good.url, group="two")]
        async with trial(tmp_path, {"docker.io": hosts}, policy=TagPolicy(agree=2)) as endured:
            answer = await endured.ask("/v2/library/alpine/manifests/3")
            assert answer.status == 503
            bad.behave()
            assert (await endured.ask("/v2/library/alpine/manifests/3")).body == ALPINE.raw
