"""What an answer says: its status as an error of ours, its bytes as the manifest that was asked for.

Pure. Guarantees: a manifest that leaves here hashes to the digest that was asked for, or, for a tag,
to the digest that the host itself declared; and a host is called a liar (WrongContent) only for
bytes that could have been a manifest, not for a portal's web page.

Which status means what: 401 and 403, and 402 and 451, are denials; 404 and 410 say that it is not
there; 429 is a rate limit, of two kinds; 5xx, 408 and 425 are the host's own trouble, likely to pass.
All other 4xx, and a 2xx or 3xx that was not asked for, come from something that does not understand the
registry's protocol: to call them denials would turn a broken mirror into "not found".
"""

from __future__ import annotations

import json
import re
import zlib
from typing import TYPE_CHECKING

from sampan.errors import (
    Denied,
    HostError,
    InvalidDigest,
    InvalidManifest,
    Missing,
    NotARegistry,
    PullLimited,
    RateLimited,
    ServerFault,
    WrongContent,
    printable,
)
from sampan.oci.digest import Digest
from sampan.oci.distribution import DOCKER_CONTENT_DIGEST
from sampan.oci.headers import parse_content_range
from sampan.oci.manifest import (
    MANIFEST_BYTES_MAX,
    MANIFEST_TYPES,
    Descriptor,
    Index,
    Manifest,
    parse_manifest,
)
from sampan.upstream.auth import said_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sampan.oci.headers import Allowance
    from sampan.upstream.response import Response

DENIED_STATUSES = frozenset({401, 402, 403, 451})
MISSING_STATUSES = frozenset({404, 410})
PASSING_STATUSES = frozenset({408, 425})
ATTEMPTS_SHOWN_MAX = 10  # of a mirror's, in one line
_PULLS = re.compile(r"pull rate limit|increase-rate-limit", re.IGNORECASE)
_WBITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


def error_of(
    status: int,
    body: bytes,
    *,
    who: str,
    retry_after_seconds: float | None = None,
    counted: bool = False,
    pulls_left: Allowance | None = None,
) -> HostError:
    """The error that ``status`` is, said by ``who``, with the words of ``body``. ``counted``: it was asked
    for a manifest; ``pulls_left``: how many it says are left."""
    said = _behind_in(body) or said_in(body)
    message = f"{who}: {status}{': ' + said if said else ''}"
    if status in DENIED_STATUSES:
        return Denied(message, outcome="denied", status=status)
    if status in MISSING_STATUSES:
        return Missing(message, outcome="missing", status=status)
    if status == 429:
        none_left = pulls_left is not None and pulls_left.count == 0
        if counted and (none_left or _is_about_pulls(body)):
            return PullLimited(
                message,
                outcome="pull-limit",
                status=status,
                retry_after_seconds=retry_after_seconds,
                hint=f"log in at {who}, or name another mirror",
            )
        return RateLimited(
            message, outcome="rate-limited", status=status, retry_after_seconds=retry_after_seconds
        )
    if 500 <= status < 600 or status in PASSING_STATUSES:
        return ServerFault(
            message, outcome="server-error", status=status, retry_after_seconds=retry_after_seconds
        )
    return NotARegistry(message, outcome="protocol", status=status)


def _is_about_pulls(body: bytes) -> bool:
    """Whether a 429 tells of the count of pulls, which lasts for hours and concerns manifests alone. All
    registries say TOOMANYREQUESTS for all of their limits, so the words decide; the limit against abuse,
    which lasts for seconds and concerns everything, has no JSON at Docker Hub."""
    try:
        errors = json.loads(body)["errors"]
        texts = [f"{error['message']} {error.get('detail')}" for error in errors[:ATTEMPTS_SHOWN_MAX]]
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return False
    return any(_PULLS.search(text) is not None for text in texts)


def _behind_in(body: bytes) -> str:
    """What became of the hosts behind a mirror of ours (``detail.attempts``), in words; else empty."""
    try:
        attempts = json.loads(body)["errors"][0]["detail"]["attempts"]
        return printable("; ".join(map(_attempt_in_words, attempts[:ATTEMPTS_SHOWN_MAX])))
    except (ValueError, RecursionError, LookupError, TypeError):
        return ""


