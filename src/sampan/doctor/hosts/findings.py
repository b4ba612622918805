"""What follows from looks at hosts: of each by itself, and of all of them held against each other.

``hosts_findings`` is pure and is what ``sampan mirrors test`` shows too; :func:`check_hosts` is the doctor's
check. What nameservers and clocks come to is found in :mod:`sampan.doctor.machine`, of the same reports.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from statistics import median

from sampan.doctor.contract import Certificate, Finding, HostReport, Scene, Unseen
from sampan.doctor.hosts.failing import ended_at, failure_of, is_left_out, is_low
from sampan.doctor.hosts.kinds import KINDS
from sampan.doctor.hosts.tags import Comparison, compare
from sampan.doctor.looks import look_at_all
from sampan.doctor.machine.dns import is_misled
from sampan.runtimes.contract import Level
from sampan.words import sentence

SLOW_BYTES_PER_SECOND = 256 * 1024  # at 100 MiB a layer: more than the five minutes that containerd waits
SLOW_FIRST_BYTE_SECONDS = 3.0
CLOCK_OFF_SECONDS = 60.0
NAMES_SHOWN_MAX = 3
ABSENT = frozenset({"HOST_LACKS_IMAGE", "HOST_DENIES"})
"""What a host says that does not have an image, or does not want to say so."""


async def check_hosts(scene: Scene) -> AsyncIterator[Finding | Unseen]:
    """Every host that may be asked for the references, by itself."""
    for registry in dict.fromkeys(reference.registry for reference in scene.references):
        if not scene.hosts_for(registry):
            yield _finding("REGISTRY_WITHOUT_HOSTS", registry, "warning")
    for finding in hosts_findings(await look_at_all(scene)):
        yield finding


def hosts_findings(reports: Sequence[HostReport]) -> tuple[Finding, ...]:
    """All that is wrong with the hosts of ``reports``; what several images show of one host is said once."""
    found: dict[tuple[str, str], Finding] = {}
    images: dict[tuple[str, str, str], list[HostReport]] = {}
    for report in reports:
        images.setdefault((report.registry, report.repository, report.object), []).append(report)
    for of_image in images.values():
        for finding in _of_image(of_image):
            found.setdefault((finding.code, finding.subject), finding)
    for finding in _clocks(reports):
        found.setdefault((finding.code, finding.subject), finding)
    return tuple(found.values())


def image_name(report: HostReport) -> str:
    """The image that was asked for, as people write it."""
    return f"{report.registry}/{report.repository}{'@' if ':' in report.object else ':'}{report.object}"


def _of_image(reports: Sequence[HostReport]) -> Iterator[Finding]:
    """Of looks for one image."""
    asked = [report for report in reports if not is_left_out(report)]
    if reports and not asked:
        yield _finding("IMAGE_LEFT_OUT", image_name(reports[0]), "error", (_end(reports[0]),))
    reports, arrives = asked, any(report.is_good for report in asked)
    codes = {report.host.name: failure_of(report) for report in reports}
    if not arrives and reports and all(code in ABSENT for code in codes.values()):
        evidence = tuple(f"{report.host.name}: {_end(report)}" for report in reports)
        yield _finding("IMAGE_NOWHERE", image_name(reports[0]), "error", evidence)
        return
    for report in reports:
        code = codes[report.host.name]
        if code is not None and not is_misled(report):
            yield _finding(code, report.host.name, _level(code, report, arrives=arrives), _evidence(report))
        elif code is None:
            yield from _of_good(report, reports)
    yield from _of_tag(compare(reports), reports)


def _level(code: str, report: HostReport, *, arrives: bool) -> Level:
    """An image that arrives all the same makes nobody ill whose origin is out of reach, or whose mirror has
    other images."""
    if not arrives:
        return "error"
    return "note" if code == "HOST_LACKS_IMAGE" or report.host.role == "origin" else "warning"


def _of_good(report: HostReport, all_reports: Sequence[HostReport]) -> Iterator[Finding]:
    """Of one from which the image arrives."""
    name, head = report.host.name, report.step("head")
    if head is not None and not head.is_good:
        code = "HOST_HEAD_DIFFERS" if head.outcome == "wrong-content" else "HOST_HEAD_FAILS"
        yield _finding(code, name, "warning", (f"HEAD: {head.words}",))
    if is_low(report.rate_limit) and report.rate_limit is not None:
        limit = report.rate_limit
        said = sentence("{left} of {limit} left", left=limit.left, limit=limit.limit)
        yield _finding("HOST_RATE_LIMIT_LOW", name, "warning", (said,))
    if _is_slow(report):
        others = any(each.is_good and not _is_slow(each) for each in all_reports)
        yield _finding("HOST_SLOW", name, "note" if others else "warning", (speed_words(report),))


def _is_slow(report: HostReport) -> bool:
    rate, first = report.bytes_per_second, report.first_byte_seconds
    return (rate is not None and rate < SLOW_BYTES_PER_SECOND) or (
        first is not None and first > SLOW_FIRST_BYTE_SECONDS
    )


def speed_words(report: HostReport) -> str:
    """How fast it is."""
    first = f"{report.first_byte_seconds or 0:.1f}"
    if report.bytes_per_second is None:
        return sentence("the first byte after {first} s", first=first)
    rate = f"{report.bytes_per_second / 1024:.0f}"
    return sentence("the first byte after {first} s, then {rate} KiB/s", first=first, rate=rate)


# -- all hosts together ---------------------------------------------------------------------------


def _of_tag(comparison: Comparison, reports: Sequence[HostReport]) -> Iterator[Finding]:
    if not comparison.is_split:
        return
    said = tuple(f"{each.host.name}: {each.digest}{_built(each)}" for each in comparison.reports)
    stale = [each for each in comparison.reports if comparison.standing(each) == "stale"]
    for report in stale:
        yield _finding("TAG_STALE", report.host.name, "warning", said)
    if any(comparison.standing(each) == "differs" for each in comparison.reports):
        yield _finding("TAG_DIFFERS", image_name(reports[0]), "warning", said)


def _built(report: HostReport) -> str:
    if report.created is None:
        return ""
    return f" ({_day(report.created)})"


def _clocks(reports: Sequence[HostReport]) -> Iterator[Finding]:
    """Hosts whose clock is not that of the others. When it is ours that is off, none is accused."""
    ahead = {r.host.name: r.date - r.dated for r in reports if r.date is not None and r.dated is not None}
    middle = median(ahead.values()) if ahead else 0.0
    for name, seconds in ahead.items():
        if len(ahead) > 1 and abs(seconds - middle) > CLOCK_OFF_SECONDS and abs(middle) <= CLOCK_OFF_SECONDS:
            said = sentence("{seconds} s ahead of this machine", seconds=f"{seconds:+.0f}")
            yield _finding("HOST_CLOCK_OFF", name, "note", (said,))


# -- words ----------------------------------------------------------------------------------------


def _finding(code: str, subject: str, level: Level, evidence: Sequence[str] = ()) -> Finding:
    kind = KINDS[code]
    return Finding(code, subject, kind.what, level, tuple(evidence), kind.why, kind.hint, kind.command)


def _end(report: HostReport) -> str:
    """What ended the way, in words."""
    broken = [step for step in report.steps if not step.is_good]
    return broken[-1].words if broken else ""


def _evidence(report: HostReport) -> tuple[str, ...]:
    """What was asked, how each step that failed went, and what may have led astray."""
    lines: list[str] = [sentence("asked for {image}", image=image_name(report))]
    lines += [
        sentence("{part}: {words}", part=step.part, words=step.words)
        for step in report.steps
        if not step.is_good
    ]
    if ended_at(report) in ("dns", "connect", "tls"):
        lines += [
            f"{answer.source}: {answer.problem or ', '.join(answer.addresses)}" for answer in report.answers
        ]
    if report.certificate is not None and report.certificate.problem is not None:
        lines.append(certificate_words(report.certificate))
    return tuple(lines)


def certificate_words(certificate: Certificate) -> str:
    """Whose it is, for whom, and when."""
    return sentence(
        "a certificate of {issuer} for {names}, from {begin} to {end}",
        issuer=certificate.issuer or "?",
        names=", ".join(certificate.names[:NAMES_SHOWN_MAX]) or "?",
        begin=_day(certificate.not_before),
        end=_day(certificate.not_after),
    )


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
