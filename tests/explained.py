"""Texts whose meaning is known, from ``tests/golden/explain``, and what is said of one."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from sampan.doctor.explain.verdict import Explained
from sampan.doctor.explain.verdict import explain as explain

GOLDEN = Path(__file__).parent / "golden" / "explain"
ORIGIN_STORY = (GOLDEN / "origin_story.txt").read_text("utf-8")  # what sampan began with, as it was pasted


@dataclass(frozen=True, slots=True)
class Labelled:
    """``first``: the code of the root cause; ``also``: codes told after it; ``hop``: what the host is."""

    name: str
    text: str
    first: str
    also: tuple[str, ...] = ()
    hop: str | None = None


def labelled(page: str) -> list[Labelled]:
    """The texts of one file."""
    tables = tomllib.loads((GOLDEN / f"{page}.toml").read_text("utf-8"))["text"]
    return [
        Labelled(
            name=one.get("name") or f"{one['by']}, {one['when']}",
            text=one["text"],
            first=one.get("first", ""),
            also=tuple(one.get("also", ())),
            hop=one.get("hop"),
        )
        for one in tables
    ]


def codes(text: str) -> list[str]:
    """What ``text`` is explained as, the root cause first."""
    return [one.entry.code for one in explain(text).explained]


def first(text: str) -> Explained:
    """The root cause of ``text``."""
    return explain(text).explained[0]
