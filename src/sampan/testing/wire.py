"""HTTP/1.1 as the fakes speak it: a request as it was read, a reply as it will be written.

A reply is written exactly as it stands: nothing is added, checked or corrected on the way out, so
that a fault can say one length and send another. It knows nothing of registries.
"""

from __future__ import annotations

import asyncio
import enum
import json
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from sampan.testing.body import Body

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sampan.testing.tap import Tap

REQUEST_BODY_BYTES_MAX = 1024 * 1024  # token requests are the only ones with a body
TLS_HANDSHAKE = b"\x16"  # how its first record begins
BEFORE_HEAD = -1  # a place in an answer: before its status line

Headers = tuple[tuple[str, str], ...]


class MalformedRequest(Exception):
    """The client did not speak HTTP."""


@dataclass(slots=True, eq=False)
class Request:
    """One request as it arrived, and what became of it: the record that tests look at.

    ``path`` is decoded, ``target`` is what stood in the request line. ``connection`` counts the
    server's connections from 1. What a registry path names is in ``kind``, ``name`` (the repository
    as in the path), ``repository`` (without the fake's prefix), ``tag`` and ``digest``. ``status``,
    ``bytes_sent`` (of the body), ``fault`` and ``finished`` are filled in while it is answered.
    """

    method: str
    target: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case; values of repeated ones joined with ", "
    version: str = "HTTP/1.1"
    body: bytes = b""
    connection: int = 0
    at: float = 0.0
    kind: str = "other"
    name: str = ""
    repository: str = ""
    tag: str | None = None
    digest: str | None = None
    status: int | None = None
    bytes_sent: int = 0
    fault: str | None = None
    finished: bool = False

    @property
    def keeps_alive(self) -> bool:
        """Whether the client wants to use the connection again."""
        wish = self.headers.get("connection", "").lower()
        return "keep-alive" in wish if self.version == "HTTP/1.0" else "close" not in wish

    def query_values(self, name: str) -> tuple[str, ...]:
        """Every value of a parameter that may be repeated, such as ``scope``."""
        pairs = parse_qsl(urlsplit(self.target).query, keep_blank_values=True)
        return tuple(value for key, value in pairs if key == name)


class Ending(enum.Enum):
    """What happens to the connection after the last byte that is sent."""

    KEEP = "keep"  # it waits for the next request
    CLOSE = "close"  # it is closed in good order
    RESET = "reset"  # RST, after what was sent has arrived
    STALL = "stall"  # silence until the peer goes away or the fake is closed


@dataclass(frozen=True, slots=True)
class Delivery:
    """How the bytes of a reply arrive. Places count bytes of the body; :data:`BEFORE_HEAD` is -1.

    ``stop_at``: nothing is sent beyond this place, then comes ``ending``. ``hold_at``: there the
    answer waits until ``gate`` is set. ``tap``: the body leaves as that lets it.
    """

    delay_seconds: float = 0.0
    bytes_per_second: float | None = None
    stop_at: int | None = None
    ending: Ending = Ending.KEEP
    hold_at: int | None = None
    gate: asyncio.Event | None = None
    tap: Tap | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. ``preface`` is written before the status line, whatever it is; ``whole`` is the
    answer that a part would have been without its Range.
    """

    status: int
    headers: Headers = ()
    body: Body = field(default_factory=Body)
    delivery: Delivery = Delivery()
    chunked: bool = False
    preface: bytes = b""
    version: str = "HTTP/1.1"
    reason: str | None = None
    whole: Reply | None = None

    def header(self, name: str) -> str | None:
        """The first value of a header, whatever the case of its name."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def without_header(self, name: str) -> Reply:
        """The same reply without that header."""
        return replace(self, headers=tuple(pair for pair in self.headers if pair[0].lower() != name.lower()))

    def with_header(self, name: str, value: str) -> Reply:
        """The same reply with that header, in place of any of that name."""
        bare = self.without_header(name)
        return replace(bare, headers=(*bare.headers, (name, value)))

    def with_body(self, body: Body) -> Reply:
        """The same reply with another body and the Content-Length that belongs to it."""
        return replace(self, body=body).with_header("Content-Length", str(body.size))

    def delivered(self, delivery: Delivery) -> Reply:
        """The same reply, its bytes arriving in another way."""
        return replace(self, delivery=delivery)

    def head(self) -> bytes:
        """The status line and the headers, as bytes; nothing when ``version`` is empty."""
        if not self.version:
            return b""
        reason = self.reason if self.reason is not None else _reason(self.status)
        lines = [
            f"{self.version} {self.status} {reason}",
            *(f"{key}: {value}" for key, value in self.headers),
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def encoded(self) -> bytes:
        """All of it, where it need not be delivered with care."""
        return self.head() + self.body.read()


def reply(
    status: int, data: bytes | Body = b"", content_type: str | None = None, headers: Headers = ()
) -> Reply:
    """A well-formed reply with its Content-Length."""
    body = Body.of(data) if isinstance(data, bytes) else data
    typed: Headers = (("Content-Type", content_type),) if content_type else ()
    return Reply(status, (*headers, *typed, ("Content-Length", str(body.size))), body)


def json_reply(status: int, document: object, headers: Headers = ()) -> Reply:
    """A JSON document."""
    return reply(status, json.dumps(document).encode(), "application/json", headers)


def error_reply(status: int, code: str, message: str, headers: Headers = ()) -> Reply:
    """The error document of the distribution spec ("Error Codes")."""
    return json_reply(status, {"errors": [{"code": code, "message": message, "detail": None}]}, headers)


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request of a connection; None when the client has gone.

    Raises MalformedRequest for what is not HTTP/1.x.
    """
    try:
        first = await reader.readexactly(1)
        if first == TLS_HANDSHAKE:  # nginx and Go's server answer it at once, as they do here
            raise MalformedRequest("a TLS handshake with a server that has no TLS")
        head = first + await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError as error:
        raise MalformedRequest("the request's head is too long") from error
    request = _parse_head(head)
    request.body = await _read_body(request, reader)
    return request


def _parse_head(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise MalformedRequest(f"not a request line: {first[:80]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise MalformedRequest(f"not a header: {line[:80]!r}")
        key = name.lower()
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    parts = urlsplit(words[1])
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return Request(words[0], words[1], unquote(parts.path), query, headers, words[2])


async def _read_body(request: Request, reader: asyncio.StreamReader) -> bytes:
    if "transfer-encoding" in request.headers:
        raise MalformedRequest("a request with a chunked body")
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > REQUEST_BODY_BYTES_MAX:
        raise MalformedRequest(f"a request with a body of {length[:20]} bytes")
    try:
        return await reader.readexactly(int(length))
    except asyncio.IncompleteReadError as error:
        raise MalformedRequest("a request that ends within its body") from error


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
