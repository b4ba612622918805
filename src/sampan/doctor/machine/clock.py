"""The clock: one that is off makes every certificate invalid, and nobody who prints the error says so.

It is held against what hosts say of the time, and, where nobody could be talked to, against the certificates
that they showed: the true time is within all of them. One host alone may be wrong itself, and that is said.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

from sampan.doctor.aside import aside
from sampan.doctor.contract import Certificate, Finding, HostReport, Scene, Unseen
from sampan.doctor.looks import look_at_all
from sampan.runtimes.contract import Answer, Machine
from sampan.words import Text, sentence

OFF_SECONDS = 60.0  # below that nothing fails: hosts round to seconds, and answers take some
BAD_SECONDS = 3600.0  # from here on certificates and tokens of an hour are at risk
AGREE_SECONDS = 60.0  # hosts that say the same time
KEEPERS_ASKED = ("timedatectl", "show", "--property=NTPSynchronized", "--value")
SET = ("sudo", "timedatectl", "set-ntp", "true")
SUBJECT = "clock"


@dataclass(frozen=True, slots=True)
class Said:
    """What one host says of the time: how far it is ahead of ours."""

    host: str
    ahead_seconds: float
    at: float


async def check_clock(scene: Scene) -> AsyncIterator[Finding | Unseen]:
    """Whether this machine's time is that of the others."""
    reports = await look_at_all(scene)
    now = scene.clock.time()
    finding = _by_hosts(_said(reports)) or _by_certificates(reports, now)
    if finding is not None:
        yield finding
    elif scene.machine is not None and await aside(_is_kept, scene.machine) is False:
        yield Finding(
            "CLOCK_NOT_KEPT",
            SUBJECT,
            sentence("nothing keeps the clock right: it is not synchronised"),
            "note",
            hint=sentence("a machine that was off for long wakes up with a wrong one"),
            command=SET,
        )


def _said(reports: Sequence[HostReport]) -> list[Said]:
    """A line a host."""
    said = {}
    for report in reports:
        if report.date is not None and report.dated is not None:
            said[report.host.name] = Said(report.host.name, report.date - report.dated, report.date)
    return list(said.values())


def _by_hosts(said: Sequence[Said]) -> Finding | None:
    if not said:
        return None
    middle = median(each.ahead_seconds for each in said)
    agreeing = [each for each in said if abs(each.ahead_seconds - middle) <= AGREE_SECONDS]
    if abs(middle) < OFF_SECONDS or len(agreeing) * 2 <= len(said):
        return None
    why = sentence("certificates and tokens count by the clock")
    if len(said) == 1:
        why = sentence("one host alone says so, and may be wrong itself: compare with another clock")
    return Finding(
        "CLOCK_OFF",
        SUBJECT,
        _off(middle),
        "error" if abs(middle) >= BAD_SECONDS and len(said) > 1 else "warning",
        tuple(f"{each.host}: {_time(each.at)}" for each in agreeing),
        why,
        sentence("set it right, and have it kept right"),
        SET,
    )


def _by_certificates(reports: Sequence[HostReport], now: float) -> Finding | None:
    """When every certificate that was seen is of another time, and all of them of the same."""
    shown = {report.host.name: report.certificate for report in reports if report.certificate is not None}
    certificates = list(shown.values())
    early = [each for each in certificates if now < each.not_before]
    late = [each for each in certificates if now > each.not_after]
    first = max((each.not_before for each in certificates), default=0.0)
    last = min((each.not_after for each in certificates), default=0.0)
    if first >= last or len(early) + len(late) < len(certificates) or (early and late):
        return None
    if not early and len({each.issuer for each in late}) < 2:  # one that expired is more likely than a clock
        return None
    what = sentence("the clock says {now}, and every certificate is of another time", now=_time(now))
    return Finding(
        "CLOCK_OFF",
        SUBJECT,
        what,
        "error",
        tuple(f"{name}: {_window(each)}" for name, each in shown.items()),
        sentence("a certificate counts between its two dates alone"),
        sentence("set it right, and have it kept right"),
        SET,
    )


def _off(ahead_seconds: float) -> Text:
    """``ahead_seconds``: how far the others are ahead of us."""
    span = _span(abs(ahead_seconds))
    if ahead_seconds > 0:
        return sentence("the clock is {span} slow", span=span)
    return sentence("the clock is {span} fast", span=span)


def _span(seconds: float) -> Text:
    for size, made in ((86400.0, _days), (3600.0, _hours), (60.0, _minutes)):
        if seconds >= 2 * size:
            return made(round(seconds / size))
    return sentence("{number} seconds", number=round(seconds))


def _days(number: int) -> Text:
    return sentence("{number} days", number=number)


def _hours(number: int) -> Text:
    return sentence("{number} hours", number=number)


def _minutes(number: int) -> Text:
    return sentence("{number} minutes", number=number)


def _window(certificate: Certificate) -> str:
    return f"{_time(certificate.not_before)} … {_time(certificate.not_after)}"


def _time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, OSError, ValueError):
        return "?"


def _is_kept(machine: Machine | None) -> bool | None:
    """None: there is nobody who would know."""
    answer = Answer(None) if machine is None else machine.run(KEEPERS_ASKED)
    return {"yes": True, "no": False}.get(answer.output.strip()) if answer.code == 0 else None
