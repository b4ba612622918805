"""One host at the end of a line of 100 Mbit/s: how much of the line the pull makes use of.

The line is a shaped link between two network namespaces, see tests/interop/lines.py. What it gives is told
by a bare socket beside it, in the same run: of the nominal rate the headers of packets take a part.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from bench.client import fetch
from bench.origin import origin
from bench.pull.ground import check_arrived, files, scratch
from bench.pull.process import done
from bench.pull.programs import Oras, ParallelCtr, Program, Sampan, foreign
from bench.stage import Stage
from bench.stock import MIB, TAG, Image
from bench.table import Bound, Row
from interop.lines import Lines, lines

MBIT = 100
BITS = 8 / 10**6
LAYERS_BYTES = (64 * MIB, 32 * MIB, 16 * MIB, 16 * MIB)
OTHERS: tuple[Program, ...] = (
    Oras(),
    ParallelCtr(),
)  # the fastest, and the one with several requests a layer


def measure(stage: Stage) -> list[Row]:
    """One pull each: a line that is the slowest part varies by less than a hundredth."""
    rows = []
    with _laid(stage) as (net, netloc, image):
        ours = _rate(stage, net, Sampan(), netloc, image)
        with net.client.inside():
            bare = sum(fetch(netloc, blob.path, size_bytes=blob.size_bytes).seconds for blob in image.blobs)
        line = image.size_bytes * BITS / bare
        what = f"128 MiB from one host at {MBIT} Mbit/s"
        rows.append(Row(what, "a bare socket", "Mbit/s", [ours], [line], Bound("at least", 0.95)))
        for other in OTHERS:
            theirs = _rate(stage, net, other, netloc, image)
            rows.append(Row(what, other.name, "Mbit/s", [ours], [theirs]))
    return rows


@contextlib.contextmanager
def _laid(stage: Stage) -> Iterator[tuple[Lines, str, Image]]:
    """The line, and the host at its end with the image."""
    with files(stage.directory) as made, lines(1, mbit=MBIT) as net:
        layers = [made.random(size) for size in LAYERS_BYTES]
        image = made.image(TAG, layers)
        images = [image, made.image(foreign(), layers, foreign=True)]
        (place,) = net.hosts
        home = made.root.parent / "origin"
        with place.begun(origin(home, made.root, images, address=place.address)) as host:
            yield net, host.netloc, image


def _rate(stage: Stage, net: Lines, program: Program, netloc: str, image: Image) -> float:
    """Megabits of blobs a second, over the whole process."""
    with (
        scratch(stage.directory, "pull") as home,
        net.client.begun(program.ready(home, [netloc])) as pull,
        net.client.inside(),
    ):
        seconds = done(pull(image.tag), home).seconds
        check_arrived(home, image)
    return image.size_bytes * BITS / seconds
