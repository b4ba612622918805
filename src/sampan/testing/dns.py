"""A nameserver on loopback that says what it is told to: addresses, that there are none, errors, or nothing.

    async with FakeNameserver({"mirror.example": ["127.0.0.2", "::1"]}) as nameserver:
        nameserver.say("dead.example", NXDOMAIN)
        ...
        assert nameserver.asked == [("mirror.example", "A"), ("mirror.example", "AAAA")]

It answers questions for A and AAAA records by UDP, everything else with no records. In a network namespace of
one's own it can have port 53, and be what resolv.conf names; ``python -m sampan.testing.dns`` is one in a
process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import struct
from collections.abc import Mapping, Sequence
from enum import Enum
from ipaddress import ip_address
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

TTL_SECONDS = 0  # nobody is to remember it
_KINDS = {1: "A", 28: "AAAA"}
_VERSIONS = {"A": 4, "AAAA": 6}
_HEAD = struct.Struct("!6H")


class Saying(Enum):
    """An answer without addresses; the value is DNS's code for it (``SILENCE``: there is no answer)."""

    SERVFAIL = 2
    NXDOMAIN = 3
    REFUSED = 5
    SILENCE = -1


SERVFAIL, NXDOMAIN, REFUSED, SILENCE = Saying.SERVFAIL, Saying.NXDOMAIN, Saying.REFUSED, Saying.SILENCE
Answers = Sequence[str] | Saying


class FakeNameserver(asyncio.DatagramProtocol):
    """Answers on ``host``:``port`` (0: any free port) from ``__aenter__`` to ``__aexit__``.

    ``names``: name -> addresses, or what is said in place of them. ``otherwise``: what is said of all other
    names. ``asked``: the questions so far, names in lower case.
    """

    def __init__(
        self,
        names: Mapping[str, Answers] | None = None,
        *,
        otherwise: Answers = NXDOMAIN,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.host = host
        self.port = port
        self.asked: list[tuple[str, str]] = []
        self._otherwise = otherwise
        self._names: dict[str, Answers] = {}
        self._transport: asyncio.DatagramTransport | None = None
        for name, answers in (names or {}).items():
            self.say(name, answers)

    def say(self, name: str, answers: Answers) -> None:
        """From now on ``name`` has these addresses, or is answered so."""
        self._names[name.lower().rstrip(".")] = answers

    def forget(self) -> None:
        """No name is known any more, and nothing was asked."""
        self._names.clear()
        self.asked.clear()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(self.host, self.port))
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._transport is not None:
            self._transport.close()
            await asyncio.sleep(0)  # the socket is closed one turn later

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = self.answer(data)
        if reply is not None and self._transport is not None:
            self._transport.sendto(reply, addr)

    def answer(self, data: bytes) -> bytes | None:
        """The packet that answers the packet ``data``; None: nothing does."""
        number = _HEAD.unpack_from(data)[0]
        name, end = _name_in(data)
        (code,) = struct.unpack_from("!H", data, end)
        kind = _KINDS.get(code, "other")
        self.asked.append((name, kind))
        said = self._names.get(name, self._otherwise)
        if said is SILENCE:
            return None
        question = data[_HEAD.size : end + 4]
        if isinstance(said, Saying):
            return _HEAD.pack(number, 0x8180 | said.value, 1, 0, 0, 0) + question
        records = [_record(code, one) for one in said if ip_address(one).version == _VERSIONS.get(kind)]
        return _HEAD.pack(number, 0x8180, 1, len(records), 0, 0) + question + b"".join(records)


def _name_in(data: bytes) -> tuple[str, int]:
    """The name that is asked for, and where it ends."""
    labels, position = [], _HEAD.size
    while (length := data[position]) != 0:
        labels.append(data[position + 1 : position + 1 + length].decode("ascii", "replace").lower())
        position += 1 + length
    return ".".join(labels), position + 1


def _record(code: int, address: str) -> bytes:
    """One address, its name a pointer to that of the question (RFC 1035, section 4.1.4)."""
    packed = ip_address(address).packed
    return struct.pack("!HHHIH", 0xC000 | _HEAD.size, code, 1, TTL_SECONDS, len(packed)) + packed


def main() -> None:
    """``python -m sampan.testing.dns --port 53 mirror.example=127.0.0.2 dead.example=NXDOMAIN``"""
    parser = argparse.ArgumentParser(prog="python -m sampan.testing.dns", description=main.__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--otherwise", default="NXDOMAIN", help="for all other names")
    said = "|".join(Saying.__members__)
    parser.add_argument("names", nargs="*", metavar=f"NAME=ADDRESS[,ADDRESS]|{said}")
    options = parser.parse_args()
    names = {name: _answers(said) for name, _, said in (word.partition("=") for word in options.names)}
    otherwise = _answers(options.otherwise)
    asyncio.run(_serve(FakeNameserver(names, otherwise=otherwise, host=options.host, port=options.port)))


def _answers(text: str) -> Answers:
    return Saying[text] if text in Saying.__members__ else text.split(",")


async def _serve(nameserver: FakeNameserver) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with nameserver:
        print(f"{nameserver.host}:{nameserver.port}", flush=True)
        await stop.wait()


if __name__ == "__main__":
    main()
