"""A name server that knows no name."""

from __future__ import annotations

import asyncio

from sampan.testing.listener import Listener


class Nameserver(Listener):
    """Says that no name exists; its port is 53, of UDP alone."""

    def __init__(self, host: str) -> None:
        super().__init__("nameserver", host=host, port=53)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        return

    async def __aenter__(self):
        self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            _NoSuchName, local_addr=(self.host, self.port)
        )
        return self

    async def close(self) -> None:
        self._transport.close()


class _NoSuchName(asyncio.DatagramProtocol):
    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr) -> None:
        end = data.index(0, 12) + 5
        self.transport.sendto(data[:2] + b"\x81\x83" + data[4:6] + bytes(6) + data[12:end], addr)
