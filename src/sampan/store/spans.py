"""Which bytes of a blob are there: a set of ranges, pure.

Guarantees that the ranges are in order, apart from each other and not empty, whatever is added and cut. It
knows neither files nor hosts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

END_MARK = ".\n"
_LINE = re.compile(r"(\d{1,19}) (\d{1,19})", re.ASCII)


class Spans:
    """Half-open ranges ``(start, stop)`` of byte positions."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._ranges: list[tuple[int, int]] = []
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
        return self._ranges[0][1] if self._ranges and self._ranges[0][0] == 0 else 0

    @property
    def is_prefix(self) -> bool:
        """Whether that is all there is."""
        return self.total == self.prefix

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
        left = [(s, min(e, start)) for s, e in self._ranges]
        right = [(max(s, stop), e) for s, e in self._ranges]
        self._ranges = sorted({span for span in (*left, *right) if span[0] < span[1]})

    def gaps(self, stop: int) -> list[tuple[int, int]]:
        """What is missing before ``stop``, in order."""
        edges = [0, *(edge for span in self._ranges for edge in span), stop]
        pairs = zip(edges[::2], edges[1::2], strict=True)
        return [(start, min(end, stop)) for start, end in pairs if start < min(end, stop)]

    def as_text(self) -> str:
        """A line each and a mark at the end, for :meth:`from_text`."""
        return "".join(f"{start} {stop}\n" for start, stop in self._ranges) + END_MARK

    @classmethod
    def from_text(cls, text: str) -> Spans | None:
        """The ranges of :meth:`as_text`, with anything behind the mark; None when it is not that."""
        body, mark, _ = text.partition(END_MARK)
        lines = [_LINE.fullmatch(line) for line in body.splitlines()]
        if not mark or None in lines:
            return None
        return cls((int(line[1]), int(line[2])) for line in lines if line)
