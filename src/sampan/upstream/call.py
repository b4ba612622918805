"""One request as a value: what is to be sent, wherever redirects lead, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

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
