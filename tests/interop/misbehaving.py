"""Hosts that misbehave, each in one way: what real programs print of them is what ``--explain`` is about.

Every world of :data:`WORLDS` is a ``with`` block that yields the URL of a host which should have the image,
has this fault, and is on loopback.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import ssl
from collections.abc import Callable, Iterator

import trustme

from interop.containerd import CLOSED
from interop.hosts import as_content
from interop.images import Image
from sampan.testing import FakeRegistry, Fault, HelloReset, Match, ServerThread, TokenServer, faults
from sampan.testing.tokens import BasicAuth, Guard

BLOB = Match(kind="blob")
MANIFEST = Match(kind="manifest")
DOCUMENT = Match(kind="manifest", method="GET")
SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
ALPINE = "library/alpine"
World = Callable[[Image], contextlib.AbstractContextManager[str]]


def _answering(fault: Fault, on: Match | None = None) -> World:
    return lambda image: _registry(image, fault=fault, on=on)


def _guarded(guard: Callable[[], Guard]) -> World:
    return lambda image: _registry(image, guard=guard())


def _with_tls(*names: str, expired: bool = False) -> World:
    return lambda image: _registry(image, tls=_context(names, expired=expired))


def healthy(image: Image) -> contextlib.AbstractContextManager[str]:
    """A host without a fault."""
    return _registry(image)


@contextlib.contextmanager
def _registry(
    image: Image,
    *,
    fault: Fault | None = None,
    on: Match | None = None,
    guard: Guard | None = None,
    tls: ssl.SSLContext | None = None,
) -> Iterator[str]:
    registry = FakeRegistry("mirror", auth=guard, tls=tls)
    registry.add(as_content(image))
    if fault is not None:
        registry.script(fault, on=on)
    servers = [registry, guard] if isinstance(guard, TokenServer) else [registry]
    with ServerThread(*servers):
        yield registry.url


def _context(names: tuple[str, ...], *, expired: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    past = dt.datetime(2024, 1, 1, tzinfo=dt.UTC) if expired else None
    trustme.CA().issue_cert(*names, not_after=past).configure_cert(context)
    return context


@contextlib.contextmanager
def _closed(_: Image) -> Iterator[str]:
    yield CLOSED


@contextlib.contextmanager
def _hello_reset(_: Image) -> Iterator[str]:
    listener = HelloReset()
    with ServerThread(listener):
        yield listener.url.replace("http:", "https:")


WORLDS: dict[str, World] = {
    "502 on blobs": _answering(faults.status(502), BLOB),
    "503 on manifests": _answering(faults.status(503), MANIFEST),
    "403 on manifests": _answering(faults.status(403), MANIFEST),
    "403 on blobs": _answering(faults.status(403), BLOB),
    "allow-list": _answering(faults.denied(), MANIFEST),
    "allow-list on blobs": _answering(faults.denied(), BLOB),
    "400 on blobs": _answering(faults.status(400), BLOB),
    "404 on manifests": _answering(faults.status(404, "manifest unknown"), MANIFEST),
    "404 on blobs": _answering(faults.status(404, "blob unknown"), BLOB),
    "429": _answering(faults.rate_limited(), MANIFEST),
    "basic login": _guarded(lambda: BasicAuth({"robot": "hunter2"})),
    "private": _guarded(lambda: TokenServer(private=[ALPINE])),
    "token refused": _guarded(lambda: TokenServer(users={"robot": "hunter2"}, anonymous=False)),
    "token server closed": _answering(faults.bearer_at(f"{CLOSED}/token")),
    "web page": _answering(faults.page(), MANIFEST),
    "web page on blobs": _answering(faults.page(), BLOB),
    "no content type": _answering(faults.no_header("Content-Type"), MANIFEST),
    "schema 1": _answering(faults.page(200, b'{"schemaVersion": 1}', SCHEMA_1), MANIFEST),
    "flipped bit": _answering(faults.flipped_bit(), BLOB),
    "flipped bit in the manifest": _answering(faults.flipped_bit(), DOCUMENT),
    "short blob": _answering(faults.short_by(), BLOB),
    "empty blob": _answering(faults.page(200, b"", "application/octet-stream"), BLOB),
    "no body": _answering(faults.empty(), BLOB),
    "truncated": _answering(faults.truncated(), BLOB),
    "reset in a blob": _answering(faults.resets(), BLOB),
    "hangs up": _answering(faults.hang_up()),
    "reset": _answering(faults.reset_before_answer()),
    "refused": _closed,
    "handshake reset": _hello_reset,
    "unknown authority": _with_tls("127.0.0.1"),
    "wrong name": _with_tls("elsewhere.example"),
    "expired": _with_tls("127.0.0.1", expired=True),
}
