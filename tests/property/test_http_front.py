"""Whatever bytes a client sends, in whatever pieces and at whatever pace: what is no request is never taken
for one, requests are answered in their order, and nobody holds a connection for longer than a head has time.

The first is a differential: beside the server the same bytes are read by the strictest reader that there can
be, and the server may know fewer requests than that one, but no others.
"""

from __future__ import annotations

import asyncio
import contextlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.mirror import FakeMirror
from serving.wire import Connection, connected, running

pytestmark = pytest.mark.standstill

HEAD_SECONDS = 30.0
ALPINE = "/v2/library/alpine/manifests/"
LINE = re.compile(rb"(GET|HEAD|POST|PUT) (\S+) HTTP/1\.[01]")
TOKEN, SEEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", rb"[\x21-\x7e\x80-\xff]"
FIELD = re.compile(rb"(%b):[ \t]*((?:%b(?:[\t\x20-\x7e\x80-\xff]*%b)?)?)[ \t]*" % (TOKEN, SEEN, SEEN))
CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})(?:;[\x21-\x7e]*)?\r\n")


def certain(raw: bytes) -> list[str]:
    """The targets of the requests in ``raw`` which nobody could read otherwise, up to the first doubt."""
    found: list[str] = []
    while True:
        raw = raw.lstrip(b"\r\n")  # empty lines before a request are passed over (RFC 9112, 2.2)
        head, end, rest = raw.partition(b"\r\n\r\n")
        line, *fields = head.split(b"\r\n")
        asked = LINE.fullmatch(line)
        parsed = [FIELD.fullmatch(field) for field in fields]
        if not end or asked is None or not all(parsed):
            return found
        values: dict[bytes, list[bytes]] = {}
        for field in parsed:
            assert field is not None
            values.setdefault(field[1].lower(), []).append(field[2])
        found.append(asked[2].decode())
        after = _behind_the_body(values, rest)
        if after is None:
            return found
        raw = after


def _behind_the_body(values: dict[bytes, list[bytes]], rest: bytes) -> bytes | None:
    """What follows the body; None: it does not end, or two readers may see its end in two places."""
    lengths, codings = values.get(b"content-length", []), values.get(b"transfer-encoding", [])
    if lengths and codings:
        return None
    if codings:
        return _behind_chunks(rest) if [coding.lower() for coding in codings] == [b"chunked"] else None
    if not lengths:
        return rest
    if len(lengths) > 1 or not re.fullmatch(rb"[0-9]{1,9}", lengths[0]) or int(lengths[0]) > len(rest):
        return None
    return rest[int(lengths[0]) :]


def _behind_chunks(rest: bytes) -> bytes | None:
    while (chunk := CHUNK.match(rest)) is not None:
        size = int(chunk[1], 16)
        rest = rest[chunk.end() + size :]
        if not rest.startswith(b"\r\n"):
            return None
        rest = rest[2:]
        if size == 0:
            return rest
    return None


FIELDS = [
    b"Host: x", b"Host: y", b"Content-Length: 0", b"Content-Length: 5", b"Content-Length: 70",
    b"Content-Length: +5", b"Content-Length: 5, 5", b"Content-Length : 5", b"Content-Length:\r\n 5",
    b"content-length: 0x5", b"Content-Length: 05", b"Transfer-Encoding: chunked", b"Transfer-Encoding: x",
    b"Transfer-Encoding: chunked, gzip", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: CHUNKED",
    b"Transfer-Encoding:\x0bchunked", b"Transfer-Encoding: identity", b"Connection: keep-alive",
    b"Connection: close", b"Expect: 100-continue", b"Upgrade: h2c", b"A: b", b"A", b": b", b"A: \xff", b"A:",
]  # fmt: skip
LINES = [f"{method} {ALPINE}{tag} HTTP/1.1".encode() for method in ("GET", "POST") for tag in "abc"]
LINES += [f"GET {ALPINE}d HTTP/1.0".encode(), b"PRI * HTTP/2.0", b"GET", b""]
CHUNKS = [
    b"0\r\n\r\n", b"5\r\nabcde\r\n", b"5;a=b\r\nabcde\r\n", b"0\r\nX: y\r\n\r\n", b"-1\r\n",
    b"f" * 16 + b"\r\n",
    b"abcde", b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t",
]  # fmt: skip
PIECES = st.sampled_from([*(line + b"\r\n" for line in (*LINES, *FIELDS)), *CHUNKS])
WHOLE = f"GET {ALPINE}whole HTTP/1.1\r\nHost: x\r\n\r\n".encode()
STREAMS = st.tuples(
    st.lists(PIECES, max_size=12).map(b"".join), st.lists(PIECES, max_size=8).map(b"".join)
).map(lambda parts: parts[0] + WHOLE + parts[1] + WHOLE)


