"""Which entry of the knowledge base a message means: the first in their order that has its words and fits.

It guarantees that a message has one cause or none; what is about something else than images has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from sampan.doctor.explain.facts import Facts, facts_of
from sampan.doctor.explain.hop import Hosts, is_poisoned
from sampan.doctor.explain.knowledge import Entry, Knowledge, Role
from sampan.doctor.explain.pattern import Pattern, fold

_OF_IMAGES = (
    "image",
    "pull",
    "registry",
    "manifest",
    "blob",
    "layer",
    "docker",
    "containerd",
    "podman",
    "mirror",
    "oauth token",
    "anonymous token",
)


@dataclass
class Reading:
    """A message as it may be meant. ``host``, ``reference`` and ``told_role``: where something else than the
    message says them. What it names is looked for when it is needed, for most lines of a log never."""

    text: str
    hosts: Hosts
    host: str | None = None
    reference: str | None = None
    told_role: Role | None = None
    folded: str = field(init=False)

    def __post_init__(self) -> None:
        self.folded = fold(self.text)

    @cached_property
    def facts(self) -> Facts:
        """What it names."""
        return facts_of(self.text).told(self.host, self.reference)

    @cached_property
    def role(self) -> Role | None:
        """What its host is."""
        return self.told_role or self.hosts.role(self.facts)

    @property
    def is_of_images(self) -> bool:
        """Whether it may be about an image: it has no URL, or one of a registry, or speaks of images."""
        requests = self.facts.requests
        if not requests or any(request.is_of_a_registry for request in requests):
            return True
        return any(word in self.folded for word in _OF_IMAGES)


class Matcher:
    """Finds entries of ``known``."""

    def __init__(self, known: Knowledge) -> None:
        self._known = known
        self._anchors = [
            (pattern.anchor, number)
            for number, entry in enumerate(known.entries)
            for pattern in entry.patterns
        ]

    def find(self, readings: Sequence[Reading]) -> Iterator[tuple[Entry, Reading]]:
        """The cause that a message means, if any, and then the circumstances that it speaks of."""
        numbers = {number for anchor, number in self._anchors for one in readings if anchor in one.folded}
        if not numbers or any(_has(self._known.elsewhere, one) for one in readings):
            return
        has_cause = False
        for entry in (self._known.entries[number] for number in sorted(numbers)):
            if entry.is_cause and has_cause:
                continue
            reading = _meant(entry, readings)
            if reading is not None:
                has_cause = has_cause or entry.is_cause
                yield entry, reading


def _meant(entry: Entry, readings: Sequence[Reading]) -> Reading | None:
    """The first of ``readings`` that ``entry`` is meant by."""
    if any(_has(entry.unless, reading) for reading in readings):
        return None
    return next((reading for reading in readings if _applies(entry, reading)), None)


def _applies(entry: Entry, reading: Reading) -> bool:
    if not _has(entry.patterns, reading) or not reading.is_of_images:
        return False
    if entry.statuses and reading.facts.status not in entry.statuses:
        return False
    if entry.roles and reading.role not in entry.roles:
        return False
    return not entry.poisoned or bool(reading.facts.address and is_poisoned(reading.facts.address))


def _has(patterns: Sequence[Pattern], reading: Reading) -> bool:
    return any(pattern.found_in(reading.folded) for pattern in patterns)
