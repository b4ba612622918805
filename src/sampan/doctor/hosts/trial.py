"""Hosts tried with one image, all at once, and ranked: what ``sampan mirrors test`` and ``init`` are made of.

Guarantees that every candidate is in the ranking, those that give the right image first, the quickest of them
first. It decides nothing about a configuration.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sampan.clock import Clock
from sampan.doctor.catalogue import Entry
from sampan.doctor.contract import Finding, HostReport, Probe
from sampan.doctor.hosts.failing import failure_of
from sampan.doctor.hosts.findings import hosts_findings
from sampan.doctor.hosts.tags import Comparison, Standing, compare
from sampan.doctor.machine.dns import answers_findings, is_misled
from sampan.oci.reference import Reference
from sampan.upstream.host import Host

LAYER_BYTES = 30 * 1024 * 1024  # of the pull by which hosts are ranked: a usual layer
RATE_UNKNOWN = 1024 * 1024  # taken for a host whose layer was too small to measure
MISLED = "DNS_FORGED"
LOOKS_MAX = 100  # at one time: a catalogue may have thousands, and a look has up to three sockets


@dataclass(frozen=True, slots=True)
class Candidate:
    """A host to be tried. ``entry``: what the catalogue has about it; ``configured``: it is one of ours."""

    host: Host
    entry: Entry | None = None
    configured: bool = False


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of a candidate. ``code``: the kind of its failure; ``standing``: of its tag."""

    candidate: Candidate
    report: HostReport
    code: str | None
    standing: Standing | None

    @property
    def works(self) -> bool:
        """Whether the image arrives from there, an old one too."""
        return self.code is None

    @property
    def pull_seconds(self) -> float:
        """About what a usual layer takes from there."""
        first = self.report.first_byte_seconds or self.report.seconds
        return first + LAYER_BYTES / (self.report.bytes_per_second or RATE_UNKNOWN)


@dataclass(frozen=True, slots=True)
class Trial:
    """All of them, best first. ``seconds``: how long it took."""

    reference: Reference
    tried: tuple[Tried, ...]
    comparison: Comparison
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def working(self) -> tuple[Tried, ...]:
        """Those from which the image arrives."""
        return tuple(each for each in self.tried if each.works)


def distinct(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Each host once, as it first came; one that came again with an entry of the catalogue has that."""
    found: dict[str, Candidate] = {}
    for each in candidates:
        known = found.get(each.host.name)
        if known is None:
            found[each.host.name] = each
        elif known.entry is None:
            found[each.host.name] = Candidate(known.host, each.entry, known.configured)
    return tuple(found.values())


async def try_all(probe: Probe, reference: Reference, candidates: Sequence[Candidate], clock: Clock) -> Trial:
    """Look at all ``candidates`` at once, or at as many as may be."""
    began, room = clock.monotonic(), asyncio.Semaphore(LOOKS_MAX)

    async def look(candidate: Candidate) -> HostReport:
        async with room:
            return await probe.look(candidate.host, reference)

    reports = await asyncio.gather(*map(look, candidates))
    comparison = compare(reports)
    tried = [
        Tried(candidate, report, _code(report), comparison.standing(report))
        for candidate, report in zip(candidates, reports, strict=True)
    ]
    return Trial(
        reference,
        tuple(sorted(tried, key=_rank)),
        comparison,
        (*answers_findings(reports), *hosts_findings(reports)),
        clock.monotonic() - began,
    )


def _code(report: HostReport) -> str | None:
    failure = failure_of(report)
    return MISLED if failure is not None and is_misled(report) else failure


def _rank(tried: Tried) -> tuple[bool, bool, float]:
    return not tried.works, tried.standing == "stale", tried.pull_seconds if tried.works else 0.0
