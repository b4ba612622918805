"""Pulls from hosts at the ends of shaped lines, with something happening to a host on the way.

What the hosts send is counted on their lines, packets and all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from bench.pull.ground import scratch
from bench.pull.process import begun
from bench.pull.programs import Program, Pull
from bench.stock import TAG
from interop.lines import Line, Lines

RUNS_MAX = 3  # a person would not try for ever
BEGUN_BYTES = 128 * 1024  # more than manifests and configs are


class Host(Protocol):
    """A server at the end of a line, at ``netloc``."""

    @property
    def line(self) -> Line: ...
    @property
    def netloc(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Pulled:
    """``runs``: how often the program had to be started; ``seconds``: of all of them together, and without
    what passed before the first bytes came; ``sent_bytes``: by all hosts."""

    seconds: float
    receiving_seconds: float
    sent_bytes: int
    runs: int


@dataclass(frozen=True, slots=True)
class Midway:
    """What happens once the hosts have sent so many bytes."""

    after_bytes: int
    act: Callable[[], None]


def pulled(
    directory: Path, net: Lines, program: Program, asked: Sequence[Host], midway: Midway | None = None
) -> Pulled:
    """Have ``program`` pull from the hosts ``asked``, started again when it fails. One that can be told of
    one host alone is then told of the next, as a person would."""
    before, seconds, words = _sent(asked), 0.0, ""
    starting_seconds: float | None = None
    with scratch(directory, "pull") as home, contextlib.ExitStack() as stack:

        def ready(first: int) -> Pull:
            netlocs = [host.netloc for host in (*asked[first:], *asked[:first])]
            return stack.enter_context(net.client.begun(program.ready(home, netlocs)))

        pull = ready(0)
        for number in range(RUNS_MAX):
            if number and not program.mirrors:
                pull = ready(number % len(asked))
            with net.client.inside(), begun(pull(TAG), home) as running:
                if starting_seconds is None and running.watch(
                    partial(_have_sent, asked, before + BEGUN_BYTES)
                ):
                    starting_seconds = running.seconds
                if midway is not None and running.watch(
                    partial(_have_sent, asked, before + midway.after_bytes)
                ):
                    midway.act()
                    midway = None
                ended, words = running.wait(), running.words()
            seconds += ended.seconds
            if ended.code == 0:
                receiving = seconds - (starting_seconds or 0.0)
                return Pulled(seconds, receiving, _sent(asked) - before, number + 1)
    raise RuntimeError(f"{program.name} failed {RUNS_MAX} times:\n{words}")


def _have_sent(asked: Sequence[Host], mark_bytes: int) -> bool:
    return _sent(asked) >= mark_bytes


def _sent(asked: Sequence[Host]) -> int:
    return sum(host.line.sent_bytes for host in asked)
