"""One piece of work, many who wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class SingleFlight(Generic[Result]):
    """Concurrent calls with one key share one task and its result, or its error.

    A caller that is cancelled leaves the others, and the work, alone.
    """

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[Result]] = {}

    def start(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, Result]]) -> asyncio.Task[Result]:
        """The task for ``key``, begun now if there is none."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(work())
            task.add_done_callback(lambda done: self._ended(key, done))
        return task

    async def run(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """The result of ``work``, shared. Raises what it raises."""
        return await asyncio.shield(self.start(key, work))

    def _ended(self, key: Hashable, task: asyncio.Task[Result]) -> None:
        self._tasks.pop(key, None)
        if not task.cancelled():
            task.exception()  # a failure that nobody waits for any more is not a fault of ours

    async def close(self) -> None:
        """Cancel what runs."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
