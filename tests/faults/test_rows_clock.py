"""Rows K of the catalogue: a time of day that is wrong, ours or a host's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from faults.trial import Trial, tls_of, trial
from sampan.mirror.tagged import TagPolicy
from sampan.testing import FakeRegistry, TokenServer, faults, image, random_layer
from sampan.upstream.health import REST_SECONDS
from sampan.upstream.host import Host
from standstill import LoopClock

pytestmark = pytest.mark.standstill

YEAR_SECONDS = 365 * 86_400.0
ALPINE, NEXT, LAST = (
    image(f"library/{name}", "3", layers=[random_layer(seed, 200_000)])
    for seed, name in enumerate(["alpine", "next", "last"])
)


class SetClock(LoopClock):
    """The loop's time, and a time of day that somebody sets."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead_seconds = 0.0

    def time(self) -> float:
        return super().time() + self.ahead_seconds


@asynccontextmanager
async def two_hosts(path: Path) -> AsyncIterator[tuple[FakeRegistry, FakeRegistry, SetClock, Trial]]:
    clock = SetClock()
    async with FakeRegistry("bad") as bad, FakeRegistry("good", host="127.0.0.2") as good:
        for one in (ALPINE, NEXT, LAST):
            good.add(bad.add(one))
        async with trial(path, [bad, good], clock=clock, store_clock=clock) as endured:
            yield bad, good, clock, endured


@pytest.mark.parametrize("jump_seconds", [YEAR_SECONDS, -YEAR_SECONDS])
async def test_k1_the_clock_jumps(tmp_path: Path, jump_seconds: float) -> None:
    async with two_hosts(tmp_path) as (bad, good, clock, endured):
        bad.refuse()
        await endured.pull(ALPINE)
        await bad.accept()
        clock.ahead_seconds = jump_seconds
        await endured.pull(ALPINE)  # what the tag means is asked again, whichever way it went
        assert good.count(kind="manifest", method="HEAD") == 1
        await endured.pull(NEXT)
        await endured.assert_endured(  # its rest is not over, for no second has passed
            bad, reasons=["refused"], requests_max=0, seconds_max=0.1, holds=[ALPINE, NEXT]
        )
        await endured.pass_seconds(REST_SECONDS)
        await endured.pull(LAST)  # and it is over when they have
        assert bad.count(repository=LAST.repository) == 3
        await endured.assert_endured(bad, reasons=[], requests_max=3, seconds_max=0.1, holds=[LAST])


@pytest.mark.parametrize("jump_seconds", [YEAR_SECONDS, -YEAR_SECONDS])
async def test_k1_the_clock_jumps_and_nobody_answers(tmp_path: Path, jump_seconds: float) -> None:
    async with two_hosts(tmp_path) as (bad, good, clock, endured):
        await endured.pull(ALPINE)
        clock.ahead_seconds = jump_seconds
        bad.refuse()
        good.refuse()
        answer = await endured.ask(f"/v2/{ALPINE.repository}/manifests/3")
        assert (answer.status, answer.body) == (200, ALPINE.raw)
        assert answer.headers["warning"].startswith("110 ")
        assert int(answer.headers["age"]) >= YEAR_SECONDS
        await endured.assert_endured(bad, reasons=["refused"], seconds_max=0.1, holds=[ALPINE])


async def test_k2_the_clock_is_ten_years_slow(tmp_path: Path) -> None:
    """No certificate is valid yet, and a host without TLS is asked."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    early = tls_of("127.0.0.1", authority=authority, days=3650 + 90)
    async with FakeRegistry("early", tls=early) as bad, FakeRegistry("good", host="127.0.0.2") as good:
        good.add(ALPINE)
        host = Host.from_url(bad.url, ca=str(tmp_path / "ca.pem"))
        async with trial(tmp_path, [host, Host.from_url(good.url)]) as endured:
            await endured.pull(ALPINE)
            await endured.assert_endured(
                bad, reasons=["tls"], requests_max=0, seconds_max=0.1, holds=[ALPINE]
            )
        async with trial(tmp_path / "alone", [host]) as endured:
            answer = await endured.ask(f"/v2/{ALPINE.repository}/manifests/3")
            assert answer.status == 503
            assert "certificate is not yet valid" in answer.error["message"]


@pytest.mark.parametrize("issued_at", ["1999-01-01T00:00:00Z", "2099-01-01T00:00:00Z"])
@pytest.mark.parametrize("jump_seconds", [0.0, YEAR_SECONDS, -YEAR_SECONDS])
async def test_k3_the_realms_clock_is_not_ours(tmp_path: Path, issued_at: str, jump_seconds: float) -> None:
    clock = SetClock()
    async with TokenServer() as realm, FakeRegistry("guarded", auth=realm) as guarded:
        guarded.add(ALPINE)
        realm.script(faults.json_fields(issued_at=issued_at, expires_in=30))
        async with trial(
            tmp_path, [guarded], clock=clock, policy=TagPolicy(fresh_for_seconds=0.0)
        ) as endured:
            await endured.pull(ALPINE)
            clock.ahead_seconds = jump_seconds
            await endured.pass_seconds(20.0)  # of the 30 that the token is good for
            await endured.pull(ALPINE)
            assert len(realm.requests) == 1
            await endured.assert_endured(guarded, reasons=[], requests_max=5, seconds_max=0.1, holds=[ALPINE])
            await endured.pass_seconds(10.0)
            await endured.pull(ALPINE)
            assert len(realm.requests) == 2
            assert guarded.count(kind="challenge") == 1
