"""The most memory that a program holds while it pulls a layer of 2 GiB.

The layer is zeros, so that the origin's disk does not matter. The kernel's own mark of the process is
read until it ends. containerd is left out: its daemon does more than pull.
"""

from __future__ import annotations

from bench.origin import origin
from bench.pull.ground import check_arrived, files, scratch
from bench.pull.process import begun
from bench.pull.programs import Oras, Program, Sampan
from bench.stage import Stage
from bench.stock import MIB, TAG, Image
from bench.table import Bound, Row

LAYER_BYTES = 2048 * MIB
LIMIT_MIB = 200.0
MEASURE = "peak memory, pulling a layer of 2 GiB"


def measure(stage: Stage) -> list[Row]:
    """Once each, beside the quickest of the others: two gigabytes are not written in no time."""
    other = Oras()
    with files(stage.directory) as made:
        image = made.image(TAG, [made.zeros(LAYER_BYTES)])
        with origin(made.root.parent / "origin", made.root, [image]) as host:
            ours = _peak_mib(stage, Sampan("store"), host.netloc, image)
            theirs = _peak_mib(stage, other, host.netloc, image)
    return [
        Row(MEASURE, "the limit", "MiB", [ours], [LIMIT_MIB], Bound("less than", 1)),
        Row(MEASURE, other.name, "MiB", [ours], [theirs]),
    ]


def _peak_mib(stage: Stage, program: Program, netloc: str, image: Image) -> float:
    peak = 0

    def looked() -> bool:
        nonlocal peak
        peak = max(peak, running.peak_memory_bytes())
        return False

    with scratch(stage.directory, "pull") as home, program.ready(home, [netloc]) as pull:
        with begun(pull(image.tag), home) as running:
            running.watch(looked)
            if code := running.wait().code:
                raise RuntimeError(f"{program.name} ended with {code}:\n{running.words()}")
        check_arrived(home, image)
    return peak / MIB
