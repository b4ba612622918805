"""Keeps a served store to its size: looks now and then, and evicts in a thread when it is too full.

It guarantees that a failure to make room is logged and tried again, and never ends the server. What
goes first is decided in :mod:`sampan.store.sweep`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from sampan.errors import StoreError
from sampan.store.disk import DiskStore
from sampan.store.sweep import evict, tidy
from sampan.store.tags import TagStore

LOOK_SECONDS = 10.0  # at a gigabit, a store overshoots its limit by about a gigabyte
TIDY_LOOKS = 360  # abandoned files are looked for once an hour
# A sweep reads the whole directory, so it makes room for more than the next blob.
KEPT_PERCENT = 95

_log = logging.getLogger("sampan.store")


class Keeper:
    """``max_size_bytes`` None: no limit. It may be set while running."""

    def __init__(self, store: DiskStore, tag_store: TagStore, max_size_bytes: int | None) -> None:
        self.max_size_bytes = max_size_bytes
        self._store = store
        self._tag_store = tag_store
        self._stopping = asyncio.Event()

    async def run(self, look_seconds: float = LOOK_SECONDS) -> None:
        """Look again and again, until :meth:`stop`."""
        looks = 0
        while not self._stopping.is_set():
            await asyncio.to_thread(self.look, thorough=looks % TIDY_LOOKS == 0)
            looks += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), look_seconds)

    async def stop(self, running: asyncio.Task[None]) -> None:
        """End :meth:`run`, which finishes a sweep under way: the store may be closed after this."""
        self._stopping.set()
        await running

    def look(self, *, thorough: bool = False) -> None:
        """Make room if there is too little; ``thorough``: drop what was abandoned in any case. Blocks."""
        try:
            if thorough:
                tidy(self._store, self._tag_store)
            limit = self.max_size_bytes
            if limit is not None and self._store.usage() > limit:
                report = evict(self._store, self._tag_store, limit * KEPT_PERCENT // 100)
                _log.info("freed %d bytes of the store: %s", report.freed_bytes, report.reason)
        except StoreError as error:
            _log.warning("cannot make room in the store: %s", error.message)
        except Exception:  # noqa: BLE001 - a full store is better than no server
            _log.exception("unexpected error while making room in the store, please report it")
