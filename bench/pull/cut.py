"""A host that fails at half of a layer: what the rest costs, in bytes that hosts sent and in time.

Two stories. In the one the connection is cut once, and the same host is well again at once. In the other
the host is gone for good, and a second one has the image. A program that gives up is started again. Each
is compared with its own undisturbed pull over the same line.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.pull.ground import scratch
from bench.pull.programs import PEERS, Program, Sampan
from bench.pull.shaped import Host, Midway, Pulled, hosts, pulled
from bench.stage import Stage
from bench.stock import MIB
from bench.table import Bound, Row
from interop.lines import Lines, lines
from sampan.testing import Layer, Match, faults, random_layer_file

MBIT = 200
LAYER_BYTES = 24 * MIB  # 1 s over such a line
SEED = 3
ONCE = "a host cuts a layer at half, once"
GONE = "a host is gone at half of a layer, another is there"
WANTED = Bound("at most", 1.1)  # of an undisturbed pull's bytes: what was under way is lost

Costs = dict[str, tuple[float, float]]  # by story: times the bytes, seconds more


def measure(stage: Stage) -> list[Row]:
    """Ours beside each of theirs; in bytes, ours beside an undisturbed pull first."""
    with scratch(stage.directory, "cut") as home, lines(2, mbit=MBIT) as net:
        layer = random_layer_file(home / "layer", SEED, LAYER_BYTES)
        ours = _costs(home, net, Sampan(), layer)
        theirs = {program.name: _costs(home, net, program, layer) for program in PEERS}
    rows = []
    for story in (ONCE, GONE):
        mine, seconds = ours[story]
        rows.append(Row(f"{story}: bytes", "undisturbed", "times", [mine], [1.0], WANTED))
        rows += [Row(f"{story}: bytes", n, "times", [mine], [costs[story][0]]) for n, costs in theirs.items()]
        rows += [
            Row(f"{story}: extra time", n, "s", [seconds], [costs[story][1]], is_difference=True)
            for n, costs in theirs.items()
        ]
    return rows


def _costs(home: Path, net: Lines, program: Program, layer: Layer) -> Costs:
    with _fresh(net, layer) as (first, _):
        whole = pulled(home, net, program, [first])
    with _fresh(net, layer) as (first, _):
        first.registry.script(faults.truncated(LAYER_BYTES // 2), on=_the(layer), times=1)
        once = pulled(home, net, program, [first])
    with _fresh(net, layer) as (first, second):
        gone = pulled(home, net, program, [first, second], Midway(LAYER_BYTES // 2, first.fail))
    return {ONCE: _beyond(whole, once), GONE: _beyond(whole, gone)}


def _beyond(whole: Pulled, disturbed: Pulled) -> tuple[float, float]:
    return disturbed.sent_bytes / whole.sent_bytes, disturbed.seconds - whole.seconds


@contextlib.contextmanager
def _fresh(net: Lines, layer: Layer) -> Iterator[Sequence[Host]]:
    with hosts(net, layer) as made:
        yield made


def _the(layer: Layer) -> Match:
    return Match(kind="blob", method="GET", digest=layer.body.digest())
