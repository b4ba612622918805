"""From a name to a connected socket: resolving within limits, the address guard, and time by phase.

Guarantee: no socket is made for an address that :mod:`sampan.upstream.addresses` refuses. The check
stands where the socket is made, with the very address that is dialled, so neither a name that
resolves differently the second time nor a literal address gets around it. Through a proxy the
address is the proxy's business and cannot be seen: then only literal addresses and ``localhost``
names are checked (:func:`check_destination`). Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from contextvars import ContextVar
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Protocol

from sampan.errors import Unreachable
from sampan.upstream.addresses import is_metadata, may_dial
from sampan.upstream.tls import CERTIFICATE_SHOWN, HANDSHAKE_BEGINS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sampan.upstream.trail import Hop
    from sampan.upstream.url import Url

CONNECT_SECONDS = 3.0  # name and TCP; three SYNs are out by then
TLS_SECONDS = 5.0
PROXY_SECONDS = 6.0  # the proxy's own connection, and the one that it makes for us
ADDRESSES_MAX = 4  # of each family: a name with a hundred addresses is not worth a hundred tries
LOOKUPS_MAX = 16  # at one time; a resolver that hangs holds a thread for up to half a minute


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the making of a connection may take: ``proxy_seconds`` in place of ``connect_seconds``
    when it goes through a proxy.
    """

    connect_seconds: float = CONNECT_SECONDS
    tls_seconds: float = TLS_SECONDS
    proxy_seconds: float = PROXY_SECONDS


AddressInfo = tuple[Any, Any, int, str, Any]  # as socket.getaddrinfo gives it


class BlockedAddress(OSError):
    """The address belongs to a network that this host must not lead us into."""

    def __init__(self, address: str) -> None:
        super().__init__(errno.EACCES, f"the address {address} is not public")
        self.address = address


