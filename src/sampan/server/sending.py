"""The bytes of a blob on their way to a client: from a file into the socket, inside the kernel where it can.

Guarantees that what is counted was handed over in order, and that an error of the blob leaves as itself, so
that the caller cuts the connection rather than completing the answer. Headers are not written here.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import BinaryIO

from sampan.errors import StoreError
from sampan.server.contract import BlobReply
from sampan.server.stall import StallWatch

TLS_CHUNK_BYTES = 256 * 1024  # through user space: as much as two cores encrypt in a millisecond


@dataclass(slots=True)
class Wire:
    """One client's connection as seen by its sender. ``sent_bytes`` grows as the kernel takes them."""

    transport: asyncio.Transport
    drain: Callable[[], Awaitable[None]]
    stalls: StallWatch
    sent_bytes: int = 0

    async def send_blob(self, blob: BlobReply, start: int, stop: int, began: Callable[[], None]) -> None:
        """All bytes from ``start`` to ``stop``; ``began`` is called when the first may leave.

        Raises what ``blob`` raises, StoreError when its file is shorter than it should be, and
        ConnectionError when the client has gone.
        """
        position = start
        async for window in blob.windows(start, stop):
            if position == start:
                began()
            await self._send_file(window.file, window.offset, window.count)
            position += window.count
        if position != stop:
            raise StoreError(f"the blob ended {stop - position} bytes early")

    async def _send_file(self, file: BinaryIO, offset: int, count: int) -> None:
        if self.transport.is_closing():
            raise ConnectionResetError("the client has left")
        with self.stalls.sending(self.transport):
            if self.transport.get_extra_info("sslcontext") is None:
                sent = await asyncio.get_running_loop().sendfile(self.transport, file, offset, count)
                self.sent_bytes += sent
                if sent != count:
                    raise StoreError(f"the file ended {count - sent} bytes early")
            else:
                await self._copy_file(file.fileno(), offset, count)

    async def _copy_file(self, descriptor: int, offset: int, count: int) -> None:
        """For TLS: the kernel cannot encrypt for us."""
        end = offset + count
        while offset < end:
            size = min(end - offset, TLS_CHUNK_BYTES)
            chunk = await asyncio.to_thread(os.pread, descriptor, size, offset)
            if not chunk:
                raise StoreError(f"the file ended {end - offset} bytes early")
            if self.transport.is_closing():
                raise ConnectionResetError("the client has left")
            self.transport.write(chunk)
            await self.drain()
            offset += len(chunk)
            self.sent_bytes += len(chunk)
