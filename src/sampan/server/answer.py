"""An answer of this server as a value: a ready-made head, and a body or a blob to send.

Guarantees that a head holds printable ASCII only, so that nothing a stranger wrote can begin a header or
an answer of its own. It does not send anything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

from sampan.errors import AllHostsFailed, Attempt, HostError, NotFound, SampanError, UnsatisfiableRange
from sampan.oci.distribution import DOCKER_API_VERSION, Kind, error_document
from sampan.server.contract import BlobReply

API_VERSION_FIELD = (DOCKER_API_VERSION, "registry/2.0")
HEADER_VALUE_CHARACTERS_MAX = 1024
RETRY_AFTER_SECONDS_DEFAULT = 3.0  # as long as the mirror remembers that nobody could serve something
RETRY_AFTER_SECONDS_MAX = 3600.0
ATTEMPTS_SHOWN_MAX = 50

_UNSAFE = re.compile(r"[^\x20-\x7e]")
_RETRIABLE = frozenset((429, 503, 504))
_NOT_FOUND_CODES = {
    Kind.BLOB: "BLOB_UNKNOWN",
    Kind.MANIFEST: "MANIFEST_UNKNOWN",
    Kind.REFERRERS: "MANIFEST_UNKNOWN",
    Kind.TAGS: "NAME_UNKNOWN",
}


@dataclass(slots=True)
class Answer:
    """``head``: status line and fields, without Date, Connection and the empty line at the end.

    Either ``body`` follows it or the bytes of ``blob`` from ``start`` to ``stop``. ``source`` is ``store``,
    a host's name or empty; ``error`` says in one line why ``status`` is none that was hoped for.
    """

    status: int
    head: bytes
    body: bytes = b""
    blob: BlobReply | None = None
    start: int = 0
    stop: int = 0
    source: str = ""
    attempts: tuple[Attempt, ...] = ()
    error: str = ""


def render_head(status: int, fields: Iterable[tuple[str, str]]) -> bytes:
    """Status line and ``fields``, each ended by CRLF; what is not printable ASCII becomes a ``?``."""
    lines = [f"HTTP/1.1 {status} {_reason(status)}"]
    lines += (f"{name}: {_UNSAFE.sub('?', value[:HEADER_VALUE_CHARACTERS_MAX])}" for name, value in fields)
    return ("\r\n".join(lines) + "\r\n").encode("ascii")


def document(
    status: int,
    body: bytes,
    *,
    media_type: str = "application/json",
    fields: Iterable[tuple[str, str]] = (),
    is_head: bool = False,
    source: str = "",
) -> Answer:
    """An answer that is all here: ``body`` of ``media_type``, left out for a HEAD."""
    head = render_head(
        status,
        [("Content-Type", media_type), ("Content-Length", str(len(body))), API_VERSION_FIELD, *fields],
    )
    return Answer(status, head, b"" if is_head else body, source=source)


def problem(error: SampanError, *, kind: Kind | None = None, is_head: bool = False) -> Answer:
    """What a client is told of ``error``: the spec's JSON, its status, and when to come back."""
    status = error.status if isinstance(error, AllHostsFailed) else error.http_status
    answer = refusal(
        status,
        _code(error, status, kind),
        error.message,
        detail=_detail(error),
        fields=_fields(error, status),
        is_head=is_head,
    )
    if isinstance(error, AllHostsFailed):
        answer.attempts = error.attempts
    return answer


def refusal(
    status: int,
    code: str,
    message: str,
    *,
    detail: object = None,
    fields: Iterable[tuple[str, str]] = (),
    is_head: bool = False,
) -> Answer:
    """An error that is no exception of ours: ``code`` is the spec's."""
    body = error_document(code, message, detail)
    answer = document(status, body, fields=[("Cache-Control", "no-store"), *fields], is_head=is_head)
    answer.error = message
    return answer


def _code(error: SampanError, status: int, kind: Kind | None) -> str:
    if isinstance(error, NotFound) and kind is not None:
        return _NOT_FOUND_CODES.get(kind, error.oci_code)
    return "TOOMANYREQUESTS" if status == 429 else error.oci_code


def _detail(error: SampanError) -> dict[str, object] | None:
    detail: dict[str, object] = {}
    if error.hint:
        detail["hint"] = error.hint
    if isinstance(error, AllHostsFailed):
        detail["attempts"] = [describe_attempt(attempt) for attempt in error.attempts[:ATTEMPTS_SHOWN_MAX]]
    return detail or None


def describe_attempt(attempt: Attempt) -> dict[str, object]:
    """``attempt`` as JSON shows it: who was asked, what came of it, and in how many seconds."""
    return {
        "host": attempt.host,
        "outcome": attempt.outcome,
        "status": attempt.status,
        "seconds": round(attempt.seconds, 3),
    }


def _fields(error: SampanError, status: int) -> list[tuple[str, str]]:
    fields: list[tuple[str, str]] = []
    if status in _RETRIABLE:
        wait = error.retry_after_seconds if isinstance(error, AllHostsFailed | HostError) else None
        fields.append(("Retry-After", str(_whole_seconds(wait))))
    if status == 405:
        fields.append(("Allow", "GET, HEAD"))
    if status == 401:
        fields.append(("WWW-Authenticate", 'Basic realm="sampan", charset="UTF-8"'))
    if isinstance(error, UnsatisfiableRange):
        fields.append(("Content-Range", f"bytes */{error.size_bytes}"))
    return fields


def _whole_seconds(wait: float | None) -> int:
    """Up to the next whole second, between one and an hour; hosts have been seen to say 1e12 and NaN."""
    seconds = RETRY_AFTER_SECONDS_DEFAULT if wait is None or math.isnan(wait) else wait
    return math.ceil(min(max(seconds, 1.0), RETRY_AFTER_SECONDS_MAX))


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
