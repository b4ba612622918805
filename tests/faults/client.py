"""A client that holds no body: it hashes what comes, may leave early, and may read slowly."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib

from sampan.oci import Digest

READ_BYTES = 256 * 1024


async def download(
    netloc: str, path: str, *, stop_after: int | None = None, bytes_per_second: float | None = None
) -> tuple[int, Digest | None]:
    """GET without holding the body: (bytes read, their sha256). ``stop_after``: leave after as many
    bytes; ``bytes_per_second``: read no faster. Raises IncompleteReadError on a cut."""
    host, _, port = netloc.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=READ_BYTES)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {netloc}\r\nConnection: close\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status = int(head.split(" ", 2)[1])
        size = int(head.lower().partition("content-length:")[2].partition("\r\n")[0])
        if status != 200:
            raise AssertionError(f"{status}: {await reader.read(2000)!r}")
        return await _drain(reader, size if stop_after is None else stop_after, size, bytes_per_second)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _drain(
    reader: asyncio.StreamReader, wanted: int, size: int, bytes_per_second: float | None
) -> tuple[int, Digest | None]:
    hasher, done = hashlib.sha256(), 0
    while done < wanted:
        data = await reader.read(READ_BYTES if bytes_per_second is None else 1024)
        if not data:
            raise asyncio.IncompleteReadError(b"", wanted - done)
        hasher.update(data)
        done += len(data)
        if bytes_per_second is not None:
            await asyncio.sleep(len(data) / bytes_per_second)
    return done, Digest("sha256", hasher.hexdigest()) if done == size else None
