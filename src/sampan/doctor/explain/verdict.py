"""What a text means: each error in it explained once, the root cause first.

Guarantees that an error is explained by one entry of the knowledge base or not at all, never by a guess, and
that a text of any length ends in a bounded number of explanations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date

from sampan.doctor.catalogue import DEAD
from sampan.doctor.explain.facts import Facts, facts_of
from sampan.doctor.explain.hop import Hosts, registry_of
from sampan.doctor.explain.knowledge import KINDS, Entry, Role, knowledge
from sampan.doctor.explain.match import Matcher, Reading
from sampan.doctor.explain.printer import Edition, edition, family, printed_by
from sampan.doctor.explain.text import Piece, pieces
from sampan.doctor.explain.unwrap import Said, core, errors_in

EXPLAINED_MAX = 50  # a person reads fewer
FOUND_MAX = 1000  # among which the root cause is looked for; a log of more hosts is no question
NAMING_MAX = 200  # messages of a text of which nothing is known that are searched for what they name
PRINTER_CHARACTERS_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Explained:
    """One error. ``said``: its words; ``registry``: what the client meant; ``role``: what the host is;
    ``printed_by``, ``family``, ``edition``: see :mod:`printer`; ``is_aside``: the program went on after it;
    ``count``: how often the text has it; ``gone``: when the host, a mirror, was known to be no more."""

    entry: Entry
    facts: Facts
    said: str
    registry: str | None = None
    role: Role | None = None
    printed_by: str | None = None
    family: str | None = None
    edition: Edition | None = None
    is_aside: bool = False
    count: int = 1
    gone: date | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """``explained``: the root cause first, circumstances last. ``facts``: what the first message that names
    anything names, for a text of which nothing is known."""

    explained: tuple[Explained, ...]
    facts: Facts
    role: Role | None = None
    printed_by: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether any of it is explained."""
        return bool(self.explained)


def explain(text: str, hosts: Hosts | None = None) -> Explanation:
    """What ``text`` means; ``hosts``: what is known of some beside what everybody knows."""
    hosts, matcher, found = hosts or Hosts(), Matcher(knowledge()), _Found()
    named: Facts | None = None
    known: dict[Piece, list[Explained]] = {}  # logs repeat themselves
    for number, piece in enumerate(pieces(text)):
        if piece not in known:
            known[piece] = list(_errors(piece, hosts, matcher))
        for one in known[piece]:
            found.keep(one)
        if named is None and number < NAMING_MAX:
            named = _named(piece)
    facts = named or Facts()
    printer = printed_by(text[:PRINTER_CHARACTERS_MAX])
    return Explanation(tuple(found.ordered()), facts, hosts.role(facts), printer)


def _errors(piece: Piece, hosts: Hosts, matcher: Matcher) -> Iterator[Explained]:
    """What one message holds, explained."""
    for said in errors_in(piece):
        for entry, reading in matcher.find(_readings(said, hosts)):
            yield _explained(entry, reading, said)


def _readings(said: Said, hosts: Hosts) -> list[Reading]:
    reference = None if said.around is None else facts_of(said.around).reference
    role: Role | None = "mirror" if said.is_mirror else None
    return [Reading(text, hosts, said.host, reference, role) for text in said.piece.readings]


def _explained(entry: Entry, reading: Reading, said: Said) -> Explained:
    whole = reading.text if said.around is None else said.around
    return Explained(
        entry=entry,
        facts=reading.facts,
        said=core(reading.text),
        registry=registry_of(reading.facts),
        role=reading.role,
        printed_by=printed_by(whole),
        family=family(whole),
        edition=edition(whole),
        is_aside=said.is_aside,
        gone=_gone(reading),
    )


def _gone(reading: Reading) -> date | None:
    entry = reading.hosts.entry_of(reading.facts.host) if reading.facts.host is not None else None
    return entry.last_verified if entry is not None and entry.state == DEAD else None


def _named(piece: Piece) -> Facts | None:
    facts = facts_of(piece.text)
    return facts if facts.host or facts.reference else None


class _Found:
    """What was explained so far: each error of each host once, each circumstance once."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[str, str], Explained] = {}

    def keep(self, one: Explained) -> None:
        """Add it to what it is the same as; of the two, the one stays that names more."""
        key = (one.entry.code, (one.facts.host or "") if one.entry.is_cause else "")
        before = self._by_key.get(key)
        if before is not None:
            better = one if _told(one) > _told(before) else before
            is_aside = one.is_aside and before.is_aside
            self._by_key[key] = replace(better, count=before.count + 1, is_aside=is_aside)
        elif len(self._by_key) < FOUND_MAX:
            self._by_key[key] = one

    def ordered(self) -> list[Explained]:
        """The root cause first; without those that name no host where the same error is there with one."""
        with_host = {code for code, host in self._by_key if host}
        kept = [one for (code, host), one in self._by_key.items() if host or code not in with_host]
        has_mirror = any(one.role == "mirror" for one in kept)
        return sorted(kept, key=lambda one: _depth(one, has_mirror=has_mirror))[:EXPLAINED_MAX]


def _told(one: Explained) -> int:
    facts = one.facts
    named = (facts.request, facts.reference, facts.status, facts.host, one.printed_by, one.family)
    return sum(value is not None for value in named)


def _depth(one: Explained, *, has_mirror: bool) -> tuple[int, bool, bool]:
    """What lies deeper comes first: files, the machine, hosts. Where a mirror failed the registry itself
    comes last: it is blocked, that is why there are mirrors, and they can be mended. What a program went on
    after is no root."""
    return KINDS.index(one.entry.kind), has_mirror and one.role == "origin", one.is_aside
