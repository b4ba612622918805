"""What can be wrong with an answer: one small constructor for each way, to be given to ``script``.

None of them does anything before it is scripted. How they make up the catalogue of faults is in
:mod:`sampan.testing.catalogue`.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from sampan.testing.body import Body
from sampan.testing.excess import endless_pages as endless_pages
from sampan.testing.excess import gzip_bomb as gzip_bomb
from sampan.testing.excess import huge_header as huge_header
from sampan.testing.excess import interim_flood as interim_flood
from sampan.testing.excess import long_status_line as long_status_line
from sampan.testing.excess import many_headers as many_headers
from sampan.testing.fault import WITH_BODY, Fault
from sampan.testing.images import random_bytes
from sampan.testing.match import Match
from sampan.testing.wire import BEFORE_HEAD, Delivery, Ending, Reply, Request, error_reply, reply

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from sampan.testing.images import Content

UNREACHABLE_URL = "http://127.0.0.1:1"  # nothing listens on the port of the long dead tcpmux
LYING_DIGEST = "sha256:" + "00" * 32
HTML_PAGE = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>Please log in.</body></html>\n"
ALLOW_LIST_MESSAGE = "this image is not in the allowlist"
CUT_OFF_BYTES_PER_SECOND = 20_000_000
CODES = {
    401: "UNAUTHORIZED",
    403: "DENIED",
    404: "MANIFEST_UNKNOWN",
    405: "UNSUPPORTED",
    429: "TOOMANYREQUESTS",
}


# -- another answer ---------------------------------------------------------------------------------


def status(code: int, message: str = "no", *, headers: Mapping[str, str] | None = None) -> Fault:
    """An error status with the spec's JSON."""
    answer = error_reply(code, CODES.get(code, "UNKNOWN"), message, tuple((headers or {}).items()))
    return Fault(f"status {code}", lambda _request, _reply: answer)


def page(code: int = 200, data: bytes = HTML_PAGE, content_type: str = "text/html; charset=utf-8") -> Fault:
    """A web page, or any other text, as portals, challenges and parked domains give it."""
    return Fault(f"page {code}", lambda _request, _reply: reply(code, data, content_type))


def denied() -> Fault:
    """403 with the words of a mirror that has an allow-list."""
    return status(403, ALLOW_LIST_MESSAGE)


def rate_limited(retry_after: str | None = None) -> Fault:
    """429; ``retry_after`` is sent as it stands."""
    return replace(
        status(429, "too many requests", headers={} if retry_after is None else {"Retry-After": retry_after}),
        name="rate limited",
    )


def unauthorized(*challenges: str) -> Fault:
    """401 with these WWW-Authenticate headers, whatever credentials came."""
    lines = tuple(("WWW-Authenticate", challenge) for challenge in challenges)
    return Fault("unauthorized", lambda _request, _reply: error_reply(401, "UNAUTHORIZED", "log in", lines))


def bearer_at(realm: str, service: str = "fake") -> Fault:
    """401 that sends the client to ``realm`` for a token that will never do."""

    def change(request: Request, _reply: Reply) -> Reply:
        challenge = f'Bearer realm="{realm}",service="{service}",scope="repository:{request.name}:pull"'
        return error_reply(401, "UNAUTHORIZED", "log in", (("WWW-Authenticate", challenge),))

    return Fault("bearer", change)


def error_document_with_200() -> Fault:
    """200 with an error document in place of what was asked for."""
    document = json.dumps({"errors": [{"code": "UNKNOWN", "message": "internal"}]}).encode()
    return replace(page(200, document, "application/json"), name="200 error document")


def redirect(location: str | None, code: int = 307) -> Fault:
    """A redirect to ``location``; None: without a Location at all."""
    headers = () if location is None else (("Location", location),)
    return Fault(f"redirect {code}", lambda _request, _reply: reply(code, headers=headers))


def redirect_to(base_url: str, code: int = 307) -> Fault:
    """A redirect to the same path and query on another server."""
    return Fault(
        f"redirect {code}",
        lambda request, _reply: reply(code, headers=(("Location", base_url + request.target),)),
    )


def redirect_hops(hops: int, code: int = 307) -> Fault:
    """``hops`` redirects from here to here, then the right answer; more than anyone follows: a loop."""

    def change(request: Request, right: Reply) -> Reply:
        done = int(request.query.get("hop", "0"))
        if done >= hops:
            return right
        return reply(code, headers=(("Location", f"{request.path}?hop={done + 1}"),))

    return Fault(f"{hops} redirects", change)


def answer_with(content: Content, name: str = "other content") -> Fault:
    """Other content than was asked for, in itself well formed, under its own digest."""

    def change(_request: Request, _reply: Reply) -> Reply:
        headers = (("Docker-Content-Digest", content.digest),)
        return reply(200, content.body, content.media_type, headers)

    return Fault(name, change)


