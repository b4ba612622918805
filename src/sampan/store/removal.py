"""What a sweep removes, why, and what that frees: values, which a dry run and the sweep itself both give.

Guarantees that the sum of what is told is what is counted. It removes nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from sampan.words import Text, sentence

if TYPE_CHECKING:
    from sampan.oci.digest import Digest

Kind = Literal["manifest", "blob", "partial", "quarantined"]


@dataclass(frozen=True, slots=True)
class Removal:
    """One blob or file that goes. ``name``: of the file; ``digest``: of a manifest or a blob; ``image``: the
    root of the image that goes with it, None for what belongs to none. ``size``: bytes that are freed."""

    name: str
    kind: Kind
    size: int
    why: Text
    digest: Digest | None = None
    image: Digest | None = None


@dataclass(frozen=True, slots=True)
class Gone:
    """An image that goes, by its root. ``tags``: the names that go with it, as ``registry/repository:tag``.
    ``shared_bytes`` of it stay, for other images need them. ``used_at``: seconds since the epoch."""

    root: Digest
    tags: tuple[str, ...]
    used_at: float
    freed_bytes: int
    shared_bytes: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one thing that was to be removed: whether its content went, whether the name did, by
    which it was called, and the sentence about it."""

    digest: Digest
    name: str
    is_removed: bool
    is_unnamed: bool
    told: Text


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What a sweep did, or would do. ``used_bytes`` is what is left: blobs, partial files and quarantine.

    ``removals`` and ``images``: what went, in the order in which it went. ``reason`` says in one sentence
    why it stopped there.
    """

    used_bytes: int
    removals: tuple[Removal, ...]
    images: tuple[Gone, ...]
    reason: Text

    @property
    def freed_bytes(self) -> int:
        """By all of it."""
        return sum(removal.size for removal in self.removals)

    @property
    def removed(self) -> tuple[Digest, ...]:
        """The blobs."""
        return tuple(removal.digest for removal in self.removals if removal.digest is not None)

    @property
    def dropped(self) -> tuple[str, ...]:
        """The names of the other files."""
        return tuple(removal.name for removal in self.removals if removal.digest is None)


@dataclass(slots=True)
class Account:
    """A report in the making. ``kept``: how often each reason to keep something was met."""

    used_bytes: int = 0
    removals: list[Removal] = field(default_factory=list)
    images: list[Gone] = field(default_factory=list)
    kept: Counter[Text] = field(default_factory=Counter)

    def count(self, removal: Removal) -> None:
        """It goes."""
        self.used_bytes -= removal.size
        self.removals.append(removal)

    def has(self, name: str) -> bool:
        """Whether that file went already."""
        return any(removal.name == name and removal.digest is None for removal in self.removals)

    def report(self, reason: Text) -> SweepReport:
        """As it stands."""
        return SweepReport(self.used_bytes, tuple(self.removals), tuple(self.images), reason)

    def what_stays(self) -> Text:
        """The reasons met, most frequent first."""
        reasons = [sentence("{reason} ({count})", reason=r, count=n) for r, n in self.kept.most_common()]
        return listed(reasons) if reasons else sentence("being written")


def listed(texts: Sequence[Text]) -> Text:
    """One or more sentences as a list: ``a, b, c``."""
    whole = texts[0]
    for text in texts[1:]:
        whole = sentence("{first}, {other}", first=whole, other=text)
    return whole


def when(seconds: float) -> str:
    """A time since the epoch, to the minute, as it stands in sentences. UTC: the store may be elsewhere."""
    try:
        return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
    except (OverflowError, OSError, ValueError):
        return f"{seconds:.0f}"
