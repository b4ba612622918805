"""Clients that hold no body: one hashes what comes and may leave early, one reads slowly."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket

from sampan.oci import Digest

READ_BYTES = 256 * 1024
SIP_SECONDS = 5.0  # between two reads of a slow client: so long that a busy machine hardly slows it further


async def download(netloc: str, path: str, *, stop_after: int | None = None) -> tuple[int, Digest | None]:
    """GET without holding the body: (bytes read, their sha256). ``stop_after``: leave after as many
    bytes. Raises IncompleteReadError on a cut."""
    host, _, port = netloc.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=READ_BYTES)
    try:
        writer.write(_request(netloc, path))
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status = int(head.split(" ", 2)[1])
        size = int(head.lower().partition("content-length:")[2].partition("\r\n")[0])
        if status != 200:
            raise AssertionError(f"{status}: {await reader.read(2000)!r}")
        return await _drain(reader, size if stop_after is None else stop_after, size)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def sip(netloc: str, path: str, *, bytes_per_second: int) -> None:
    """GET, and read no faster until it ends. From the kernel too: a stream of asyncio's takes 256 KiB at
    once, and for the server the client has then gone silent for half a minute."""
    host, _, port = netloc.rpartition(":")
    loop = asyncio.get_running_loop()
    with socket.socket() as connection:
        connection.setblocking(False)
        await loop.sock_connect(connection, (host, int(port)))
        await loop.sock_sendall(connection, _request(netloc, path))
        while data := await loop.sock_recv(connection, int(bytes_per_second * SIP_SECONDS)):
            await asyncio.sleep(len(data) / bytes_per_second)


def _request(netloc: str, path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {netloc}\r\nConnection: close\r\n\r\n".encode()


async def _drain(reader: asyncio.StreamReader, wanted: int, size: int) -> tuple[int, Digest | None]:
    hasher, done = hashlib.sha256(), 0
    while done < wanted:
        data = await reader.read(READ_BYTES)
        if not data:
            raise asyncio.IncompleteReadError(b"", wanted - done)
        hasher.update(data)
        done += len(data)
    return done, Digest("sha256", hasher.hexdigest()) if done == size else None
