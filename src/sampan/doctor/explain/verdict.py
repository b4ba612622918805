"""What a text means: each error in it explained once, the root cause first.

Guarantees that an error is explained by one entry of the knowledge base or not at all, never by a guess, and
that a text of any length ends in a bounded number of explanations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sampan.doctor.explain.facts import Facts, facts_of
from sampan.doctor.explain.hop import Hosts, is_poisoned, registry_of
from sampan.doctor.explain.knowledge import KINDS, Entry, Knowledge, Role, fold, knowledge
from sampan.doctor.explain.text import Piece, pieces
from sampan.doctor.explain.unwrap import Family, Said, Tool, core, errors_in, family, printed_by

EXPLAINED_MAX = 50  # a person reads fewer; a log of thousands of hosts is no question
_LAST = ("origin",)  # a registry is blocked, that is why there are mirrors: they are what can be mended


@dataclass(frozen=True, slots=True)
class Explained:
    """One error. ``said``: its words; ``role``: what the host is; ``count``: how often the text has it."""

    entry: Entry
    facts: Facts
    said: str
    registry: str | None = None
    role: Role | None = None
    printed_by: Tool | None = None
    family: Family | None = None
    is_aside: bool = False
    count: int = 1


@dataclass(frozen=True, slots=True)
class Explanation:
    """``explained``: the root cause first, circumstances last. ``facts``: of the first message that names any, for
    a text of which nothing is known."""

    explained: tuple[Explained, ...]
    facts: Facts
    role: Role | None = None
    printed_by: Tool | None = None

    @property
    def is_known(self) -> bool:
        return bool(self.explained)


def explain(text: str, roles: Mapping[str, Role] | None = None) -> Explanation:
    """What ``text`` means; ``roles``: what hosts of the configuration are, by ``host[:port]``."""
    reader = _Reader(knowledge(), Hosts(roles or {}))
    for piece in pieces(text):
        for said in errors_in(piece):
            reader.read(said)
    return reader.explanation(text)


@dataclass
class _Reader:
    """Keeps what was explained of a text so far."""

    known: Knowledge
    hosts: Hosts
    found: dict[tuple[str, str], Explained] = field(default_factory=dict)
    named: Facts | None = None
    seen: set[str] = field(default_factory=set)

    def read(self, said: Said) -> None:
        """Explain one error."""
        folded = [fold(reading) for reading in said.piece.readings]
        if any(self.known.is_elsewhere(one) for one in folded):
            return
        meant = [self._judge(reading, one, said) for reading, one in zip(said.piece.readings, folded, strict=True)]
        best = min(meant, key=lambda explained: self._place(explained.entry) if explained else len(self.known.entries))
        if best is not None:
            self._keep(best)
        for entry in self.known.circumstances:
            if any(pattern.found_in(one) for pattern in entry.patterns for one in folded):
                self._keep(self._explained(entry, said.piece.text, self._facts(said.piece.text, said), said))

    def explanation(self, text: str) -> Explanation:
        ordered = sorted(self._merged(), key=_depth)
        facts = self.named or Facts()
        return Explanation(tuple(ordered), facts, self.hosts.role(facts), printed_by(text[:100_000]))

    def _facts(self, reading: str, said: Said) -> Facts:
        facts = facts_of(reading)
        if said.around is not None:
            facts = replace(facts, reference=facts_of(said.around).reference)
        if said.host is not None and said.host != facts.host:
            facts = replace(facts, host=said.host, requests=())
        if self.named is None and (facts.host or facts.reference):
            self.named = facts
        return facts

    def _judge(self, reading: str, folded: str, said: Said) -> Explained | None:
        """The first cause of the knowledge base that ``reading`` has."""
        facts = self._facts(reading, said)
        if not _is_of_images(facts, folded):
            return None
        role = self._role(facts, said)
        entry = next((one for one in self.known.causes if _applies(one, folded, facts, role)), None)
        return None if entry is None else self._explained(entry, reading, facts, said)

    def _explained(self, entry: Entry, reading: str, facts: Facts, said: Said) -> Explained:
        whole = reading if said.around is None else said.around
        return Explained(
            entry=entry,
            facts=facts,
            said=core(reading),
            registry=registry_of(facts),
            role=self._role(facts, said),
            printed_by=printed_by(whole),
            family=family(whole),
            is_aside=said.is_aside,
        )

    def _role(self, facts: Facts, said: Said) -> Role | None:
        return "mirror" if said.is_mirror else self.hosts.role(facts)

    def _keep(self, one: Explained) -> None:
        host = "" if one.entry.kind == "circumstance" else one.facts.host or ""
        key = (one.entry.code, host)
        before = self.found.get(key)
        if before is not None:
            better = one if _told(one) > _told(before) else before
            is_aside = one.is_aside and before.is_aside
            self.found[key] = replace(better, count=before.count + 1, is_aside=is_aside)
        elif len(self.found) < EXPLAINED_MAX:
            self.found[key] = one

    def _merged(self) -> list[Explained]:
        """Without those that name no host where the same error is there with one."""
        with_host = {code for code, host in self.found if host}
        return [one for (code, host), one in self.found.items() if host or code not in with_host or one.entry.kind == "circumstance"]

    def _place(self, entry: Entry) -> int:
        return self.known.entries.index(entry)


def _applies(entry: Entry, folded: str, facts: Facts, role: Role | None) -> bool:
    if entry.statuses and facts.status not in entry.statuses:
        return False
    if entry.roles and role not in entry.roles:
        return False
    if entry.poisoned and not (facts.address and is_poisoned(facts.address)):
        return False
    if not any(pattern.found_in(folded) for pattern in entry.patterns):
        return False
    return not any(pattern.found_in(folded) for pattern in entry.unless)


_WORDS_OF_IMAGES = (
    "image", "pull", "registry", "manifest", "blob", "layer", "docker", "containerd", "podman", "mirror", "oauth token",
    "anonymous token",
)  # fmt: skip


def _is_of_images(facts: Facts, folded: str) -> bool:
    """Whether a message may be about an image: it has no URL, or one of a registry, or speaks of images."""
    if not facts.requests or any(request.is_of_a_registry for request in facts.requests):
        return True
    return any(word in folded for word in _WORDS_OF_IMAGES)


def _told(one: Explained) -> int:
    facts = one.facts
    named: Sequence[object] = (facts.request, facts.reference, facts.status, facts.host, one.printed_by, one.family)
    return sum(value is not None for value in named)


def _depth(one: Explained) -> tuple[int, bool, bool]:
    """What lies deeper comes first: files, the machine, hosts; of these what the program ended with, and the
    registry itself last."""
    return KINDS.index(one.entry.kind), one.role in _LAST, one.is_aside
