"""What operators say that a tag means, counted: the digest that enough of them name, if they do.

Pure. The one guarantee: a digest is agreed upon only when enough operators name it and no other has as
many voices. It asks nobody.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sampan.errors import AllHostsFailed, Attempt, NotFound
from sampan.oci import Digest, Index, Manifest


@dataclass(frozen=True, slots=True)
class Voice:
    """``host`` says, for ``operator``, that the tag names ``manifest``."""

    manifest: Manifest | Index
    host: str
    operator: str


@dataclass(slots=True)
class Ballot:
    """``needed``: how many operators must name the same digest."""

    needed: int
    attempts: list[Attempt] = field(default_factory=list)
    _voices: dict[Digest, list[Voice]] = field(default_factory=dict)
    _failures: list[AllHostsFailed] = field(default_factory=list)

    def count(self, voice: Voice, attempts: tuple[Attempt, ...]) -> None:
        """One operator spoke; ``attempts`` at its other hosts came before that. Whoever only repeats what
        that operator said already (a mirror that leads to another) is no voice of its own."""
        voices = self._voices.setdefault(voice.manifest.digest, [])
        if all(other.operator != voice.operator for other in voices):
            voices.append(voice)
        self.attempts.extend(attempts)

    def abstain(self, error: AllHostsFailed) -> None:
        """One operator could not say."""
        self._failures.append(error)
        self.attempts.extend(error.attempts)

    def winner(self) -> Voice | None:
        """The first who named what is agreed upon by now."""
        first, second = self._leaders()
        return first[0] if len(first) >= self.needed and len(first) > len(second) else None

    def is_decided(self, to_come: int) -> bool:
        """Whether there is a winner whatever the ``to_come`` operators that did not speak yet say."""
        first, second = self._leaders()
        return len(first) >= self.needed and len(first) > len(second) + to_come

    def _leaders(self) -> tuple[list[Voice], list[Voice]]:
        """The voices of the two digests that most have named; empty where there are fewer."""
        nobody: list[Voice] = []
        first, second, *_ = (*sorted(self._voices.values(), key=len, reverse=True), nobody, nobody)
        return first, second

    @property
    def is_split(self) -> bool:
        """Whether there are several digests."""
        return len(self._voices) > 1

    def disagreeing(self, winner: Voice | None) -> list[Attempt]:
        """Who names something else than ``winner``, and what; where nobody won that is everybody."""
        return [
            Attempt(voice.host, "disagrees", 0.0, detail=str(digest))
            for digest, voices in self._voices.items()
            if winner is None or digest != winner.manifest.digest
            for voice in voices
        ]

    def failure(self, what: str) -> AllHostsFailed:
        """Why there is no winner; NotFound when every operator denied that the tag exists."""
        denied = [isinstance(error, NotFound) for error in self._failures]
        if denied and all(denied) and not self._voices:
            return NotFound(what, self.attempts)
        waits = [e.retry_after_seconds for e in self._failures if e.retry_after_seconds is not None]
        return AllHostsFailed(
            f"{what}: {self.needed} operators must agree on it",
            (*self.attempts, *self.disagreeing(None)),
            retry_after_seconds=min(waits, default=None),
            hint="see [tags] agree",
        )
