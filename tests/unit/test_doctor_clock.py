"""The clock against what hosts say, and against the certificates that they show."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.doctor.contract import Certificate, Finding, HostReport
from sampan.doctor.machine import check_clock
from sampan.errors import Unreachable
from sampan.oci import Reference
from sampan.testing import ManualClock
from sampan.upstream.host import Host
from scenes import Reports, found, report, scene
from scripted import Scripted

ALPINE = Reference.parse("alpine:3")
DAY = 86400.0
NOW = 1_750_000_000.0
HOSTS = [Host.from_url(f"https://mirror{number}.example") for number in range(3)]


def clock() -> ManualClock:
    return ManualClock(NOW)


def dated(*ahead: float) -> dict[str, HostReport]:
    """Reports of hosts whose clocks are so many seconds ahead of ours."""
    pairs = zip(HOSTS, ahead, strict=False)
    return {host.name: report(host, ALPINE, date=NOW + each, dated=NOW) for host, each in pairs}


def shown(*windows: tuple[float, float], issuer: str = "") -> dict[str, HostReport]:
    """Reports of hosts that were not believed for the dates of their certificates."""
    told = {}
    for number, (host, (first, last)) in enumerate(zip(HOSTS, windows, strict=False)):
        signed = Certificate(
            host.name, issuer or f"CA {number}", (host.name,), NOW + first, NOW + last, "expired"
        )
        refused = Unreachable(f"{host.name}: tls", outcome="tls")
        told[host.name] = report(host, ALPINE, refused, certificate=signed)
    return told


async def about(tmp_path: Path, told: dict[str, HostReport]) -> list[Finding]:
    hosts = [host for host in HOSTS if host.name in told]
    seen = scene(tmp_path, "alpine:3", hosts=hosts, probe=Reports(told), clock=clock())
    return [each for each in await found(check_clock, seen) if isinstance(each, Finding)]


async def test_a_clock_that_several_hosts_contradict_is_off(tmp_path: Path) -> None:
    (finding,) = await about(tmp_path, dated(3 * DAY, 3 * DAY + 2, 3 * DAY - 1))
    assert (finding.code, finding.level) == ("CLOCK_OFF", "error")
    assert finding.what == "the clock is 3 days slow"
    assert len(finding.evidence) == 3
    assert finding.command == ("sudo", "timedatectl", "set-ntp", "true")


async def test_the_word_of_one_host_is_told_as_that(tmp_path: Path) -> None:
    (finding,) = await about(tmp_path, dated(-5 * 3600))
    assert (finding.code, finding.level) == ("CLOCK_OFF", "warning")
    assert finding.what == "the clock is 5 hours fast"
    assert "one host alone" in str(finding.why)


@pytest.mark.parametrize("ahead", [(0.0, 1.0, -1.0), (20.0,), (0.0, 0.0, 9 * DAY), (0.0, 9 * DAY)])
async def test_a_host_with_a_wrong_clock_says_nothing_of_ours(
    tmp_path: Path, ahead: tuple[float, ...]
) -> None:
    assert await about(tmp_path, dated(*ahead)) == []


@pytest.mark.row("K2")
async def test_certificates_that_are_all_of_a_later_time_mean_a_slow_clock(tmp_path: Path) -> None:
    (finding,) = await about(tmp_path, shown((10 * DAY, 100 * DAY)))
    assert finding.code == "CLOCK_OFF"
    assert "2025-06-15" in finding.what


async def test_two_that_expired_of_different_authorities_mean_a_fast_clock(tmp_path: Path) -> None:
    (finding,) = await about(tmp_path, shown((-100 * DAY, -10 * DAY), (-90 * DAY, -5 * DAY)))
    assert finding.code == "CLOCK_OFF"


@pytest.mark.parametrize(
    "windows",
    [
        [(-100 * DAY, -10 * DAY)],  # one that expired
        [(-100 * DAY, -50 * DAY), (-40 * DAY, -10 * DAY)],  # never good at one time
        [(-100 * DAY, -10 * DAY), (-1 * DAY, 10 * DAY)],  # the other is good now
        [(-100 * DAY, -10 * DAY), (5 * DAY, 10 * DAY)],
    ],
)
async def test_a_certificate_that_is_bad_by_itself_says_nothing_of_the_clock(
    tmp_path: Path, windows: list[tuple[float, float]]
) -> None:
    assert await about(tmp_path, shown(*windows)) == []


async def test_two_that_expired_of_one_authority_may_be_forgotten_together(tmp_path: Path) -> None:
    windows = [(-100 * DAY, -10 * DAY), (-90 * DAY, -5 * DAY)]
    assert await about(tmp_path, shown(*windows, issuer="the company's")) == []


@pytest.mark.parametrize(("said", "codes"), [("no\n", ["CLOCK_NOT_KEPT"]), ("yes\n", []), ("", [])])
async def test_a_clock_that_nothing_keeps_right_is_worth_a_note(
    tmp_path: Path, said: str, codes: list[str]
) -> None:
    seen = scene(tmp_path, "alpine:3", machine=Scripted(output=said), clock=clock())
    noted = [each for each in await found(check_clock, seen) if isinstance(each, Finding)]
    assert [(each.code, each.level) for each in noted] == [(code, "note") for code in codes]
