"""One measured thing as a row: both parties' samples, what their medians make, and what was wanted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

Relation = Literal["at least", "at most", "less than"]
HEADINGS = ("measure", "sampan", "peer", "peer's", "result", "wanted", "met")


@dataclass(frozen=True, slots=True)
class Bound:
    """What the result ought to be: ``at least`` 20 times, for instance."""

    relation: Relation
    limit: float

    def admits(self, result: float) -> bool:
        if self.relation == "at least":
            return result >= self.limit
        return result < self.limit if self.relation == "less than" else result <= self.limit


@dataclass(frozen=True, slots=True)
class Row:
    """``ours`` and ``theirs``: samples in ``unit``, in pairs as they were taken. The result is the
    quotient of their medians, or for ``is_difference`` the difference; ``bound`` None: for information."""

    measure: str
    peer: str
    unit: str
    ours: Sequence[float]
    theirs: Sequence[float]
    bound: Bound | None = None
    is_difference: bool = False

    @property
    def result(self) -> float:
        ours, theirs = median(self.ours), median(self.theirs)
        return ours - theirs if self.is_difference else ours / theirs

    @property
    def is_met(self) -> bool | None:
        return None if self.bound is None else self.bound.admits(self.result)

    def cells(self) -> tuple[str, ...]:
        """The row as text, in the order of ``HEADINGS``."""
        suffix = f" {self.unit}" if self.is_difference else "x"
        wanted = "" if self.bound is None else f"{self.bound.relation} {self.bound.limit:g}{suffix}"
        met = {None: "", True: "yes", False: "NO"}[self.is_met]
        ours, theirs = (f"{_short(median(side))} {self.unit}" for side in (self.ours, self.theirs))
        return (self.measure, ours, self.peer, theirs, f"{_short(self.result)}{suffix}", wanted, met)


def _short(number: float) -> str:
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"


def as_text(rows: Sequence[Row], seconds: float) -> str:
    """A Markdown table that is also readable as it is."""
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    shown = [
        " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    ]
    shown.insert(1, " | ".join("-" * width for width in widths))
    missed = sum(row.is_met is False for row in rows)
    end = f"{missed} of {sum(row.bound is not None for row in rows)} bounds missed, {seconds:.0f} s"
    return "\n".join([*(f"| {line} |" for line in shown), "", end])


def as_json(rows: Sequence[Row], seconds: float) -> str:
    """Everything, samples included."""
    shown = [
        {
            "measure": row.measure,
            "peer": row.peer,
            "unit": row.unit,
            "sampan": list(row.ours),
            "peer_samples": list(row.theirs),
            "result": row.result,
            "kind": "difference" if row.is_difference else "ratio",
            "wanted": None if row.bound is None else [row.bound.relation, row.bound.limit],
            "met": row.is_met,
        }
        for row in rows
    ]
    return json.dumps({"rows": shown, "seconds": seconds}, indent=2)
