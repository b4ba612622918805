"""A whole image over loopback, cold: how long from the start of the program to its end.

Beside that, how long until the image is on the disk as well: sampan ends only then, the others leave it to
the kernel, so their files are made durable after they have ended.
"""

from __future__ import annotations

import os
import time
from statistics import median

from bench.origin import origin
from bench.pull.ground import check_arrived, files, make_durable, scratch
from bench.pull.process import seconds_of
from bench.pull.programs import PEERS, ParallelCtr, Program, Sampan, foreign
from bench.stage import Stage
from bench.stock import MIB, TAG, Image
from bench.table import Bound, Row

LAYERS_BYTES = (256 * MIB, 64 * MIB, 32 * MIB, 16 * MIB)
WARM_UP_ROUNDS = 1
ROUNDS_MAX = 3  # seven programs take their turns in each
OURS: tuple[Program, ...] = (Sampan("oci"), Sampan("store"))
THEIRS: tuple[Program, ...] = (*PEERS, ParallelCtr())
WANTED = Bound("at most", 1.3)

Samples = dict[str, list[tuple[float, float]]]


def measure(stage: Stage) -> list[Row]:
    """Against each of the others; the bound is on the fastest."""
    samples: Samples = {program.name: [] for program in (*OURS, *THEIRS)}
    with files(stage.directory) as made:
        layers = [made.random(size) for size in LAYERS_BYTES]
        image = made.image(TAG, layers)
        images = [image, made.image(foreign(), layers, foreign=True)]
        with origin(made.root.parent / "origin", made.root, images) as host:
            for number in range(WARM_UP_ROUNDS + min(stage.rounds, ROUNDS_MAX)):
                for program in (*OURS, *THEIRS):
                    sample = _sample(stage, program, host.netloc, image)
                    if number >= WARM_UP_ROUNDS:
                        samples[program.name].append(sample)
    return [*_rows(samples, "a cold pull of 368 MiB", 0), *_durable(samples)]


def _sample(stage: Stage, program: Program, netloc: str, image: Image) -> tuple[float, float]:
    """Seconds until it ended, and until everything was on the disk."""
    with scratch(stage.directory, "pull") as home, program.ready(home, [netloc]) as pull:
        os.sync()  # what the one before left is not written in this one's time
        seconds = seconds_of(pull(image.tag), home)
        ended = time.perf_counter()
        make_durable(home)
        durable = seconds + time.perf_counter() - ended
        check_arrived(home, image)
    return seconds, durable


def _rows(samples: Samples, measure: str, which: int) -> list[Row]:
    taken = {name: [sample[which] for sample in pairs] for name, pairs in samples.items()}
    fastest = min((program.name for program in THEIRS), key=lambda name: median(taken[name]))
    return [
        Row(
            f"{measure}, --to {_sink(ours)}",
            theirs.name,
            "s",
            taken[ours.name],
            taken[theirs.name],
            WANTED if theirs.name == fastest else None,
        )
        for ours in OURS
        for theirs in THEIRS
    ]


def _durable(samples: Samples) -> list[Row]:
    """For information, against the fastest alone."""
    rows = _rows(samples, "the same, until it is on the disk", 1)
    return [
        Row(row.measure, row.peer, row.unit, row.ours, row.theirs) for row in rows if row.bound is not None
    ]


def _sink(program: Program) -> str:
    return program.name.rpartition(" ")[2]
