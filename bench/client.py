"""A client that costs little: one connection, bytes counted and dropped.

It guarantees that a body has the length that the caller expects, by its Content-Length and by count.
It neither hashes nor compares the bytes, for that would be measured too.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import Self

from bench.stock import MANIFEST_TYPE

ACCEPT = f"Accept: {MANIFEST_TYPE}, */*"  # docker-registry denies an OCI manifest to who does not name it
READ_BYTES = 1024 * 1024
TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """Both times since the request was sent."""

    size_bytes: int
    first_byte_seconds: float
    seconds: float


class Client:
    """A kept connection to ``netloc``."""

    def __init__(self, netloc: str) -> None:
        host, _, port = netloc.partition(":")
        self._netloc = netloc
        self._socket = socket.create_connection((host, int(port)), timeout=TIMEOUT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = memoryview(bytearray(READ_BYTES))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def fetch(self, path: str, *, size_bytes: int) -> Fetched:
        """GET of a body that has ``size_bytes``. Raises RuntimeError when it is another."""
        began = time.perf_counter()
        lines = (f"GET {path} HTTP/1.1", f"Host: {self._netloc}", ACCEPT, "\r\n")
        self._socket.sendall("\r\n".join(lines).encode())
        left = self._head(path, size_bytes)
        while left == size_bytes:
            left -= self._receive(left)
        first = time.perf_counter() - began
        while left:
            left -= self._receive(left)
        return Fetched(size_bytes, first, time.perf_counter() - began)

    def _head(self, path: str, size_bytes: int) -> int:
        """Read the head; how many bytes of the body did not come with it."""
        head = b""
        while b"\r\n\r\n" not in head:
            piece = self._socket.recv(65536)
            if not piece:
                raise RuntimeError(f"{path} at {self._netloc}: the connection ended in {head[:200]!r}")
            head += piece
        head, _, body = head.partition(b"\r\n\r\n")
        length = f"content-length: {size_bytes}".encode()
        if not head.startswith(b"HTTP/1.1 200 ") or length not in head.lower().split(b"\r\n"):
            raise RuntimeError(f"{path} at {self._netloc}: expected {size_bytes} bytes, got {head[:1000]!r}")
        return size_bytes - len(body)

    def _receive(self, left: int) -> int:
        count = self._socket.recv_into(self._buffer[: min(left, READ_BYTES)])
        if not count:
            raise RuntimeError(f"{self._netloc} cut a body {left} bytes early")
        return count


def fetch(netloc: str, path: str, *, size_bytes: int) -> Fetched:
    """As :meth:`Client.fetch`, on a connection of its own."""
    with Client(netloc) as client:
        return client.fetch(path, size_bytes=size_bytes)
