"""Clients that stopped taking bytes: found by what they acknowledged, and dropped.

Guarantees that an answer which waits for its client, and only such a one, ends when nothing was taken for
the limit. A client that takes a byte now and then is slow, not stalled, and stays.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sampan.clock import Clock

# linux/tcp.h, struct tcp_info: 8 bytes, 24 words of 32 bits, two of 64, then tcpi_bytes_acked.
_BYTES_ACKED = struct.Struct("=120xQ")


@dataclass(slots=True)
class _Waiting:
    since: float
    acknowledged: int | None


class StallWatch:
    """Knows which transports have bytes to send; :meth:`sweep` is to be called now and then."""

    def __init__(self, clock: Clock, *, limit_seconds: float) -> None:
        self._clock = clock
        self._limit_seconds = limit_seconds
        self._waiting: dict[asyncio.Transport, _Waiting] = {}

    @contextmanager
    def sending(self, transport: asyncio.Transport) -> Iterator[None]:
        """While inside, ``transport`` has bytes that its client ought to take."""
        self._waiting[transport] = _Waiting(self._clock.monotonic(), None)
        try:
            yield
        finally:
            self._waiting.pop(transport, None)

    def sweep(self) -> int:
        """Abort what made no progress for the limit; how many that were."""
        now = self._clock.monotonic()
        stalled = [
            transport
            for transport, waiting in self._waiting.items()
            if self._is_stalled(transport, waiting, now)
        ]
        for transport in stalled:
            transport.abort()
        return len(stalled)

    def _is_stalled(self, transport: asyncio.Transport, waiting: _Waiting, now: float) -> bool:
        acknowledged = bytes_acknowledged(transport)
        if acknowledged != waiting.acknowledged:
            waiting.since, waiting.acknowledged = now, acknowledged
        return now - waiting.since >= self._limit_seconds


def bytes_acknowledged(transport: asyncio.Transport) -> int | None:
    """How many bytes the other side has acknowledged since it connected; None where nobody can say."""
    connection = transport.get_extra_info("socket")
    if connection is None:
        return None
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size)
        return int(_BYTES_ACKED.unpack(info)[0])
    except (OSError, struct.error):
        return None
