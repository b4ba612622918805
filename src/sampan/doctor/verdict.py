"""What was found, put in the order in which it is to be mended, and said in a line.

Guarantees that a consequence stands below its cause and never before one, that nothing is left out, and that
a note makes nobody ill.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sampan.doctor.contract import Finding
from sampan.doctor.order import EXPLAINS, ORDER

_RANKS = {code: rank for rank, code in enumerate(ORDER)}
NOTE = "note"


@dataclass(frozen=True, slots=True)
class Cause:
    """A finding, and those that it explains: they go when it does."""

    finding: Finding
    effects: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """``causes`` as they are to be mended, notes last."""

    causes: tuple[Cause, ...] = ()

    @property
    def is_healthy(self) -> bool:
        """Whether nothing was found that keeps an image away, or may."""
        return self.first is None

    @property
    def first(self) -> Finding | None:
        """What is broken."""
        found = self.causes[0].finding if self.causes else None
        return None if found is None or found.level == NOTE else found

    @property
    def others(self) -> int:
        """How many more causes there are."""
        return sum(cause.finding.level != NOTE for cause in self.causes[1:])


def judge(findings: Sequence[Finding]) -> Verdict:
    """The verdict of all that was found."""
    ordered = sorted(findings, key=_rank)  # stable: checks give theirs in an order of their own
    causes: list[Cause] = []
    for finding in ordered:
        index = next((i for i, cause in enumerate(causes) if _explains(cause.finding, finding)), None)
        if index is None:
            causes.append(Cause(finding))
        else:
            causes[index] = Cause(causes[index].finding, (*causes[index].effects, finding))
    return Verdict(tuple(causes))


def _rank(finding: Finding) -> tuple[bool, int]:
    """A code that nobody has put into the table comes last of all that is no note."""
    return finding.level == NOTE, _RANKS.get(finding.code, len(_RANKS))


def _explains(cause: Finding, finding: Finding) -> bool:
    return cause.level != NOTE and finding.code in EXPLAINS.get(cause.code, ())
