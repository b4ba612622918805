"""One request as a value: what is to be sent, wherever redirects lead, how long it may take, and by which way
each hop is reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from sampan.upstream.proxies import Proxy
    from sampan.upstream.tls import TlsOptions

FIRST_BYTE_SECONDS = 10.0
READ_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Call:
    """One request, to be made wherever redirects lead. ``headers`` go everywhere; ``authorization``
    only to the origin of the first URL. ``connected`` is called once, when a connection exists.
    ``content`` makes a body too large for ``body``, whose Content-Length is in ``headers``: while its
    pieces are taken, the time for the first byte of the answer begins anew with each. ``login``: it is for
    a token.
    """

    method: str
    headers: Mapping[str, str]
    authorization: str | None = None
    body: bytes | None = None
    first_byte_seconds: float = FIRST_BYTE_SECONDS
    read_seconds: float = READ_SECONDS
    connected: Callable[[], None] | None = None
    content: Callable[[], AsyncIterator[bytes]] | None = None
    login: bool = False


@dataclass(frozen=True, slots=True)
class Way:
    """How a hop is reached; hops with equal ways share a pool of connections."""

    tls: TlsOptions
    private: bool
    proxy: Proxy | None

    @property
    def proxy_url(self) -> str | None:
        """Of a proxy that speaks HTTP, with its secrets; None where there is no such proxy."""
        if self.proxy is None or self.proxy.scheme == "socks5":
            return None
        return self.proxy.reveal_url()
