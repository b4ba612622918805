"""Which of the hosts that were tried are worth a place in a configuration. Pure.

A few of different operators, the quickest first: what one loses the others keep. A host with an old image may
give content, which is checked, and no tags.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sampan.doctor.hosts.trial import Candidate, Trial, Tried
from sampan.upstream.host import RESOLVE

MIRRORS_MAX = 3  # of a registry: each that fails costs a request before the next one is asked
ORIGIN_SLACK = 2.0  # so much slower than a mirror it may be, for what it says needs no trust
LOOKS_PER_MACHINE_MAX = 2  # a mirror of many registries counts what it is asked for all of them
Origin = Literal["first", "last", "never"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A mirror for the file. ``resolves``: its tags are worth something. ``tried`` None: it was tried with
    another registry only."""

    candidate: Candidate
    resolves: bool
    tried: Tried | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """What to write for a registry. ``origin_tried``: what came of the origin, if it was tried."""

    registry: str
    trial: Trial
    mirrors: tuple[Chosen, ...]
    origin: Origin
    origin_tried: Tried | None

    @property
    def is_any(self) -> bool:
        """Whether anybody is there to be asked."""
        return bool(self.mirrors) or self.origin != "never"


def polite(candidates: Mapping[str, Sequence[Candidate]]) -> Mapping[str, tuple[Candidate, ...]]:
    """``candidates`` of each registry, without those whose machine is asked about enough others before."""
    asked: Counter[str] = Counter()
    kept: dict[str, tuple[Candidate, ...]] = {}
    for registry, all_of_it in candidates.items():
        kept[registry] = tuple(each for each in all_of_it if asked[each.host.url] < LOOKS_PER_MACHINE_MAX)
        asked.update(each.host.url for each in kept[registry])
    return kept


def propose(trial: Trial, untried: Iterable[Candidate], proven: Iterable[Tried]) -> Proposal:
    """The proposal for the registry of ``trial``. ``untried``: who might have it too; ``proven``: what worked
    with other registries, of the same machines."""
    origin = next((each for each in trial.tried if each.candidate.host.role == "origin"), None)
    mirrors = list(_distinct(each for each in trial.working if each is not origin))
    urls = {each.candidate.host.url for each in proven}
    groups = {chosen.candidate.host.operator for chosen in mirrors}
    for each in untried:
        if each.host.url in urls and each.host.operator not in groups:
            groups.add(each.host.operator)
            mirrors.append(Chosen(each, RESOLVE in each.host.capabilities))
    return Proposal(
        trial.reference.registry, trial, tuple(mirrors[:MIRRORS_MAX]), _origin(origin, mirrors), origin
    )


def _distinct(working: Iterable[Tried]) -> Iterator[Chosen]:
    """The best of each operator."""
    groups: set[str] = set()
    for each in working:
        host = each.candidate.host
        if host.operator in groups:
            continue
        groups.add(host.operator)
        yield Chosen(each.candidate, RESOLVE in host.capabilities and each.standing != "stale", each)


def _origin(origin: Tried | None, mirrors: list[Chosen]) -> Origin:
    """First where it is about as quick as the quickest mirror; never where nobody gets through to it."""
    if origin is None or not origin.works:
        return "never"
    quickest = min((c.tried.pull_seconds for c in mirrors if c.tried is not None), default=None)
    return "first" if quickest is None or origin.pull_seconds <= ORIGIN_SLACK * quickest else "last"
