"""A host that fails at half of a layer: what the rest costs, in bytes that hosts sent and in time.

Two stories. In the one nginx's worker is killed, which cuts every connection, and the next worker answers at
once. In the other the host is gone for good, and a second one has the image. A program that gives up is
started again. Each is compared with its own undisturbed pull over the same line; the time is counted from
the first bytes, so that a program's first start is not in it, but any other is.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

from bench.origin import Origin, origin
from bench.processor import children
from bench.pull.ground import files, scratch
from bench.pull.programs import PEERS, Program, Sampan
from bench.pull.shaped import Midway, Pulled, pulled
from bench.stage import Stage
from bench.stock import MIB, TAG, Files, Image
from bench.table import Bound, Row
from interop.lines import Line, Lines, lines

MBIT = 200
LAYER_BYTES = 24 * MIB  # 1 s over such a line
ONCE = "a host cuts a layer at half, once"
GONE = "a host is gone at half of a layer, another is there"
WANTED = Bound("at most", 1.1)  # of an undisturbed pull's bytes: what was under way is lost

Costs = dict[str, tuple[float, float]]  # by story: times the bytes, seconds more


@dataclass(frozen=True, slots=True)
class Host:
    """nginx at the end of a line."""

    line: Line
    origin: Origin

    @property
    def netloc(self) -> str:
        return self.origin.netloc

    def cut(self) -> None:
        """Every connection ends; the next is taken at once."""
        for worker in children(self.origin.process.popen.pid):
            os.kill(worker, signal.SIGKILL)

    def fail(self) -> None:
        """It is gone, and with it who would start another worker."""
        workers = children(self.origin.process.popen.pid)
        self.origin.process.kill()
        for worker in workers:
            os.kill(worker, signal.SIGKILL)


def measure(stage: Stage) -> list[Row]:
    """Ours beside each of theirs; in bytes, ours beside an undisturbed pull first."""
    with files(stage.directory) as made, lines(2, mbit=MBIT) as net:
        image = made.image(TAG, [made.random(LAYER_BYTES)])
        ours = _costs(stage, net, Sampan(), made, image)
        theirs = {program.name: _costs(stage, net, program, made, image) for program in PEERS}
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


def _costs(stage: Stage, net: Lines, program: Program, made: Files, image: Image) -> Costs:
    def story(midway: str | None, count: int) -> Pulled:
        with scratch(stage.directory, "cut") as home, _hosts(net, made, image) as found:
            act = None if midway is None else Midway(LAYER_BYTES // 2, getattr(found[0], midway))
            return pulled(home, net, program, found[:count], act)

    whole = story(None, 1)
    return {ONCE: _beyond(whole, story("cut", 1)), GONE: _beyond(whole, story("fail", 2))}


def _beyond(whole: Pulled, disturbed: Pulled) -> tuple[float, float]:
    return disturbed.sent_bytes / whole.sent_bytes, disturbed.receiving_seconds - whole.receiving_seconds


@contextlib.contextmanager
def _hosts(net: Lines, made: Files, image: Image) -> Iterator[list[Host]]:
    """The image at the end of every line."""
    with scratch(made.root.parent, "hosts") as home, contextlib.ExitStack() as stack:
        found = []
        for number, line in enumerate(net.hosts):
            server = origin(home / str(number), made.root, [image], address=line.address)
            found.append(Host(line, stack.enter_context(line.begun(server))))
        yield found
