"""An event loop whose time stands still while anything happens, and leaps when nothing does.

A time-out of a tenth of a second is over when all else is done, however slow the machine is that day, and
costs no tenth of a second. Both ends of every connection must be in the loop: what another process does, or a
thread of its own, is not seen and is left no time. What runs in the executor is seen.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable
from typing import Any, TypeVar, TypeVarTuple, Unpack

from sampan.clock import Clock

GRACE_SECONDS = 0.01  # real ones, in which the kernel hands over what was sent on loopback; usually it has
TURN_SECONDS = 1e-5  # what each turn of the loop is said to take: what goes on without end is timed out, too
START_SECONDS = 1000.0

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class StandstillLoop(asyncio.SelectorEventLoop):
    """``now``: its time, in seconds. ``in_threads``: how many calls the executor has not ended.
    ``grace_seconds``: 0 where nothing goes through the kernel.
    ``thread_seconds``: how long it stands still for them, in real seconds; one that takes longer may itself
    be waiting for a time-out of the loop."""

    grace_seconds = GRACE_SECONDS
    thread_seconds = 1.0

    def __init__(self) -> None:
        self.now = START_SECONDS
        self.in_threads = 0
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self.now

    def run_in_executor(
        self, executor: Any, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        self.in_threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._ended)
        return future

    def _ended(self, _future: asyncio.Future[Any]) -> None:
        self.in_threads -= 1


class _Selector(selectors.EpollSelector):
    def __init__(self, loop: StandstillLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._loop.now += TURN_SECONDS
        events = super().select(0)
        if events or timeout == 0:
            return events
        if timeout is None:
            return super().select()
        events = super().select(
            self._loop.thread_seconds if self._loop.in_threads else self._loop.grace_seconds
        )
        if not events:
            self._loop.now += timeout
        return events


async def quiet() -> None:
    """Until nothing happens any more, in a loop whose time stands still till then."""
    assert isinstance(asyncio.get_running_loop(), StandstillLoop)
    await asyncio.sleep(GRACE_SECONDS)


class LoopClock(Clock):
    """The time of the loop that runs where it is made."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def monotonic(self) -> float:
        return self._loop.time()

    def time(self) -> float:
        return time.time()
