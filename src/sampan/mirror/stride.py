"""Writing behind the network: while one stride is hashed and written in a thread, the next gathers.

The strides find their own size. The first chunk is written at once, so that the first byte can leave;
when the disk and the hash are busy, more gathers, up to a limit that stops the network. Chunks are
joined first: each call into the hash or the kernel gives up the interpreter lock and waits to get it
back, so few large calls cost far less than many small ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sampan.errors import StoreFull
from sampan.store.content import Ingest

STRIDE_BYTES_MAX = 2 * 1024 * 1024  # twice this is held in memory for each download, at most


class StrideWriter:
    """Feeds one ingest. ``wrote`` is called on the event loop with the new offset."""

    def __init__(self, ingest: Ingest, wrote: Callable[[int], None]) -> None:
        self._ingest = ingest
        self._wrote = wrote
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._writing: asyncio.Future[None] | None = None
        self._error: BaseException | None = None

    async def put(self, chunk: bytes) -> None:
        """Take ``chunk``; waits only when a whole stride is waiting already. Raises StoreError."""
        self._gathered.append(chunk)
        self._gathered_bytes += len(chunk)
        if self._writing is None:
            self._begin()
        while self._gathered_bytes >= STRIDE_BYTES_MAX and self._writing is not None:
            await asyncio.wait([self._writing])
        self._raise_error()

    async def drain(self) -> None:
        """Wait until everything taken is on its way to the disk and hashed. Raises StoreError."""
        while self._writing is not None:
            await asyncio.wait([self._writing])
        self._raise_error()

    def _begin(self) -> None:
        chunks, self._gathered, self._gathered_bytes = self._gathered, [], 0
        ingest = self._ingest

        def write() -> None:
            ingest.write(chunks[0] if len(chunks) == 1 else b"".join(chunks))

        self._writing = asyncio.get_running_loop().run_in_executor(None, write)
        self._writing.add_done_callback(self._ended)

    def _ended(self, future: asyncio.Future[None]) -> None:
        self._writing = None
        if future.cancelled():
            return
        self._error = future.exception()
        if isinstance(self._error, StoreFull):
            self._wrote(self._ingest.offset)  # what fitted is kept
        if self._error is not None:
            self._gathered, self._gathered_bytes = [], 0
            return
        self._wrote(self._ingest.offset)
        if self._gathered:
            self._begin()

    def _raise_error(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error
