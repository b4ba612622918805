"""One blob from three hosts at 50 Mbit/s each: what they give together, and when one of them fails.

The one that fails is the one that has given most by then. It drops to 1 Mbit/s, or its server is gone, or
it lies from the beginning: every layer that it sends has one bit flipped. The hosts are registries in
threads of this process; they send files by sendfile, which takes next to no time from the program.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.pull.ground import scratch
from bench.pull.programs import Sampan
from bench.pull.shaped import Midway, Pulled, pulled
from bench.stage import Stage
from bench.stock import REPOSITORY, TAG
from bench.table import Bound, Row
from interop.lines import Line, Lines, lines
from sampan.testing import FakeRegistry, Layer, Match, ServerThread, faults, image, random_layer_file

MBIT = 50
SLOW_MBIT = 1
BLOB_BYTES = 200 * 10**6  # 34 s from one host
HALF_BYTES = 100 * 10**6  # for the failures, each of which takes a pull
SEED = 7
BITS = 8 / 10**6
OURS = Sampan("store")
# What is measured twice differs by less.
TOLERANCE = 1.05


@dataclass(frozen=True, slots=True)
class Host:
    """A registry that can be made to fail, at the end of a line."""

    line: Line
    registry: FakeRegistry
    thread: ServerThread

    @property
    def netloc(self) -> str:
        return self.registry.netloc

    def fail(self) -> None:
        """Its server is gone, as by a crash: connections are reset, new ones refused."""
        self.thread.call(self.registry.refuse)


def measure(stage: Stage) -> list[Row]:
    """Once each: lines that are the slowest part vary by less than a hundredth."""
    with scratch(stage.directory, "many") as home, lines(3, mbit=MBIT) as net:
        big = random_layer_file(home / "big", SEED, BLOB_BYTES)
        with _fresh(net, big) as made:
            one = pulled(home, net, OURS, made[:1])
        with _fresh(net, big) as made:
            three = pulled(home, net, OURS, made)
        layer = random_layer_file(home / "layer", SEED, HALF_BYTES)
        return [_together(one, three), *_failing(home, net, layer)]


def _together(one: Pulled, three: Pulled) -> Row:
    ours, theirs = (BLOB_BYTES * BITS / pull.seconds for pull in (three, one))
    what = f"200 MB from three hosts at {MBIT} Mbit/s"
    return Row(what, "one of them", "Mbit/s", [ours], [theirs], Bound("at least", 2.6))


def _failing(home: Path, net: Lines, layer: Layer) -> list[Row]:
    with _fresh(net, layer) as made:
        calm = pulled(home, net, OURS, made)
    with _fresh(net, layer) as made:
        gone = pulled(home, net, OURS, made, Midway(HALF_BYTES // 2, lambda: _best(made).fail()))
    with _fresh(net, layer) as made:
        slow = pulled(
            home, net, OURS, made, Midway(HALF_BYTES // 2, lambda: _best(made).line.shape(mbit=SLOW_MBIT))
        )
    with _fresh(net, layer) as made:
        made[0].registry.script(faults.flipped_bit(), on=Match(kind="blob", digest=layer.body.digest()))
        lied = pulled(home, net, OURS, made)
    return [
        Row(
            "100 MB, one of the three drops to 1 Mbit/s",
            "one is gone",
            "s",
            [slow.seconds],
            [gone.seconds],
            Bound("at most", TOLERANCE),
        ),
        Row("100 MB, one of the three is gone midway", "all are well", "s", [gone.seconds], [calm.seconds]),
        Row("100 MB, one of the three lies", "all are well", "s", [lied.seconds], [calm.seconds]),
        Row(
            "100 MB, one of the three lies: sent",
            "all are well",
            "MB",
            [lied.sent_bytes / 10**6],
            [calm.sent_bytes / 10**6],
        ),
    ]


def _best(made: list[Host]) -> Host:
    """Who has given most."""
    return max(made, key=lambda host: host.line.sent_bytes)


@contextlib.contextmanager
def _fresh(net: Lines, layer: Layer) -> Iterator[list[Host]]:
    """At the end of every line, as quick as at first, the same image of one layer."""
    content = image(REPOSITORY, TAG, layers=[layer])
    with contextlib.ExitStack() as stack:
        made = []
        for line in net.hosts:
            line.shape(mbit=MBIT)
            registry = FakeRegistry(host=line.address)
            registry.add(content)
            made.append(Host(line, registry, stack.enter_context(line.begun(ServerThread(registry)))))
        yield made
