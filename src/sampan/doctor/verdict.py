"""What was found, put in the order in which it is to be mended, and said in a line.

Guarantees that a consequence stands below its cause and never before one, that nothing is left out, and that
a note makes nobody ill. A cause is as bad as the worst that comes of it: a line of a file that nobody reads
is the first to mend where the image does not arrive because of it, and a matter of tidiness where it does.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sampan.doctor.contract import Finding
from sampan.doctor.order import CONDITIONAL, ORDER, RULES, TIERS, Rule
from sampan.runtimes.contract import Level

_RANKS = {code: rank for rank, code in enumerate(ORDER)}
_TIERS = {code: number for number, tier in enumerate(TIERS) for code in tier}
NOTE: Level = "note"
_WORST: dict[Level, int] = {"error": 0, "dead": 1, "warning": 1, NOTE: 2}


@dataclass(frozen=True, slots=True)
class Cause:
    """A finding, and those that it explains: they go when it does."""

    finding: Finding
    effects: tuple[Finding, ...] = ()

    @property
    def level(self) -> Level:
        """The worst of all of it."""
        return min((each.level for each in (self.finding, *self.effects)), key=_WORST.__getitem__)

    @property
    def badness(self) -> int:
        """0: something fails. 1: something has no effect, or not the one that was meant. 2: a note."""
        return _WORST[self.level]


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
        if not self.causes or self.causes[0].badness == _WORST[NOTE]:
            return None
        return self.causes[0].finding

    @property
    def others(self) -> int:
        """How many more causes there are."""
        return sum(cause.badness < _WORST[NOTE] for cause in self.causes[1:])


def judge(findings: Sequence[Finding], origins: Collection[str] = ()) -> Verdict:
    """The verdict of all that was found. ``origins``: the names of those hosts that are asked last."""
    ordered = sorted(findings, key=lambda finding: _rank(finding, origins))  # stable: checks have an order
    below: dict[int, list[Finding]] = {}
    for index, finding in enumerate(ordered):
        root = _root(index, ordered, origins)
        below.setdefault(root, [])
        if root != index:
            below[root].append(finding)
    causes = [Cause(ordered[root], tuple(effects)) for root, effects in sorted(below.items())]
    return Verdict(tuple(sorted(causes, key=lambda cause: cause.badness)))


def _rank(finding: Finding, origins: Collection[str]) -> tuple[int, bool, int]:
    """A code that nobody has put into the table comes last. Of the hosts, an origin does: it is blocked where
    mirrors are used at all."""
    return (
        _TIERS.get(finding.code, len(TIERS)),
        finding.subject in origins,
        _RANKS.get(finding.code, len(ORDER)),
    )


def _root(index: int, ordered: Sequence[Finding], origins: Collection[str]) -> int:
    """Which finding is behind that at ``index``, by any number of steps; itself where nothing is."""
    for _ in ordered:
        behind = _cause(index, ordered, origins)
        if behind is None:
            break
        index = behind
    return index


def _cause(index: int, ordered: Sequence[Finding], origins: Collection[str]) -> int | None:
    """By the first rule that applies, and of several causes the likeliest."""
    effect = ordered[index]
    for rule in RULES:
        for at, cause in enumerate(ordered[:index]):
            if _explains(rule, cause, effect, origins):
                return at
    return None


def _explains(rule: Rule, cause: Finding, effect: Finding, origins: Collection[str]) -> bool:
    if cause.code not in rule.causes or effect.code not in rule.effects:
        return False
    if cause.level == NOTE and cause.code not in CONDITIONAL:
        return False
    return {
        "any": True,
        "subject": cause.subject == effect.subject,
        "name": effect.subject in cause.about,
        "host": cause.subject in effect.about and cause.subject not in origins,
        "origin": cause.subject in effect.about and cause.subject in origins,
    }[rule.relation]
