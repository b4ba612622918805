"""Which bytes of a blob are there: a set of ranges, pure.

Guarantees that the ranges are in order, apart from each other and not empty, whatever is added and cut; and
that each change takes effect at once: another thread, which looks meanwhile, sees the ranges before it or
after it. It knows neither files nor hosts.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LINE = re.compile(r"(\d{1,19}) (\d{1,19})", re.ASCII)
_SEALED = re.compile(r"((?:[0-9 ]+\n)*)\.([0-9a-f]{8})\n")


class Spans:
    """Half-open ranges ``(start, stop)`` of byte positions."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._ranges: list[tuple[int, int]] = []  # replaced, never changed
        for start, stop in ranges:
            self.add(start, stop)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._ranges)

    def __bool__(self) -> bool:
        return bool(self._ranges)

    @property
    def total(self) -> int:
        """How many bytes."""
        return sum(stop - start for start, stop in self._ranges)

    @property
    def prefix(self) -> int:
        """How many bytes from the beginning on without a gap."""
        ranges = self._ranges
        return ranges[0][1] if ranges and ranges[0][0] == 0 else 0

    @property
    def end(self) -> int:
        """Where the last of them ends; 0 when there are none."""
        ranges = self._ranges
        return ranges[-1][1] if ranges else 0

    @property
    def is_prefix(self) -> bool:
        """Whether that is all there is."""
        return self.total == self.prefix

    def overlap(self, start: int, stop: int) -> bool:
        """Whether any of these is there."""
        return any(max(s, start) < min(e, stop) for s, e in self._ranges)

    def add(self, start: int, stop: int) -> None:
        """These are there now."""
        if start >= stop:
            return
        apart = [span for span in self._ranges if span[1] < start or span[0] > stop]
        touching = [span for span in self._ranges if not (span[1] < start or span[0] > stop)]
        joined = (min([start, *(s for s, _ in touching)]), max([stop, *(e for _, e in touching)]))
        self._ranges = sorted([*apart, joined])

    def cut(self, start: int, stop: int) -> None:
        """These are no longer there."""
        if start >= stop:
            return
        left = [(s, min(e, start)) for s, e in self._ranges]
        right = [(max(s, stop), e) for s, e in self._ranges]
        self._ranges = sorted({span for span in (*left, *right) if span[0] < span[1]})

    def end_at(self, stop: int) -> None:
        """Nothing is there from ``stop`` on."""
        self._ranges = [(s, min(e, stop)) for s, e in self._ranges if s < stop]

    def gaps(self, stop: int) -> list[tuple[int, int]]:
        """What is missing before ``stop``, in order."""
        edges = [0, *(edge for span in self._ranges for edge in span), stop]
        pairs = zip(edges[::2], edges[1::2], strict=True)
        return [(start, min(end, stop)) for start, end in pairs if start < min(end, stop)]

    def as_text(self) -> str:
        """A line each and a check sum at the end, for :meth:`from_text`."""
        return self.sealed("".join(f"{start} {stop}\n" for start, stop in self._ranges))

    @staticmethod
    def sealed(lines: str) -> str:
        """``lines`` with their check sum: text that was written in part must not pass for another."""
        return f"{lines}.{crc32(lines.encode('utf-8', 'replace')):08x}\n"

    @classmethod
    def from_text(cls, text: str) -> Spans | None:
        """The ranges of :meth:`as_text`, with anything behind it; None when it is not that."""
        sealed = _SEALED.match(text)
        if sealed is None or cls.sealed(sealed[1]) != sealed[0]:
            return None
        lines = [_LINE.fullmatch(line) for line in sealed[1].splitlines()]
        ranges = [(int(line[1]), int(line[2])) for line in lines if line]
        is_ours = len(ranges) == len(lines) and all(start < stop for start, stop in ranges)
        if not is_ours or any(one[1] >= other[0] for one, other in pairwise(ranges)):
            return None
        spans = cls()
        spans._ranges = ranges
        return spans
