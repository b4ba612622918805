"""A client of raw bytes, and a server around the mirror in memory."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from sampan.clock import Clock, SystemClock
from sampan.server.app import Server
from sampan.server.settings import ServerSettings
from serving.mirror import FakeMirror

ANSWER_SECONDS = 5.0  # a test that waits longer has failed


@dataclass(frozen=True, slots=True)
class Response:
    """``headers`` by lower-case name. ``complete``: the body has its Content-Length."""

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool = True

    @property
    def error(self) -> dict[str, Any]:
        """The only error of the spec's JSON."""
        (error,) = json.loads(self.body)["errors"]
        assert isinstance(error, dict)
        return error


async def read_response(reader: asyncio.StreamReader, *, is_head: bool = False) -> Response:
    """One response, or what a connection that ended early left of it. Raises IncompleteReadError for none."""
    head = await reader.readuntil(b"\r\n\r\n")
    status_line, *lines = head.decode("ascii").split("\r\n")[:-2]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert len(headers) == len(lines), f"a header twice in {lines}"
    status = int(status_line.split()[1])
    size = 0 if is_head or status == 304 else int(headers["content-length"])
    try:
        return Response(status, headers, await reader.readexactly(size))
    except asyncio.IncompleteReadError as error:
        return Response(status, headers, error.partial, complete=False)


class Connection:
    """A connection to a server under test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    async def receive(self, *, is_head: bool = False) -> Response:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await read_response(self.reader, is_head=is_head)

    async def send_until_refused(self, raw: bytes) -> int:
        """Send ``raw`` again and again until the server has closed; how many bytes that took."""
        sent = 0
        async with asyncio.timeout(ANSWER_SECONDS):
            try:
                while not self.writer.is_closing():
                    await self.send(raw)
                    sent += len(raw)
                    await asyncio.sleep(0)
            except ConnectionError:
                pass
        return sent

    async def is_closed(self) -> bool:
        """Does the server end this connection, without another byte?"""
        async with asyncio.timeout(ANSWER_SECONDS):
            try:
                return await self.reader.read(1) == b""
            except ConnectionError:
                return True

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def connected(server: Server) -> AsyncIterator[Connection]:
    connection = Connection(*await asyncio.open_connection(*server.address))
    try:
        yield connection
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def running(
    mirror: FakeMirror, *, clock: Clock | None = None, **settings: Any
) -> AsyncIterator[Server]:
    """A server on any free port of loopback, stopped at the end."""
    server = Server(mirror, ServerSettings(port=0, **settings), clock=clock or SystemClock())
    await server.start()
    try:
        yield server
    finally:
        await server.stop(grace_seconds=0.0)


async def ask(server: Server, path: str, *, method: str = "GET", **headers: str) -> Response:
    """One request on a connection of its own; ``headers`` with ``_`` for ``-``."""
    lines = [f"{method} {path} HTTP/1.1", "Host: sampan.test", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    async with connected(server) as connection:
        await connection.send("\r\n".join([*lines, "", ""]).encode("latin-1"))
        return await connection.receive(is_head=method == "HEAD")