async def answered(connection: Connection) -> list[int]:
    """The status of each answer, to the end of the connection."""
    found = []
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, TimeoutError):
        while True:
            found.append((await connection.receive()).status)
    return found


@settings(max_examples=300)
@given(STREAMS)
async def test_no_request_is_seen_where_another_reader_sees_none(raw: bytes) -> None:
    mirror = FakeMirror()
    async with running(mirror) as server, connected(server) as connection:
        with contextlib.suppress(ConnectionError):
            await connection.send(raw)
            connection.writer.write_eof()
        statuses = await answered(connection)
    asked = [f"{ALPINE}{tag}" for _, _, _, tag in mirror.asked]
    known = [target for target in certain(raw) if target.startswith(ALPINE)]
    assert asked == known[: len(asked)], (known, statuses)
    assert all(status in (200, 400, 404, 405, 431) for status in statuses)


def test_the_strict_reader_reads_what_is_right() -> None:
    """Were it to refuse all, the property above would hold for nothing."""
    with_body = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    chunked = b"POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    assert certain(with_body + chunked + WHOLE + b"junk") == ["/a", "/b", f"{ALPINE}whole"]


REQUESTS = st.lists(
    st.sampled_from(
        [("GET", f"{ALPINE}3", 200), ("HEAD", f"{ALPINE}3", 200), ("GET", "/healthz", 200), ("GET", "/", 404),
         ("GET", f"{ALPINE}none", 404), ("GET", "/v2/A/manifests/3", 400), ("GET", "/v2/", 200)]
    ),
    min_size=1, max_size=30,
)  # fmt: skip


@given(REQUESTS, st.lists(st.integers(1, 200), max_size=40))
async def test_requests_are_answered_in_their_order_however_they_are_cut(
    requests: list[tuple[str, str, int]], cuts: list[int]
) -> None:
    raw = b"".join(
        f"{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for method, target, _ in requests
    )
    async with running(FakeMirror()) as server, connected(server) as connection:
        for cut in cuts:
            await connection.send(raw[:cut])
            raw = raw[cut:]
            await asyncio.sleep(0)
        await connection.send(raw)
        for method, target, status in requests:
            answer = await connection.receive(is_head=method == "HEAD")
            assert (answer.status, answer.complete) == (status, True), target


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 12)), min_size=1, max_size=8))
async def test_a_head_has_half_a_minute_at_whatever_pace_it_comes(pieces: list[tuple[int, int]]) -> None:
    raw = f"GET {ALPINE}3 HTTP/1.1\r\nHost: x\r\nA: {'b' * 150}\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    async with running(FakeMirror()) as server, connected(server) as connection:
        began = loop.time()
        for count, seconds in pieces:
            with contextlib.suppress(ConnectionError):
                await connection.send(raw[:count])
            raw = raw[count:]
            await asyncio.sleep(seconds)
        took = loop.time() - began
        if took < HEAD_SECONDS - 1.0:
            await connection.send(raw)
            assert (await connection.receive()).status == 200
        elif took > HEAD_SECONDS + 1.0:
            assert await connection.is_closed()