def _attempt_in_words(attempt: dict[str, object]) -> str:
    status = f" ({attempt['status']})" if attempt["status"] else ""
    return f"{attempt['host']}: {attempt['outcome']}{status}"


def media_type_of(content_type: str | None) -> str:
    """A Content-Type without its parameters, lower case; empty when there is none."""
    return (content_type or "").partition(";")[0].strip().lower()


def is_page(content_type: str | None) -> bool:
    """Whether it is a type that people look at: portals, challenges and parked domains answer so."""
    return media_type_of(content_type) in ("text/html", "application/xhtml+xml")


def declared_digest(header: str | None) -> Digest | None:
    """Docker-Content-Digest as a Digest; None when it is missing or not one."""
    try:
        return Digest.parse(header.strip()) if header else None
    except InvalidDigest:
        return None


def described(response: Response) -> Descriptor | None:
    """What the headers say of a manifest; None when they do not say all of it."""
    digest = declared_digest(response.header(DOCKER_CONTENT_DIGEST))
    media_type = media_type_of(response.header("Content-Type"))
    size = response.content_length
    if digest is None or not size or size > MANIFEST_BYTES_MAX or media_type not in MANIFEST_TYPES:
        return None
    return Descriptor(media_type, digest, size)


def whole_size(response: Response) -> int | None:
    """How large the whole is that an answer gives, or gives a part of; None when it does not say."""
    if response.status == 200:
        return response.content_length
    given = parse_content_range(response.header("Content-Range"))
    return given[2] if given else None


def manifest_of(
    body: bytes,
    *,
    who: str,
    wanted: Digest | None,
    declared: Digest | None,
    content_type: str | None,
    content_encoding: str | None,
) -> Manifest | Index:
    """``body`` as a manifest. Raises NotARegistry, or WrongContent when the digest is another's."""
    if len(body) > MANIFEST_BYTES_MAX:
        raise NotARegistry(f"{who}: a manifest of more than {MANIFEST_BYTES_MAX} bytes", outcome="protocol")
    expected = wanted or declared
    encoded = (content_encoding or "identity").strip().lower() not in ("identity", "")
    if expected is None and encoded:
        raise NotARegistry(
            f"{who}: encoded although not asked to, and no digest to check", outcome="protocol"
        )
    raw = body if expected is None else _matching(body, expected, content_encoding if encoded else None)
    if raw is None:
        if is_page(content_type) or not _could_be_manifest(body, encoded=encoded):
            raise NotARegistry(f"{who}: not a manifest: {said_in(body[:1000])}", outcome="not-a-registry")
        source = "asked for" if wanted is not None else "declared"
        raise WrongContent(f"{who}: a manifest that is not {expected}, as {source}", outcome="wrong-content")
    try:
        return parse_manifest(
            raw, media_type=content_type, algorithm="sha256" if expected is None else expected.algorithm
        )
    except InvalidManifest as error:
        raise NotARegistry(f"{who}: {error.message}", outcome="not-a-registry") from error


def _matching(body: bytes, expected: Digest, content_encoding: str | None) -> bytes | None:
    """``body``, or what it decodes to, whichever hashes to ``expected``."""
    if Digest.of(body, expected.algorithm) == expected:
        return body
    for decoded in _decoded(body, content_encoding):
        if Digest.of(decoded, expected.algorithm) == expected:
            return decoded
    return None


def _decoded(body: bytes, content_encoding: str | None) -> Iterator[bytes]:
    bits = _WBITS.get((content_encoding or "").strip().lower())
    if bits is None:
        return
    unpacker = zlib.decompressobj(bits)
    try:
        # One byte more than may be: enough to see that it is too much, whatever a bomb holds.
        decoded = unpacker.decompress(body, MANIFEST_BYTES_MAX + 1)
    except zlib.error:
        return
    if len(decoded) <= MANIFEST_BYTES_MAX and unpacker.eof:
        yield decoded


def _could_be_manifest(body: bytes, *, encoded: bool) -> bool:
    """Whether wrong bytes are a damaged or another manifest, rather than an error or a page."""
    if encoded:
        return False  # wrong only in an encoding that we cannot read
    text = body.lstrip()[:512].lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return False
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return True
    return not (isinstance(document, dict) and "errors" in document and "schemaVersion" not in document)