def stale(content: Content) -> Fault:
    """Tags answer with an older manifest."""
    return replace(answer_with(content, "stale tag"), on=Match(kind="manifest", tagged=True))


# -- headers and framing ----------------------------------------------------------------------------


def header(name: str, value: str) -> Fault:
    """The right answer with one header set to ``value``."""
    return Fault(f"{name} changed", lambda _request, right: right.with_header(name, value))


def no_header(name: str) -> Fault:
    """The right answer without one header."""
    return Fault(f"no {name}", lambda _request, right: right.without_header(name))


def lying_digest(digest: str = LYING_DIGEST) -> Fault:
    """A Docker-Content-Digest that is not that of the body."""
    return replace(header("Docker-Content-Digest", digest), name="lying digest")


def json_fields(**values: object) -> Fault:
    """A JSON document with some fields set to other values; None takes a field away."""

    def change(_request: Request, right: Reply) -> Reply:
        document = json.loads(right.body.read()) | values
        kept = {key: value for key, value in document.items() if value is not None}
        return right.with_body(Body.of(json.dumps(kept).encode()))

    return Fault(f"json {', '.join(values)}", change, Match(method="GET"))


def gzip_encoded() -> Fault:
    """The body as gzip with Content-Encoding, though nobody asked for it."""

    def change(_request: Request, right: Reply) -> Reply:
        packed = Body.of(gzip.compress(right.body.read(), mtime=0))
        return right.with_body(packed).with_header("Content-Encoding", "gzip")

    return Fault("gzip", change)


def chunked() -> Fault:
    """A chunked body, so no Content-Length."""
    return Fault(
        "chunked",
        lambda _request, right: replace(
            right.without_header("Content-Length").with_header("Transfer-Encoding", "chunked"), chunked=True
        ),
    )


def http_1_0() -> Fault:
    """HTTP/1.0 without a Content-Length: the end of the connection ends the body."""
    return Fault(
        "http/1.0",
        lambda _request, right: replace(right.without_header("Content-Length"), version="HTTP/1.0"),
    )


def lower_case_headers() -> Fault:
    """Every header's name in lower case."""
    return Fault(
        "lower-case headers",
        lambda _request, right: replace(
            right, headers=tuple((key.lower(), value) for key, value in right.headers)
        ),
    )


def second_header(name: str, value: str) -> Fault:
    """The right answer with one more header line, also if there is one of that name already."""
    return Fault(
        f"second {name}", lambda _request, right: replace(right, headers=(*right.headers, (name, value)))
    )


def status_line(code: int) -> Fault:
    """The right headers and body under another status."""
    return Fault(f"status line {code}", lambda _request, right: replace(right, status=code))


def gibberish(data: bytes = b"\x15\x03\x01\x00\x02\x02\x50SSH-2.0-OpenSSH_9.6\r\n") -> Fault:
    """Bytes that are no HTTP, then the end of the connection."""
    ends = Delivery(ending=Ending.CLOSE)
    return Fault(
        "gibberish", lambda _request, _reply: Reply(200, preface=data, version="", reason="", delivery=ends)
    )


# -- the body ---------------------------------------------------------------------------------------


