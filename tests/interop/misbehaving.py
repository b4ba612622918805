"""Hosts that misbehave, each in one way that the knowledge base knows: what real programs then print.

Every world of :data:`WORLDS` is a ``with`` block that yields the URL of a host which should have the image and
has this fault; all of them are on loopback.
"""

from __future__ import annotations

import contextlib
import datetime
import ssl
from collections.abc import Callable, Iterator

import trustme

from interop.hosts import as_content
from interop.images import Image
from sampan.testing import ClosedPort, FakeRegistry, Fault, Match, ServerThread, TokenServer, faults
from sampan.testing.dead_ends import HelloReset
from sampan.testing.tokens import BasicAuth, Guard

BLOB = Match(kind="blob")
MANIFEST = Match(kind="manifest")
DOCUMENT = Match(kind="manifest", method="GET")
CLOSED_REALM = "http://127.0.0.1:1/token"  # nobody may listen on port 1 in these tests
World = Callable[[Image], contextlib.AbstractContextManager[str]]


def _answering(*scripts: tuple[Fault, Match | None]) -> World:
    return lambda image: _registry(image, scripts=scripts)


def _guarded(guard: Callable[[], Guard]) -> World:
    return lambda image: _registry(image, guard=guard())


def _with_tls(context: Callable[[], ssl.SSLContext]) -> World:
    return lambda image: _registry(image, tls=context())


@contextlib.contextmanager
def _registry(
    image: Image,
    *,
    scripts: tuple[tuple[Fault, Match | None], ...] = (),
    guard: Guard | None = None,
    tls: ssl.SSLContext | None = None,
) -> Iterator[str]:
    registry = FakeRegistry("mirror", auth=guard, tls=tls)
    registry.add(as_content(image))
    for fault, on in scripts:
        registry.script(fault, on=on)
    servers = [registry, guard] if isinstance(guard, TokenServer) else [registry]
    with ServerThread(*servers):
        yield registry.url


def _context(*names: str, expired: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    past = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC) if expired else None
    trustme.CA().issue_cert(*names, not_after=past).configure_cert(context)
    return context


@contextlib.contextmanager
def _closed(image: Image) -> Iterator[str]:
    yield "http://127.0.0.1:1"


@contextlib.contextmanager
def _plain_over_tls(image: Image) -> Iterator[str]:
    with _registry(image) as url:
        yield url.replace("http:", "https:")


@contextlib.contextmanager
def _hello_reset(image: Image) -> Iterator[str]:
    listener = HelloReset()
    with ServerThread(listener):
        yield listener.url.replace("http:", "https:")


@contextlib.contextmanager
def _without(image: Image, forget: Callable[[FakeRegistry], None]) -> Iterator[str]:
    registry = FakeRegistry("mirror")
    registry.add(as_content(image))
    forget(registry)
    with ServerThread(registry):
        yield registry.url


WORLDS: dict[str, World] = {
    "502 on blobs": _answering((faults.status(502), BLOB)),
    "503 on manifests": _answering((faults.status(503), MANIFEST)),
    "403 on manifests": _answering((faults.status(403), MANIFEST)),
    "403 on blobs": _answering((faults.status(403), BLOB)),
    "allow-list": _answering((faults.denied(), MANIFEST)),
    "allow-list on blobs": _answering((faults.denied(), BLOB)),
    "400 on blobs": _answering((faults.status(400), BLOB)),
    "404 on manifests": _answering((faults.status(404, "manifest unknown"), MANIFEST)),
    "404 on blobs": _answering((faults.status(404, "blob unknown"), BLOB)),
    "429": _answering((faults.rate_limited(), MANIFEST)),
    "basic login": _guarded(lambda: BasicAuth({"robot": "hunter2"})),
    "private": _guarded(lambda: TokenServer(private=["library/alpine"])),
    "token server refuses": _guarded(lambda: TokenServer(users={"robot": "hunter2"}, anonymous=False)),
    "token server unreachable": _answering((faults.bearer_at(CLOSED_REALM), None)),
    "web page": _answering((faults.page(), MANIFEST)),
    "web page on blobs": _answering((faults.page(), BLOB)),
    "no content type": _answering((faults.no_header("Content-Type"), MANIFEST)),
    "flipped bit": _answering((faults.flipped_bit(), BLOB)),
    "flipped bit in the manifest": _answering((faults.flipped_bit(), DOCUMENT)),
    "short blob": _answering((faults.short_by(), BLOB)),
    "empty blob": _answering((faults.page(200, b"", "application/octet-stream"), BLOB)),
    "no body": _answering((faults.empty(), BLOB)),
    "truncated": _answering((faults.truncated(), BLOB)),
    "reset in a blob": _answering((faults.resets(), BLOB)),
    "hangs up": _answering((faults.hang_up(), None)),
    "reset": _answering((faults.reset_before_answer(), None)),
    "refused": _closed,
    "plain HTTP": _plain_over_tls,
    "handshake reset": _hello_reset,
    "unknown authority": _with_tls(lambda: _context("127.0.0.1")),
    "wrong name": _with_tls(lambda: _context("elsewhere.example")),
    "expired": _with_tls(lambda: _context("127.0.0.1", expired=True)),
}
_UNUSED = ClosedPort
