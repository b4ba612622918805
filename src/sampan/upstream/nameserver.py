"""One nameserver, asked by itself: what it says the addresses of a name are.

The machine's own resolver says one thing only: that an answer is forged, or one of several servers dead,
shows when each is asked apart. Guarantees that whatever comes back, it is addresses or a
:class:`NameserverError`, within a time. UDP alone: addresses of a name fit into one packet.
"""

from __future__ import annotations

import asyncio
import secrets
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

PORT = 53
ASK_SECONDS = 2.0  # a resolver that takes longer is as good as none
SENDINGS = 2
RECORDS_MAX = 64  # of one answer; what is beyond is not read
LABEL_BYTES_MAX, NAME_BYTES_MAX = 63, 253
_A, _AAAA, _IN = 1, 28, 1
_QUERY = 0x0100  # recursion desired
_RESPONSE, _CODE = 0x8000, 0x000F
_CODES = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
_SIZES = {_A: 4, _AAAA: 16}


class NameserverError(Exception):
    """No addresses, and why: ``NXDOMAIN``, ``SERVFAIL``, ``no answer`` and the like."""


@dataclass(frozen=True, slots=True)
class Nameserver:
    """``address`` of a nameserver as resolv.conf has it; it is given up after ``ask_seconds``."""

    address: str
    port: int = PORT
    ask_seconds: float = ASK_SECONDS

    def __str__(self) -> str:
        if self.port == PORT:
            return self.address
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    async def addresses(self, name: str) -> tuple[str, ...]:
        """The addresses of ``name``, IPv4 first. Raises NameserverError when there are none."""
        results = await asyncio.gather(self._ask(name, _A), self._ask(name, _AAAA), return_exceptions=True)
        found: list[str] = []
        for result in results:
            if isinstance(result, list):
                found += result
            elif not isinstance(result, NameserverError):
                raise result
        if found:
            return tuple(dict.fromkeys(found))
        problems = [result for result in results if isinstance(result, NameserverError)]
        raise problems[0] if problems else NameserverError("no address")

    async def _ask(self, name: str, kind: int) -> list[str]:
        loop = asyncio.get_running_loop()
        number = secrets.randbelow(0x10000)
        try:
            asked = question(name, kind, number)
        except ValueError:
            raise NameserverError("not a name that can be asked for") from None
        try:
            transport, asking = await loop.create_datagram_endpoint(
                lambda: _Asking(number, kind), remote_addr=(self.address, self.port)
            )
        except OSError as error:
            raise NameserverError("no way there") from error
        try:
            for _ in range(SENDINGS):  # a packet may be lost
                transport.sendto(asked)
                await asyncio.wait([asking.answer], timeout=self.ask_seconds / SENDINGS)
                if asking.answer.done():
                    return asking.answer.result()
            raise NameserverError("no answer")
        finally:
            transport.close()


class _Asking(asyncio.DatagramProtocol):
    def __init__(self, number: int, kind: int) -> None:
        self._number, self._kind = number, kind
        self.answer: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, _: object) -> None:
        if self.answer.done() or len(data) < 12 or data[:2] != struct.pack("!H", self._number):
            return  # not the answer to this question
        try:
            self.answer.set_result(read_answer(data, self._kind))
        except NameserverError as error:
            self.answer.set_exception(error)
        except (ValueError, IndexError, struct.error):
            self.answer.set_exception(NameserverError("an answer that cannot be read"))

    def error_received(self, _: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(NameserverError("refused: nothing listens there"))


def question(name: str, kind: int, number: int) -> bytes:
    """The packet that asks for the records of ``name`` (RFC 1035, section 4). Raises ValueError."""
    labels = name.rstrip(".").encode("ascii").split(b".")
    if not all(1 <= len(label) <= LABEL_BYTES_MAX for label in labels) or len(name) > NAME_BYTES_MAX:
        raise ValueError("not a name of DNS")
    asked = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return struct.pack("!6H", number, _QUERY, 1, 0, 0, 0) + asked + struct.pack("!2H", kind, _IN)


def read_answer(data: bytes, kind: int) -> list[str]:
    """The addresses in a packet. Raises NameserverError for one that says that there are none."""
    _, flags, questions, answers, _, _ = struct.unpack_from("!6H", data)
    if not flags & _RESPONSE:
        raise NameserverError("an answer that cannot be read")
    if flags & _CODE:
        raise NameserverError(_CODES.get(flags & _CODE, f"RCODE {flags & _CODE}"))
    position, found = 12, []
    for _ in range(questions):
        position = _after_name(data, position) + 4
    for _ in range(min(answers, RECORDS_MAX)):
        position = _after_name(data, position)
        record, _, _, size = struct.unpack_from("!HHIH", data, position)
        position += 10
        if record == kind and size == _SIZES[kind]:
            found.append(_address(data[position : position + size]))
        position += size
    return found


def _address(packed: bytes) -> str:
    return str(IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed))


def _after_name(data: bytes, position: int) -> int:
    """Where the name at ``position`` ends: at a zero, or at a pointer to the rest of it."""
    while (length := data[position]) != 0:
        if length >= 0xC0:
            return position + 2
        position += 1 + length
    return position + 1


def is_nameserver(text: str) -> bool:
    """Whether ``text`` is an address as resolv.conf has it."""
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
