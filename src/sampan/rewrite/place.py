"""An image in a text: where it is written, and the text with another one written there.

Guarantees that nothing but what stands between ``start`` and ``end`` of a place changes. What an image is in
a document of some kind, and how it is written there, the modules of the kinds know.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from sampan.rewrite.rules import Rewriting, Rules


@dataclass(frozen=True, slots=True)
class Place:
    """``image`` is the reference as it is meant; it is written at ``text[start:end]``, in ``line`` (from 1).

    Another is written there between ``before`` and ``after``, which are empty but where the place's form
    must change with it. ``plain``: it is a plain scalar of YAML, and quoted when it could not be one.
    """

    image: str
    start: int
    end: int
    line: int
    before: str = ""
    after: str = ""
    plain: bool = False

    def written(self, image: str) -> str:
        """What stands there when it is ``image``."""
        # The registry of an IPv6 address stands in brackets, which would begin a list.
        quote = '"' if self.plain and image.startswith("[") else ""
        return f"{self.before}{quote}{image}{quote}{self.after}"


@dataclass(frozen=True, slots=True)
class Edited:
    """A text by the rules: what became of each place, in the order of the text, and the whole."""

    text: str
    images: tuple[tuple[Place, Rewriting], ...]

    @property
    def changes(self) -> tuple[tuple[Place, Rewriting], ...]:
        """Those that are other than before."""
        return tuple((place, rewriting) for place, rewriting in self.images if rewriting.changed)


def edit(text: str, places: Iterable[Place], rules: Rules) -> Edited:
    """``text`` with every image of ``places`` as ``rules`` have it."""
    ordered = sorted(places, key=lambda place: place.start)
    images = tuple((place, rules.judge(place.image)) for place in ordered)
    return Edited(_replaced(text, images), images)


def line_at(text: str, index: int) -> int:
    """The number of the line that ``index`` is in, from 1."""
    return bisect_right(_line_starts(text), index)


@lru_cache(maxsize=1)  # one text is asked about many times, then the next
def _line_starts(text: str) -> list[int]:
    return [0, *(match.end() for match in re.finditer("\n", text))]


def _replaced(text: str, images: Sequence[tuple[Place, Rewriting]]) -> str:
    pieces: list[str] = []
    done = 0
    for place, rewriting in images:
        if rewriting.changed:
            pieces += [text[done : place.start], place.written(rewriting.after)]
            done = place.end
    return "".join(pieces) + text[done:]
