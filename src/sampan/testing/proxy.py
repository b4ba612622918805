"""A forward proxy on loopback: CONNECT for TLS, whole URLs for plain HTTP.

It records what it was asked for and can be scripted like any fake; what it does not refuse it passes
on without a look. It answers for nothing that goes through it.
"""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urlsplit

from sampan.testing.delivery import deliver
from sampan.testing.server import FakeServer
from sampan.testing.tokens import basic_user
from sampan.testing.wire import MalformedRequest, Reply, Request, error_reply, read_request, reply

PIPE_BYTES = 64 * 1024


class FakeProxy(FakeServer):
    """``users``: name and password that Proxy-Authorization must carry. Every request has kind ``proxy``."""

    def __init__(
        self,
        name: str = "proxy",
        *,
        users: dict[str, str] | None = None,
        host: str = "127.0.0.1",
        strict: bool = False,
    ) -> None:
        super().__init__(name, host=host, strict=strict)
        self.users = users

    def answer(self, request: Request) -> Reply:
        request.kind = "proxy"
        if (
            self.users is not None
            and basic_user(request.headers.get("proxy-authorization"), self.users) is None
        ):
            lines = (("Proxy-Authenticate", 'Basic realm="proxy"'),)
            return error_reply(407, "UNAUTHORIZED", "log in at the proxy", lines)
        return reply(200)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        """One request a connection: it is refused, or everything from here on is passed both ways."""
        with contextlib.suppress(MalformedRequest):
            request = await read_request(reader)
            if request is None:
                return
            request.connection = number
            answer = self.take(request)
            if request.fault is not None or answer.status != 200:
                await deliver(answer, request, reader, writer)
            else:
                await _pass_on(request, reader, writer)
            request.finished = True


async def _pass_on(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    tunnel = request.method == "CONNECT"
    parts = urlsplit(f"//{request.target}" if tunnel else request.target)
    try:
        there, to_there = await asyncio.open_connection(parts.hostname, parts.port or 80)
    except OSError:
        writer.write(error_reply(502, "UNAVAILABLE", "the proxy cannot reach it").encoded())
        return
    try:
        if tunnel:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            to_there.write(_plain_head(request))
        await _both_ways((reader, to_there), (there, writer))
    finally:
        to_there.transport.abort()


def _plain_head(request: Request) -> bytes:
    """The request as the server behind wants it: a path, and the connection is not to be kept."""
    parts = urlsplit(request.target)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {
        key: value
        for key, value in request.headers.items()
        if not key.startswith("proxy-") and key != "connection"
    }
    lines = [f"{request.method} {target} HTTP/1.1", *(f"{key}: {value}" for key, value in headers.items())]
    return ("\r\n".join([*lines, "connection: close"]) + "\r\n\r\n").encode("latin-1")


async def _both_ways(*ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    """Until either side ends: what a proxy kept open after that would be of no use to anybody."""
    tasks = [asyncio.create_task(_one_way(*way)) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _one_way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(PIPE_BYTES):
        writer.write(data)
        await writer.drain()
