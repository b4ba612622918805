"""Keeping the store within its size: when to sweep, which ``store/sweep.py`` then does in a thread."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from sampan.errors import StoreError
from sampan.store.disk import DiskStore
from sampan.store.sweep import evict, free, tidy
from sampan.store.tags import TagStore

SLACK = 0.05  # freed beyond the limit, so that not every commit sweeps the whole store

log = logging.getLogger(__name__)


class Room:
    """``max_size_bytes``: None is no limit but the disk's; may be set any time. One sweep runs at a time."""

    def __init__(self, store: DiskStore, tags: TagStore, max_size_bytes: int | None) -> None:
        self._store = store
        self._tags = tags
        self.max_size_bytes = max_size_bytes
        self._sweeping = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def check(self) -> None:
        """Something was committed: sweep behind the answers if it is too much now. Returns at once."""
        limit = self.max_size_bytes
        if limit is None or self._store.usage() <= limit or (self._task and not self._task.done()):
            return
        self._task = asyncio.create_task(self._evict(int(limit * (1 - SLACK))), name="evict")

    async def make(self, size_bytes: int) -> bool:
        """The disk is full and ``size_bytes`` more are wanted: whether some room could be made."""
        return await self._sweep(lambda: free(self._store, self._tags, size_bytes).freed_bytes) > 0

    async def tidy(self) -> None:
        """At the start: drop what earlier runs abandoned, and what is too much."""
        await self._sweep(lambda: tidy(self._store, self._tags).freed_bytes)
        self.check()

    async def _evict(self, size_bytes: int) -> None:
        await self._sweep(lambda: evict(self._store, self._tags, size_bytes).freed_bytes)

    async def _sweep(self, work: Callable[[], int]) -> int:
        """Bytes freed by ``work``, in a thread; a disk that fails it is logged, and frees nothing."""
        async with self._sweeping:
            try:
                return await asyncio.to_thread(work)
            except StoreError as error:
                log.warning("cannot make room in the store: %s", error.message)
                return 0

    async def close(self) -> None:
        """Wait for the sweep that runs: it cannot be interrupted, and is short."""
        if self._task is not None:
            await asyncio.wait([self._task])