def flipped_bit(at: int | None = None) -> Fault:
    """One bit of the body is wrong: at byte ``at``, or in the middle."""

    def change(_request: Request, right: Reply) -> Reply:
        size = right.body.size
        where = min(size // 2 if at is None else at, size - 1)
        wrong = bytes([right.body.slice(where, where + 1).read()[0] ^ 1]) if size else b""
        return replace(
            right, body=right.body.slice(0, where) + Body.of(wrong) + right.body.slice(where + 1, size)
        )

    return Fault("flipped bit", change, WITH_BODY)


def substituted(seed: int = 666) -> Fault:
    """Other bytes of the same length."""

    def change(_request: Request, right: Reply) -> Reply:
        return replace(right, body=Body.of(random_bytes(seed, right.body.size)))

    return Fault("substituted", change, WITH_BODY)


def short_by(count: int = 10) -> Fault:
    """The last ``count`` bytes are missing, and Content-Length agrees with that."""
    return Fault(
        f"{count} bytes short",
        lambda _request, right: right.with_body(right.body.slice(0, max(0, right.body.size - count))),
        WITH_BODY,
    )


def longer_by(count: int = 10) -> Fault:
    """``count`` bytes too many behind what Content-Length says; then the connection closes."""
    return Fault(
        f"{count} bytes long",
        lambda _request, right: replace(
            right, body=right.body + Body.of(b"x" * count), delivery=Delivery(ending=Ending.CLOSE)
        ),
        WITH_BODY,
    )


def range_ignored() -> Fault:
    """200 and the whole body, though a part was asked for. ``script`` it on blobs."""

    def change(_request: Request, right: Reply) -> Reply:
        return right if right.whole is None else right.whole

    return Fault("range ignored", change, Match(kind="blob", ranged=True))


def wrong_range(content_range: str) -> Fault:
    """206 with a Content-Range that is not what was asked for."""
    return replace(
        header("Content-Range", content_range), name="wrong range", on=Match(kind="blob", ranged=True)
    )


def unsatisfied_with_false_length() -> Fault:
    """416 as distribution 2.8 sends it: a short text under the Content-Length of the whole blob."""

    def change(_request: Request, right: Reply) -> Reply:
        size = (right.whole or right).body.size
        text = reply(416, b"invalid range\n", "text/plain; charset=utf-8")
        return text.with_header("Content-Length", str(size)).delivered(Delivery(ending=Ending.CLOSE))

    return Fault("416 with false length", change, Match(kind="blob", ranged=True))


# -- the way the bytes come -------------------------------------------------------------------------


def delivered(name: str, delivery: Delivery, on: Match = WITH_BODY) -> Fault:
    """The right answer, its bytes arriving as ``delivery`` says."""
    return Fault(name, lambda _request, right: right.delivered(delivery), on)


def silence() -> Fault:
    """The request is read and nothing ever comes back."""
    return delivered("silence", Delivery(stop_at=BEFORE_HEAD, ending=Ending.STALL), Match())


def hang_up() -> Fault:
    """The connection is closed without an answer."""
    return delivered("hang up", Delivery(stop_at=BEFORE_HEAD, ending=Ending.CLOSE), Match())


def reset_before_answer() -> Fault:
    """The connection is reset without an answer."""
    return delivered("reset before answer", Delivery(stop_at=BEFORE_HEAD, ending=Ending.RESET), Match())


def sleeps_first(seconds: float) -> Fault:
    """The first byte comes after ``seconds``, the rest at once: how some mirrors limit their rate."""
    return delivered("sleeps first", Delivery(delay_seconds=seconds), Match())


def bandwidth(bytes_per_second: float) -> Fault:
    """The body at a limited rate."""
    return delivered("bandwidth", Delivery(bytes_per_second=bytes_per_second))


def trickle(bytes_per_second: float = 1) -> Fault:
    """The body byte by byte, which never ends and never stops."""
    return delivered("trickle", Delivery(bytes_per_second=bytes_per_second))


def stalls(after_bytes: int = 50_000) -> Fault:
    """Silence after so many bytes of the body (0: after the headers), until the peer goes away."""
    return delivered("stall", Delivery(stop_at=after_bytes, ending=Ending.STALL))


def truncated(after_bytes: int | None = None) -> Fault:
    """The connection is closed in good order after so many bytes of the body, or after half of it."""
    return _cut("truncated", after_bytes, Ending.CLOSE)


def cut_off(after_bytes: int | None = None) -> Fault:
    """As :func:`truncated`, but a moment after those bytes: whoever reads them as they come has them."""
    return _cut("cut off", after_bytes, Ending.CLOSE, bytes_per_second=CUT_OFF_BYTES_PER_SECOND)


def empty() -> Fault:
    """The right headers, Content-Length included, and no body."""
    return _cut("no body", 0, Ending.CLOSE)


def resets(after_bytes: int | None = None) -> Fault:
    """The connection is reset after so many bytes of the body, or after half of it."""
    return _cut("reset", after_bytes, Ending.RESET)


def resets_at_the_end() -> Fault:
    """The answer is complete, then the connection is reset."""
    return delivered("reset at the end", Delivery(ending=Ending.RESET), Match())


def closes_afterwards() -> Fault:
    """The answer is complete, then the connection is closed although it was said to be kept."""
    return delivered("closed afterwards", Delivery(ending=Ending.CLOSE), Match())


def held(gate: asyncio.Event, at: int = BEFORE_HEAD) -> Fault:
    """The answer waits until the test sets ``gate``: before its head, or at that byte of the body."""
    on = Match() if at == BEFORE_HEAD else WITH_BODY
    return delivered("held", Delivery(hold_at=at, gate=gate), on)


def _cut(
    name: str, after_bytes: int | None, ending: Ending, *, bytes_per_second: float | None = None
) -> Fault:
    def change(_request: Request, right: Reply) -> Reply:
        where = right.body.size // 2 if after_bytes is None else after_bytes
        return right.delivered(Delivery(stop_at=where, ending=ending, bytes_per_second=bytes_per_second))

    return Fault(name, change, WITH_BODY)
