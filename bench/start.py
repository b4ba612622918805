"""How long the command line needs to say what it can do: beside the bare interpreter."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.pull.ground import scratch
from bench.pull.process import done
from bench.stage import Stage
from bench.table import Bound, Row

SAMPLES = 21
WARM_UP_SAMPLES = 2
MILLISECONDS = 1000.0


def measure(stage: Stage) -> list[Row]:
    """`sampan --help` and `python -c pass`, by the same interpreter, in turns."""
    helping: list[str | Path] = [sys.executable, Path(sys.executable).with_name("sampan"), "--help"]
    nothing = [sys.executable, "-c", "pass"]
    ours: list[float] = []
    theirs: list[float] = []
    with scratch(stage.directory, "start") as home:
        for _ in range(WARM_UP_SAMPLES + SAMPLES):
            ours.append(done(helping, home).seconds * MILLISECONDS)
            theirs.append(done(nothing, home).seconds * MILLISECONDS)
    ours, theirs = ours[WARM_UP_SAMPLES:], theirs[WARM_UP_SAMPLES:]
    return [Row("sampan --help", "python -c pass", "ms", ours, theirs, Bound("at most", 5))]
