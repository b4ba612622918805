"""A listening socket whose every connection is served by a task that it owns.

It guarantees that nothing outlives it: when its ``async with`` ends, every connection is cut and
every task has ended. What is said on a connection is up to its subclasses.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

HEAD_BYTES_MAX = 128 * 1024
BACKLOG = 1024  # a thousand clients that come at once must not look like a black hole


class Listener(ABC):
    """Listens on ``host``:``port`` (0: any free port) from ``__aenter__`` to ``__aexit__``.

    ``tls`` makes it speak TLS; ``hostname`` is what :attr:`url` calls it, where a certificate or a
    test wants a name.
    """

    def __init__(
        self,
        name: str,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        hostname: str | None = None,
    ) -> None:
        self.name = name
        self.host = host
        self.port = port
        self.hostname = hostname or host
        self.connections = 0
        self._tls = tls
        self._listening: socket.socket | None = None
        self._reserved: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._errors: list[BaseException] = []

    @property
    def netloc(self) -> str:
        """``host:port``, as it stands in references and URLs."""
        return f"[{self.hostname}]:{self.port}" if ":" in self.hostname else f"{self.hostname}:{self.port}"

    @property
    def url(self) -> str:
        """``http://host:port``, or https; no slash at the end."""
        return f"{'https' if self._tls else 'http'}://{self.netloc}"

    @abstractmethod
    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        """Serve one connection, the ``number``-th from 1; it is closed when this returns."""

    async def __aenter__(self) -> Self:
        self._reserved = self._bind()
        await self.accept()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
        if error is None and (complaints := self.complaints()):
            raise AssertionError(f"{self.name}: " + "; ".join(complaints))

    def complaints(self) -> list[str]:
        """What makes the test fail at the end of the ``async with``: here, the fake's own errors."""
        return [f"the fake itself failed: {error!r}" for error in self._errors]

    async def accept(self) -> None:
        """Listen (again, after :meth:`refuse`)."""
        if self._reserved is None:
            return
        self._listening, self._reserved = self._reserved, None
        self._listening.listen(BACKLOG)
        asyncio.get_running_loop().add_reader(self._listening, self._take, self._listening)

    def refuse(self) -> None:
        """Refuse connections from now on, and cut those that are open; the port stays ours."""
        if self._listening is None:
            return
        self._stop_listening()
        self.cut()
        self._reserved = self._bind()

    def _stop_listening(self) -> None:
        if self._listening is not None:
            asyncio.get_running_loop().remove_reader(self._listening)
            self._listening.close()
            self._listening = None

    def cut(self) -> None:
        """Cut every open connection."""
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """Stop listening, cut every connection, and wait for the tasks to end."""
        self._stop_listening()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports close their sockets one turn after they are aborted

    def _bind(self) -> socket.socket:
        """The protocol must be named: asyncio switches Nagle's algorithm off only where it stands."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setblocking(False)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((self.host, self.port))
        except OSError:
            listening.close()
            raise
        self.port = listening.getsockname()[1]
        return listening

    def _take(self, listening: socket.socket) -> None:
        """From here on the connection has a task, which can be cut; asyncio's own servers lose those that
        come in the turns before they are closed, and their clients wait for ever."""
        try:
            connection, _ = listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        connection.setblocking(False)
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._run(connection, self.connections))
        self._tasks.add(task)
        task.add_done_callback(lambda _: self._finished(task, connection))

    def _finished(self, task: asyncio.Task[None], connection: socket.socket) -> None:
        """Also for a task that was cancelled before it began."""
        self._tasks.discard(task)
        connection.close()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._errors.append(error)

    async def _run(self, connection: socket.socket, number: int) -> None:
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader(HEAD_BYTES_MAX)
        protocol = asyncio.StreamReaderProtocol(reader)
        with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=self._tls)
            writer = asyncio.StreamWriter(transport, protocol, reader, loop)
            try:
                await self.serve(reader, writer, number)
                writer.close()
                await writer.wait_closed()
            finally:
                if connection.fileno() >= 0:  # asyncio cannot abort one that ended while it was being closed
                    transport.abort()
