"""Places where a connection goes nowhere: the faults of the network that no HTTP answer can play.

None of them needs a task except :class:`HelloReset`: the kernel does what is wanted while nobody accepts.
"""

from __future__ import annotations

import asyncio
import socket
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

from sampan.testing.delivery import reset
from sampan.testing.listener import Listener

if TYPE_CHECKING:
    from types import TracebackType

QUEUED_MAX = 16  # connections tried before the queue of a black hole must be full
PROBE_SECONDS = 0.05  # a connection on loopback that takes longer is not being accepted
SILENCE_BACKLOG = 128


class _DeadEnd(ABC):
    """A port that stays ours from ``__aenter__`` to ``__aexit__``; ``port`` 0: any free one."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self.port = port

    @property
    def netloc(self) -> str:
        """``host:port``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """``http://host:port``; put ``https`` in front of :attr:`netloc` to see TLS die here."""
        return f"http://{self.netloc}"

    async def __aenter__(self) -> Self:
        self._socket = self._made()
        try:
            self._socket.bind((self.host, self.port))
        except OSError:
            self._socket.close()
            raise
        self.port = self._socket.getsockname()[1]
        await self._open()
        return self

    def _made(self) -> socket.socket:
        return socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)

    @abstractmethod
    async def _open(self) -> None: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()


class ClosedPort(_DeadEnd):
    """Connections are refused: the port is bound and nobody listens."""

    async def _open(self) -> None:
        """Nothing to open: that is the point."""


class Silence(_DeadEnd):
    """Connections are made and nothing ever comes: TLS handshakes and answers stall."""

    async def _open(self) -> None:
        self._socket.listen(SILENCE_BACKLOG)


class BlackHole(_DeadEnd):
    """Connections are never made, nor refused: the queue is full, so the kernel drops every SYN."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(host=host, port=port)
        self._queued: list[socket.socket] = []

    async def _open(self) -> None:
        self._socket.listen(0)
        for _ in range(QUEUED_MAX):
            connection = self._made()
            connection.setblocking(False)
            self._queued.append(connection)
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    await asyncio.get_running_loop().sock_connect(connection, (self.host, self.port))
            except TimeoutError:
                return
        raise AssertionError("this kernel accepts connections that nobody accepts")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._queued:
            connection.close()
        await super().__aexit__(kind, error, trace)


class HelloReset(Listener):
    """Resets each connection at its first bytes, as a censor does who has read the name in a ClientHello."""

    def __init__(self, name: str = "hello reset", *, host: str = "127.0.0.1") -> None:
        super().__init__(name, host=host)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> None:
        if await reader.read(1):
            await reset(writer)
