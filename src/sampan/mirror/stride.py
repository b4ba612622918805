"""Writing behind the network: while one stride is hashed and written in a thread, the next arrives.

The strides find their own size: the first is what the first read gave, and is written at once, so that
the first byte can leave; the next is all that the connection took in meanwhile, up to the limit of its
buffer. A few large strides cost far less than many small ones: each wakes tasks and threads, and each
call into the hash or the kernel gives up the interpreter and waits to get it back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sampan.errors import StoreFull
from sampan.store.content import Ingest


class StrideWriter:
    """Feeds one ingest from ``start`` on. ``wrote`` is called on the event loop with the start and the
    stop of what it was given and is on disk now."""

    def __init__(self, ingest: Ingest, start: int, wrote: Callable[[int, int], None]) -> None:
        self._ingest = ingest
        self._position = start
        self._wrote = wrote
        self._writing: asyncio.Future[None] | None = None
        self._error: BaseException | None = None

    async def put(self, stride: bytes) -> None:
        """Have ``stride`` written; returns when the next one may be read. Raises StoreError."""
        await self.drain()
        start, stop = self._position, self._position + len(stride)
        self._position = stop
        loop = asyncio.get_running_loop()
        self._writing = loop.run_in_executor(None, self._ingest.place, start, stride)
        self._writing.add_done_callback(lambda future: self._ended(future, start, stop))

    async def drain(self) -> None:
        """Wait until everything taken is on its way to the disk and hashed. Raises StoreError."""
        while self._writing is not None:
            await asyncio.wait([self._writing])
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _ended(self, future: asyncio.Future[None], start: int, stop: int) -> None:
        self._writing = None
        if future.cancelled():
            return
        self._error = future.exception()
        if self._error is None:
            self._wrote(start, stop)
        elif isinstance(self._error, StoreFull):
            for span_start, span_stop in self._ingest.spans:  # what fitted is kept
                if span_start < stop and start < span_stop:
                    self._wrote(max(span_start, start), min(span_stop, stop))
