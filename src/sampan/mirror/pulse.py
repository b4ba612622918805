"""One future, many waiters: how readers learn that something changed."""

from __future__ import annotations

import asyncio


class Pulse:
    """Each :meth:`beat` wakes everyone who waits for :meth:`next`. A cancelled waiter disturbs nobody."""

    def __init__(self) -> None:
        self._future: asyncio.Future[None] | None = None

    def beat(self) -> None:
        """Something changed."""
        future, self._future = self._future, None
        if future is not None and not future.done():
            future.set_result(None)

    async def next(self, timeout_seconds: float | None = None) -> bool:
        """Wait for the next beat; False when ``timeout_seconds`` passed without one."""
        if self._future is None:
            self._future = asyncio.get_running_loop().create_future()
        done, _ = await asyncio.wait([self._future], timeout=timeout_seconds)
        return bool(done)
