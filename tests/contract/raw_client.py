"""A client that sees what really comes over the wire, and how it ends. It follows and corrects nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from sampan.testing.listener import Listener

SILENCE_SECONDS = 1.0  # on loopback, what has not come by now is not coming


@dataclass(frozen=True)
class Seen:
    """``ending``: ``complete`` (Content-Length reached), ``closed``, ``reset`` or ``silence``."""

    raw: bytes
    ending: str

    @property
    def parts(self) -> tuple[bytes, bytes]:
        """The last head that is not of a 1xx answer, and what follows it."""
        head, _, rest = self.raw.partition(b"\r\n\r\n")
        while head.startswith(b"HTTP/1.1 1"):
            head, _, rest = rest.partition(b"\r\n\r\n")
        return head, rest

    @property
    def status(self) -> int:
        return int(self.parts[0].split(b" ")[1])

    @property
    def headers(self) -> list[tuple[str, str]]:
        lines = self.parts[0].decode("latin-1").split("\r\n")[1:]
        return [(line.split(": ", 1)[0], line.split(": ", 1)[1]) for line in lines]

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def body(self) -> bytes:
        return self.parts[1]

    def is_complete(self, method: str) -> bool:
        if b"\r\n\r\n" not in self.raw or not self.parts[0]:
            return False
        length = self.header("Content-Length")
        return method == "HEAD" or (length is not None and len(self.body) >= int(length))


async def ask(
    server: Listener,
    target: str,
    method: str = "GET",
    *,
    to_the_end: bool = False,
    headers: dict[str, str] | None = None,
    body: str = "",
) -> Seen:
    """One request on a connection of its own; ``to_the_end``: also wait for what follows the answer."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    lines = [f"{method} {target} HTTP/1.1", "Host: test", *(f"{k}: {v}" for k, v in (headers or {}).items())]
    lines += [f"Content-Length: {len(body)}"] if body else []
    writer.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
    try:
        return await _listen(reader, method, to_the_end=to_the_end)
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


async def _listen(reader: asyncio.StreamReader, method: str, *, to_the_end: bool) -> Seen:
    raw = b""
    while to_the_end or not Seen(raw, "").is_complete(method):
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                data = await reader.read(1_000_000)
        except TimeoutError:
            return Seen(raw, "silence")
        except ConnectionResetError:
            return Seen(raw, "reset")
        if not data:
            return Seen(raw, "closed")
        raw += data
    return Seen(raw, "complete")
