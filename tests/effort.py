"""What a call costs, whatever the machine is busy with: how many calls, and how it grows with the input."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

ROUNDS = 5  # the quickest of them counts: what disturbs a measurement only makes it longer
SIZE_FACTOR = 8
GROWTH_MAX = 3 * SIZE_FACTOR  # what is quadratic grows by 64; what is linear by 8 and a little noise
WORTH_SECONDS = 0.0005  # measured at once: many times the resolution of the clock


class Claiming(str):
    """A text that says it is so long, whatever it holds: refused for its length, or read."""

    __slots__ = ("length",)
    length: int

    def __new__(cls, text: str, length: int) -> Self:
        made = super().__new__(cls, text)
        made.length = length
        return made

    def __len__(self) -> int:
        return self.length


def calls(work: Callable[[], object]) -> int:
    """How many functions are called in it, written in Python or not."""
    count = 0

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def growth(work: Callable[[int], Callable[[], object]], size: int) -> float:
    """By which factor the processor time of ``work(size)`` grows when the size does by ``SIZE_FACTOR``."""
    small, large = work(size), work(SIZE_FACTOR * size)
    with _undisturbed():
        times = 1
        while _seconds(large, times) < WORTH_SECONDS:
            times *= 4
        rounds = [(_seconds(small, times), _seconds(large, times)) for _ in range(ROUNDS)]
    return min(large for _, large in rounds) / min(small for small, _ in rounds)


def _seconds(work: Callable[[], object], times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        work()
    return time.process_time() - began


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A collection of all the garbage of a test run takes longer than most of what is measured."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
