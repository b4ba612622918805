"""Nameservers asked by themselves, against one on loopback that says what it is told to."""

from __future__ import annotations

import asyncio
import os
import signal
import struct
import sys
from typing import Any, cast

import pytest

from sampan.testing.dns import NXDOMAIN, REFUSED, SERVFAIL, SILENCE, FakeNameserver, Saying
from sampan.upstream.nameserver import Nameserver, NameserverError, read_answer

BOTH = ["192.0.2.7", "192.0.2.8", "2001:db8::7"]


async def test_all_addresses_of_a_name_come_with_those_of_ipv4_first() -> None:
    async with FakeNameserver({"Mirror.example": BOTH}) as fake:
        asked = Nameserver(fake.host, fake.port)
        assert await asked.addresses("mirror.example") == tuple(BOTH)
        assert sorted(fake.asked) == [("mirror.example", "A"), ("mirror.example", "AAAA")]


async def test_a_name_of_one_family_is_a_name_with_addresses() -> None:
    async with FakeNameserver({"six.example": ["2001:db8::1"]}) as fake:
        assert await Nameserver(fake.host, fake.port).addresses("six.example") == ("2001:db8::1",)


@pytest.mark.parametrize(
    ("said", "why"),
    [(NXDOMAIN, "NXDOMAIN"), (SERVFAIL, "SERVFAIL"), (REFUSED, "REFUSED"), ([], "no address")],
)
async def test_why_there_are_no_addresses_is_told(said: Saying, why: str) -> None:
    async with FakeNameserver({"dead.example": said}) as fake:
        with pytest.raises(NameserverError, match=f"^{why}$"):
            await Nameserver(fake.host, fake.port).addresses("dead.example")


async def test_a_port_where_nothing_listens_is_told_at_once() -> None:
    async with FakeNameserver() as fake:
        port = fake.port
    with pytest.raises(NameserverError, match="nothing listens there"):
        await Nameserver("127.0.0.1", port).addresses("mirror.example")


@pytest.mark.parametrize(
    "name", ["a..example", "x" * 64 + ".example", "", ".".join(["x" * 60] * 5), "mirror\N{SNOWMAN}.example"]
)
async def test_what_cannot_be_asked_for_is_no_name(name: str) -> None:
    async with FakeNameserver() as fake:
        with pytest.raises(NameserverError, match="not a name"):
            await Nameserver(fake.host, fake.port).addresses(name)
        assert fake.asked == []


class Forgetful(FakeNameserver):
    """Loses the first packet of each kind."""

    def answer(self, data: bytes) -> bytes | None:
        before = set(self.asked)
        reply = super().answer(data)
        return None if self.asked[-1] not in before else reply


async def test_a_packet_that_is_lost_is_sent_again() -> None:
    async with Forgetful({"mirror.example": BOTH}) as fake:
        asked = Nameserver(fake.host, fake.port, ask_seconds=0.4)
        assert await asked.addresses("mirror.example") == tuple(BOTH)


async def test_silence_is_told_in_time() -> None:
    async with FakeNameserver(otherwise=SILENCE) as fake:
        with pytest.raises(NameserverError, match=r"^no answer$"):
            await Nameserver(fake.host, fake.port, ask_seconds=0.1).addresses("mirror.example")
        assert len(fake.asked) == 4  # twice, for each kind


class Babble(asyncio.DatagramProtocol):
    """Answers with the number of the question and bytes of no meaning."""

    def __init__(self, rest: bytes) -> None:
        self._rest = rest

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._transport.sendto(b"\0\0" + self._rest, addr)
        self._transport.sendto(data[:2] + self._rest, addr)


@pytest.mark.parametrize(
    "rest",
    [
        struct.pack("!5H", 0x8180, 1, 1, 0, 0),
        struct.pack("!5H", 0x8180, 0, 60000, 0, 0) + b"\x3f" * 300,
        struct.pack("!5H", 0x0180, 1, 1, 0, 0) + b"\0" * 40,
        struct.pack("!5H", 0x8180, 0, 1, 0, 0) + b"\xc0",
    ],
)
async def test_an_answer_that_cannot_be_read_is_an_error_of_ours(rest: bytes) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Babble(rest), local_addr=("127.0.0.1", 0))
    try:
        with pytest.raises(NameserverError, match="cannot be read"):
            await Nameserver(*transport.get_extra_info("sockname")).addresses("mirror.example")
    finally:
        transport.close()


def test_records_of_other_kinds_are_passed_over() -> None:
    alias = b"\x05other\0" + struct.pack("!HHIH", 5, 1, 60, 2) + b"\xc0\x0c"
    address = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + bytes([192, 0, 2, 1])
    packet = struct.pack("!6H", 1, 0x8180, 0, 2, 0, 0) + alias + address
    assert read_answer(packet, 1) == ["192.0.2.1"]


async def test_it_runs_in_a_process_of_its_own() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "sampan.testing.dns", "mirror.example=127.0.0.9,::1", "dead.example=SERVFAIL"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ},
    )
    try:
        assert process.stdout is not None
        host, _, port = (await process.stdout.readline()).decode().strip().rpartition(":")
        nameserver = Nameserver(host, int(port), ask_seconds=30.0)  # it shares the machine with other tests
        assert await nameserver.addresses("mirror.example") == ("127.0.0.9", "::1")
        with pytest.raises(NameserverError, match="SERVFAIL"):
            await nameserver.addresses("dead.example")
    finally:
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
