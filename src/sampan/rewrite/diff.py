"""What a rewriting changes in a text, as a unified diff that ``patch`` and ``git apply`` read.

Made from the places themselves and not by comparing: it shows the lines that change and no others, however
alike the rest of the text is to itself.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from sampan.rewrite.place import Edited

CONTEXT_LINES = 3


@dataclass(frozen=True, slots=True)
class _Region:
    """Lines ``first`` to ``last`` of the old text (from 0, ``last`` left out), and what they become."""

    first: int
    last: int
    new: tuple[str, ...]


def unified_diff(name: str, before: str, edited: Edited) -> str:
    """The diff of the file ``name`` from ``before`` to ``edited``; empty when nothing changes."""
    lines = _split(before)
    regions = list(_regions(lines, before, edited))
    if not regions:
        return ""
    shown = [f"--- a/{name}\n", f"+++ b/{name}\n"]
    shift = 0
    for group in _groups(regions):
        hunk, grown = _hunk(lines, group, shift)
        shown += hunk
        shift += grown
    return "".join(shown)


def _split(text: str) -> list[str]:
    """The lines of ``text``, each with its line feed: nothing else ends a line to ``patch``."""
    lines = [f"{line}\n" for line in text.split("\n")]
    last = lines.pop().removesuffix("\n")
    return [*lines, last] if last else lines


def _regions(lines: list[str], before: str, edited: Edited) -> Iterator[_Region]:
    starts = [0, *accumulate(len(line) for line in lines)]
    first = last = -1
    done, pieces = 0, [""]
    for place, rewriting in edited.changes:
        here = bisect_right(starts, place.start) - 1
        if here >= last:  # else in a line that changes already
            if first >= 0:
                yield _Region(first, last, tuple(_split("".join([*pieces, before[done : starts[last]]]))))
            first, done, pieces = here, starts[here], []
        pieces += [before[done : place.start], place.written(rewriting.after)]
        done = place.end
        last = bisect_right(starts, max(place.end - 1, place.start))
    if first >= 0:
        yield _Region(first, last, tuple(_split("".join([*pieces, before[done : starts[last]]]))))


def _groups(regions: list[_Region]) -> Iterator[list[_Region]]:
    """Regions whose context would touch belong into one hunk."""
    group: list[_Region] = []
    for region in regions:
        if group and region.first - group[-1].last > 2 * CONTEXT_LINES:
            yield group
            group = []
        group.append(region)
    yield group


def _hunk(lines: list[str], group: list[_Region], shift: int) -> tuple[list[str], int]:
    """The lines of a hunk, and by how many it makes the text longer; ``shift``: so far."""
    first = max(group[0].first - CONTEXT_LINES, 0)
    last = min(group[-1].last + CONTEXT_LINES, len(lines))
    body: list[str] = []
    at = first
    for region in group:
        body += (_marked(" ", line) for line in lines[at : region.first])
        body += (_marked("-", line) for line in lines[region.first : region.last])
        body += (_marked("+", line) for line in region.new)
        at = region.last
    body += (_marked(" ", line) for line in lines[at:last])
    grown = sum(len(region.new) - (region.last - region.first) for region in group)
    old = last - first
    head = f"@@ -{first + 1},{old} +{first + 1 + shift},{old + grown} @@\n"
    return [head, *body], grown


def _marked(mark: str, line: str) -> str:
    return f"{mark}{line}" if line.endswith("\n") else f"{mark}{line}\n\\ No newline at end of file\n"
