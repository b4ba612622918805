"""A line whose speed is what a test says, in bytes and not in seconds: nothing leaves but what was poured."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from sampan.testing.fault import WITH_BODY, Fault

if TYPE_CHECKING:
    from sampan.testing.wire import Reply, Request


class Tap:
    """Bodies behind it leave as far as :meth:`pour` lets them; one tap for several answers is a line that
    they share.

        tap = Tap()
        host.script(tap.fault())
        tap.pour(10_000)

    ``passed_bytes``: what has left in all. ``waiting``: how many answers wait for more.
    """

    def __init__(self) -> None:
        self.passed_bytes = 0
        self.waiting = 0
        self._left = 0
        self._is_open = False
        self._changed = asyncio.Event()

    def pour(self, count_bytes: int) -> None:
        """Let so many more leave. What was poured before and not used is gone: a line does not save up."""
        self._left = count_bytes
        self._changed.set()

    def open(self) -> None:
        """Let everything leave from now on."""
        self._is_open = True
        self._changed.set()

    def fault(self) -> Fault:
        """To be scripted, alone or joined to another: ``faults.resets(5).joined(tap.fault())``."""

        def change(_request: Request, right: Reply) -> Reply:
            return right.delivered(replace(right.delivery, tap=self))

        return Fault("tapped", change, WITH_BODY)

    @property
    def is_dry(self) -> bool:
        """Whether all that was poured has left, or nobody wants it."""
        return not self._left or not self.waiting

    async def draw(self, wanted_bytes: int) -> int:
        """How many bytes may leave now, one at least; waits for that."""
        self.waiting += 1
        try:
            while not (self._left or self._is_open):
                self._changed.clear()
                await self._changed.wait()
        finally:
            self.waiting -= 1
        count = wanted_bytes if self._is_open else min(wanted_bytes, self._left)
        self._left -= min(count, self._left)
        self.passed_bytes += count
        return count