@dataclass(slots=True)
class Dial:
    """How far one request has come; :meth:`enter` moves the deadline of ``limit`` with each phase.

    ``phase`` is one of ``resolve``, ``connect``, ``tls``, ``answer``; the first two share a deadline.
    ``hop`` is told of it, where somebody wants to know.
    """

    limit: asyncio.Timeout
    patience: Patience
    first_byte_seconds: float
    connected: Callable[[], None] | None = None
    hop: Hop | None = None
    phase: str = "resolve"
    reused: bool = False
    over: bool = False
    blocked: list[str] = field(default_factory=list)

    def enter(self, phase: str, seconds: float) -> None:
        self.phase = phase
        if not self.over:  # a handshake that lost a race may report late
            self.limit.reschedule(asyncio.get_running_loop().time() + seconds)
            if self.hop is not None:
                self.hop.enter(phase)

    def dialling(self, address: str) -> None:
        """A socket is made for ``address``, one of several maybe."""
        if self.phase == "resolve":
            self.phase = "connect"
        if self.hop is not None:
            self.hop.enter("connect")
            self.hop.dialled.append(address)

    def handshake_begins(self) -> None:
        """Called for every step of the handshake: the first one counts."""
        if self.phase in ("resolve", "connect"):
            self.enter("tls", self.patience.tls_seconds)

    def established(self, *, reused: bool) -> None:
        """A connection, new or reused, carries the request from here on."""
        self.reused = reused
        if self.hop is not None:
            self.hop.reused = reused
        self.enter("answer", self.first_byte_seconds)
        if self.connected is not None:
            self.connected()

    async def sending(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """``pieces`` of a long body, as they are: whoever still takes them is not silent."""
        async for piece in pieces:
            yield piece
            self.enter("answer", self.first_byte_seconds)


class Once:
    """A callback that is called at most once."""

    def __init__(self, callback: Callable[[], None] | None) -> None:
        self._callback = callback

    def __call__(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


DIAL: ContextVar[Dial | None] = ContextVar("DIAL", default=None)


def begin(dial: Dial) -> None:
    """Makes ``dial`` the one that this task's sockets and handshakes report to."""
    DIAL.set(dial)
    HANDSHAKE_BEGINS.set(dial.handshake_begins)
    CERTIFICATE_SHOWN.set(None if dial.hop is None else dial.hop.see)


def is_new_connection() -> bool:
    """To be asked when a :class:`Dial` of this task says ``connected``: whether that was made for it, and not
    kept open from before."""
    dial = DIAL.get()
    return dial is not None and not dial.reused


def guarded_socket(*, private: bool) -> Callable[[AddressInfo], socket.socket]:
    """What makes the sockets of a host: refuses (BlockedAddress) what the host may not lead to."""

    def make(info: AddressInfo) -> socket.socket:
        where = info[4]
        if not may_dial(ip_address(where[0]), private=private):
            dial = DIAL.get()
            if dial is not None:
                dial.blocked.append(where[0])
            raise BlockedAddress(where[0])
        return _socket(info)

    return make


def proxy_socket(info: AddressInfo) -> socket.socket:
    """The socket to a proxy: where it stands is the administrator's choice."""
    return _socket(info)


def check_destination(url: Url, *, private: bool) -> None:
    """Refuses (Unreachable) a URL that itself names an address which must not be dialled.

    For requests through a proxy this is all that can be checked; metadata services have no names
    of their own here, since a proxy may resolve any name to them.
    """
    if url.address is not None:
        if not may_dial(url.address, private=private):
            raise blocked(url, [str(url.address)])
    elif not private and (url.host == "localhost" or url.host.endswith(".localhost")):
        raise blocked(url, [url.host])


def blocked(url: Url, addresses: list[str]) -> Unreachable:
    """The error for a destination that was not dialled."""
    return Unreachable(
        f"{url.netloc}: not dialled, {', '.join(dict.fromkeys(addresses))} is not a public address",
        outcome="blocked-address",
        hint=_hint(addresses),
    )


def _hint(addresses: list[str]) -> str | None:
    try:
        parsed = [ip_address(address) for address in addresses]
    except ValueError:
        parsed = []  # a name of this machine
    if any(is_metadata(address) or not may_dial(address, private=True) for address in parsed):
        return None
    return "set private = true for a mirror in your own network"


class Names(Protocol):
    """What makes addresses of names."""

    async def resolve(
        self, host: str, port: int = 0, family: int = socket.AF_UNSPEC
    ) -> list[dict[str, str | int]]:
        """The addresses of ``host``, each as ``host``, with its ``family``. Raises OSError."""
        ...

    async def close(self) -> None: ...


class Resolver:
    """Names to addresses, within limits.

    Each lookup has a thread of its own that nobody waits for at exit: a resolver cannot be
    interrupted, and in the loop's own pool a few hanging ones would stop all work on the disk.
    """

    def __init__(self, *, lookups_max: int = LOOKUPS_MAX) -> None:
        self._slots = asyncio.Semaphore(lookups_max)

    async def resolve(
        self, host: str, port: int = 0, family: int = socket.AF_UNSPEC
    ) -> list[dict[str, str | int]]:
        """The addresses of ``host``, a few of each family, in the shape that the HTTP client wants.

        Raises OSError.
        """
        async with self._slots:
            loop = asyncio.get_running_loop()
            answer: asyncio.Future[list[AddressInfo]] = loop.create_future()
            threading.Thread(target=_resolve, args=(loop, answer, host, port), daemon=True).start()
            infos = await answer
        found = _few(infos, family)
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "the name has no address")
        same: dict[str, str | int] = {"hostname": host, "port": port, "proto": 0, "flags": 0}
        return [{**same, "host": address, "family": of} for address, of in found]

    async def close(self) -> None:
        """Nothing is held."""


def _few(infos: list[AddressInfo], wanted: int) -> list[tuple[str, int]]:
    found: dict[int, list[str]] = {socket.AF_INET: [], socket.AF_INET6: []}
    for family, _, _, _, where in infos:
        addresses = found.get(family)
        if wanted not in (socket.AF_UNSPEC, family) or addresses is None:
            continue
        if where[0] not in addresses and len(addresses) < ADDRESSES_MAX:
            addresses.append(where[0])
    return [(address, family) for family, addresses in found.items() for address in addresses]


def _resolve(
    loop: asyncio.AbstractEventLoop, answer: asyncio.Future[list[AddressInfo]], host: str, port: int
) -> None:
    result: list[AddressInfo] | OSError
    try:
        result = list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except OSError as error:
        result = error
    except UnicodeError:
        result = socket.gaierror(socket.EAI_NONAME, "not a name that can be resolved")

    def tell() -> None:
        if answer.done():
            return
        if isinstance(result, OSError):
            answer.set_exception(result)
        else:
            answer.set_result(result)

    try:
        loop.call_soon_threadsafe(tell)
    except RuntimeError:
        pass  # the loop was closed in the meantime: nobody waits any more


def _socket(info: AddressInfo) -> socket.socket:
    dial = DIAL.get()
    if dial is not None:
        dial.dialling(info[4][0])
    made = socket.socket(*info[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return made
