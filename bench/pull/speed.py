"""A whole image over loopback, cold: how long from the start of the program to its end.

Beside that, how long until the image is on the disk as well: sampan ends only then, the others leave it to
the kernel, so their files are made durable after they have ended. None is left to be written in the time of
the next.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

from bench.origin import origin
from bench.pull.ground import check_arrived, files, make_durable, scratch
from bench.pull.process import done
from bench.pull.programs import PEERS, ParallelCtr, Program, Sampan, foreign
from bench.stage import Stage
from bench.stock import MIB, TAG, Image
from bench.table import Bound, Row

LAYERS_BYTES = (256 * MIB, 64 * MIB, 32 * MIB, 16 * MIB)
WARM_UP_ROUNDS = 1
ROUNDS_MAX = 3  # seven programs take their turns in each
OURS: tuple[Program, ...] = (Sampan("oci"), Sampan("store"))
THEIRS: tuple[Program, ...] = (*PEERS, ParallelCtr())
MEASURE = "a cold pull of 368 MiB"
WANTED = Bound("at most", 1.3)


@dataclass(frozen=True, slots=True)
class Sample:
    """``durable_seconds``: until everything was on the disk."""

    seconds: float
    durable_seconds: float
    cpu_seconds: float


Samples = dict[str, list[Sample]]


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
    return _rows(samples)


def _sample(stage: Stage, program: Program, netloc: str, image: Image) -> Sample:
    with scratch(stage.directory, "pull") as home, program.ready(home, [netloc]) as pull:
        ended = done(pull(image.tag), home)
        began = time.perf_counter()
        make_durable(home)
        durable = ended.seconds + time.perf_counter() - began
        check_arrived(home, image)
    return Sample(ended.seconds, durable, ended.cpu_seconds)


def _rows(samples: Samples) -> list[Row]:
    seconds, durable, cpu = (
        {name: [getattr(each, field) for each in taken] for name, taken in samples.items()}
        for field in ("seconds", "durable_seconds", "cpu_seconds")
    )
    fastest = min((program.name for program in THEIRS), key=lambda name: median(seconds[name]))
    rows = []
    for ours in (program.name for program in OURS):
        for theirs in (program.name for program in THEIRS):
            wanted = WANTED if theirs == fastest else None
            rows.append(Row(f"{MEASURE}, {ours}", theirs, "s", seconds[ours], seconds[theirs], wanted))
        rows.append(Row(f"{ours}, until it is on the disk", fastest, "s", durable[ours], durable[fastest]))
        rows.append(Row(f"{ours}, processor time", fastest, "CPU-s", cpu[ours], cpu[fastest]))
    return rows
