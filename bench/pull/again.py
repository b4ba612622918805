"""An image that shares layers with one that was pulled before: what of it is fetched.

Counted at the origin, in bytes of blobs, as times what is new in the second image.
"""

from __future__ import annotations

from bench.origin import Origin, origin
from bench.pull.ground import check_arrived, files, scratch
from bench.pull.process import done
from bench.pull.programs import PEERS, Program, Sampan
from bench.stage import Stage
from bench.stock import MIB, Image
from bench.table import Bound, Row

SHARED_BYTES = (32 * MIB, 16 * MIB, 16 * MIB)
NEW_BYTES = 8 * MIB
MEASURE = "an image of which 64 of 72 MiB are there, fetched"


def measure(stage: Stage) -> list[Row]:
    """Once each, as it is no matter of luck; the second pull goes to the same place as the first."""
    with files(stage.directory) as made:
        shared = [made.random(size) for size in SHARED_BYTES]
        first, second = made.image("first", shared), made.image("second", [*shared, made.random(NEW_BYTES)])
        with origin(made.root.parent / "origin", made.root, [first, second]) as host:
            ours, *theirs = (_times_new(stage, each, host, first, second) for each in (Sampan(), *PEERS))
    rows = [Row(MEASURE, "what is new", "times", [ours], [1.0], Bound("at most", 1.001))]
    return rows + [
        Row(MEASURE, peer.name, "times", [ours], [times]) for peer, times in zip(PEERS, theirs, strict=True)
    ]


def _times_new(stage: Stage, program: Program, host: Origin, first: Image, second: Image) -> float:
    with scratch(stage.directory, "pull") as home, program.ready(home, [host.netloc]) as pull:
        done(pull(first.tag), home)
        host.forget()
        done(pull(second.tag), home)
        check_arrived(home, second)
        new = second.config.size_bytes + sum(
            layer.size_bytes for layer in set(second.layers) - set(first.layers)
        )
        return host.sent_bytes() / new
