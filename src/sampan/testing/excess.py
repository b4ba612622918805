"""What can be too much of an answer: headers, interim answers, pages, bytes that unpack to more.

They are part of :mod:`sampan.testing.faults`, where everybody looks for them.
"""

from __future__ import annotations

import gzip
from dataclasses import replace
from typing import TYPE_CHECKING

from sampan.testing.body import Body
from sampan.testing.fault import Fault
from sampan.testing.match import Match

if TYPE_CHECKING:
    from sampan.testing.wire import Reply, Request

HUGE_HEADER_BYTES = 100 * 1024
MANY_HEADERS = 10_000
MANY_INTERIM = 1_000
BOMB_BYTES = 64 * 1024 * 1024


def endless_pages() -> Fault:
    """The right page of a list, and a Link to a next one that nobody has seen yet."""

    def change(request: Request, right: Reply) -> Reply:
        number = int(request.query.get("page", "0")) + 1
        return right.with_header("Link", f'<{request.path}?page={number}>; rel="next"')

    return Fault("endless pages", change, Match(kind="tags"))


def gzip_bomb(size_bytes: int = BOMB_BYTES) -> Fault:
    """A body that unpacks to ``size_bytes`` of nothing, with Content-Encoding."""
    packed = Body.of(gzip.compress(bytes(size_bytes), mtime=0))
    return Fault(
        "gzip bomb", lambda _request, right: right.with_body(packed).with_header("Content-Encoding", "gzip")
    )


def huge_header(size_bytes: int = HUGE_HEADER_BYTES) -> Fault:
    """One header of ``size_bytes``."""
    return Fault("huge header", lambda _request, right: right.with_header("X-Huge", "x" * size_bytes))


def many_headers(count: int = MANY_HEADERS) -> Fault:
    """``count`` more headers."""
    extra = tuple((f"X-Many-{number}", "x") for number in range(count))
    return Fault("many headers", lambda _request, right: replace(right, headers=(*right.headers, *extra)))


def long_status_line(size_bytes: int = HUGE_HEADER_BYTES) -> Fault:
    """A reason phrase of ``size_bytes``."""
    return Fault("long status line", lambda _request, right: replace(right, reason="x" * size_bytes))


def interim_flood(count: int = MANY_INTERIM) -> Fault:
    """``count`` times 103 before the answer."""
    flood = b"HTTP/1.1 103 Early Hints\r\n\r\n" * count
    return Fault("interim flood", lambda _request, right: replace(right, preface=flood))
