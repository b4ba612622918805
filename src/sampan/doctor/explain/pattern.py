"""How a text is recognised: words that must stand in it, in this order, with anything in between.

``lookup*: i/o timeout`` is a text in which ``lookup`` stands and, later, ``: i/o timeout``. Case, quotes and
the number of blanks do not matter; where a pattern begins or ends with a letter, a word begins or ends in the
text. It guarantees work in proportion to the text: there is nothing to go back to, as regular expressions
do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ANYTHING = "*"
_QUOTES = str.maketrans("", "", "\"'`")
_BLANKS = re.compile(r"\s+")


def fold(text: str) -> str:
    """``text`` as patterns see it."""
    return _BLANKS.sub(" ", text.translate(_QUOTES)).casefold()


@dataclass(frozen=True, slots=True)
class Pattern:
    """``parts`` are folded and stand in this order; the first begins and the last ends with a whole word,
    unless the pattern has a ``*`` there."""

    parts: tuple[str, ...]
    open_start: bool
    open_end: bool

    @classmethod
    def of(cls, text: str) -> Pattern:
        """Raises ValueError for a pattern that says nothing."""
        parts = tuple(part for part in fold(text).split(ANYTHING) if part.strip())
        if not parts:
            raise ValueError(f"a pattern without a word: {text!r}")
        return cls(parts, text.startswith(ANYTHING), text.endswith(ANYTHING))

    @property
    def anchor(self) -> str:
        """Its longest part: a text that lacks it lacks the pattern."""
        return max(self.parts, key=len)

    def found_in(self, folded: str) -> bool:
        """Whether a text that was folded has it."""
        if not all(part in folded for part in self.parts):
            return False  # nearly always, and quickly
        at = 0
        for number, part in enumerate(self.parts):
            whole_start = number == 0 and not self.open_start
            whole_end = number == len(self.parts) - 1 and not self.open_end
            at = _find(folded, part, at, whole_start=whole_start, whole_end=whole_end)
            if at < 0:
                return False
        return True


def _find(folded: str, part: str, at: int, *, whole_start: bool, whole_end: bool) -> int:
    """Where the first ``part`` from ``at`` on ends; -1: nowhere."""
    while (start := folded.find(part, at)) >= 0:
        end = start + len(part)
        within = whole_start and start > 0 and _is_one_word(folded[start - 1], part[0])
        within = within or (whole_end and end < len(folded) and _is_one_word(part[-1], folded[end]))
        if not within:
            return end
        at = start + 1
    return -1


def _is_one_word(before: str, after: str) -> bool:
    """Whether two characters side by side are of one word. In Chinese no blank tells."""
    return all(character.isascii() and character.isalnum() for character in (before, after))
