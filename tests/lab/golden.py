"""Recordings as text: what a program asked for each case, in order, and what it said, by version.

``python -m lab.golden`` in tests/ records them anew. Versions that asked and said the same share a block.
Digests are shown by their first characters; nothing else is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from lab.recording import Recorded

DIRECTORY = Path(__file__).parents[1] / "golden" / "chain"
DIGITS = 12
_DIGEST = re.compile(rf"(sha256(?::|%3A)[0-9a-f]{{{DIGITS}}})[0-9a-f]+")
Recordings = Mapping[tuple[str, str], Recorded]  # (case, version)


def shortened(recorded: Recorded) -> Recorded:
    """With digests as the text has them."""
    said = None if recorded.said is None else _short(recorded.said)
    return Recorded(tuple(map(_short, recorded.asked)), said)


def written(recordings: Recordings, versions: Mapping[str, str]) -> str:
    """The text of ``recordings``; ``versions``: the full version of each."""
    lines = ["# " + ", ".join(f"{short} is {full}" for short, full in versions.items())]
    for case in dict.fromkeys(case for case, _ in recordings):
        lines += ["", f"== {case}"]
        blocks: dict[Recorded, list[str]] = {}
        for version in versions:
            if (case, version) in recordings:
                blocks.setdefault(shortened(recordings[case, version]), []).append(version)
        for recorded, those in blocks.items():
            lines.append(f"-- {' '.join(those)}")
            lines += [f"  {line}" for line in recorded.asked]
            said = "the image came" if recorded.said is None else recorded.said
            lines += [f"> {line}" for line in said.split("\n")]
    return "\n".join([*lines, ""])


def read(text: str) -> dict[tuple[str, str], Recorded]:
    """What :func:`written` wrote."""
    found: dict[tuple[str, str], Recorded] = {}
    for block in text.split("\n== ")[1:]:
        case, *parts = re.split(r"\n-- ", block.rstrip("\n"))
        for part in parts:
            those, *lines = part.split("\n")
            asked = tuple(line[2:] for line in lines if line.startswith("  "))
            said = "\n".join(line[2:] for line in lines if line.startswith("> "))
            recorded = Recorded(asked, None if said == "the image came" else said)
            found |= {(case, version): recorded for version in those.split()}
    return found


def text_of(name: str) -> str:
    """The recordings of a subject."""
    return (DIRECTORY / f"{name}.txt").read_text()


def versions(text: str) -> dict[str, str]:
    """Short -> full, as the first line says."""
    pairs = text.partition("\n")[0].removeprefix("# ").split(", ")
    return {short: full for short, _, full in (pair.partition(" is ") for pair in pairs)}


def _short(text: str) -> str:
    return _DIGEST.sub(r"\1…", text)
