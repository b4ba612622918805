"""Who there is in a world: fakes under names, each at an address of its own, and names that lead nowhere.

The same network can be asked in two ways, and answers alike: by real programs on a machine
(:meth:`Network.open`), and by a function call (:meth:`Network.answer`), so that a recording of a real program
can be held against what ours would ask, without a socket.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import trustme

from lab.machine import NAMESERVER, Machine
from sampan.doctor.chain.contract import Answer, Ask
from sampan.testing import FakeCdn, FakeRegistry, HelloReset, ServerThread, TokenServer
from sampan.testing.dns import FakeNameserver
from sampan.testing.fault import Fault
from sampan.testing.images import Image
from sampan.testing.match import Match
from sampan.testing.server import FakeServer
from sampan.testing.shelf import Shelf
from sampan.testing.wire import BEFORE_HEAD, Ending, Reply, Request
from sampan.upstream.url import Url, follow, parse_url

HUB = "registry-1.docker.io"
LONG_AGO = dt.datetime(2020, 1, 2, tzinfo=dt.UTC)
LONGER_AGO = dt.datetime(2019, 1, 2, tzinfo=dt.UTC)
REDIRECTS_MAX = 5

# Name -> port, and what its certificate is.
REGISTRIES = {
    "a.lan": (443, "right"),
    "b.lan": (443, "right"),
    HUB: (443, "right"),
    "docker.io": (443, "right"),
    "registry.lan": (443, "right"),
    "registry.lan:5000": (5000, "right"),
    "expired.lan": (443, "expired"),
    "foreign.lan": (443, "foreign"),
    "unknown.lan": (443, "unknown"),
    "plain.lan:5000": (5000, None),
    "plain.lan:443": (443, None),
}
NOWHERE = {
    "dead.lan": "dial tcp {address}:443: connect: connection refused",
    "gone.lan": f"dial tcp: lookup gone.lan on {NAMESERVER}:53: no such host",
    "reset.lan": "read tcp …->{address}:443: read: connection reset by peer",
}
TLS = {
    "expired": "x509: certificate has expired or is not yet valid: "
    "current time … is after 2020-01-02T00:00:00Z",
    "foreign": "x509: certificate is valid for other.lan, not foreign.lan",
    "unknown": "x509: certificate signed by unknown authority",
    None: "http: server gave HTTP response to HTTPS client",
}


def address_of(name: str) -> str:
    """A public address for a host name, always the same."""
    names = list(dict.fromkeys(n.partition(":")[0] for n in (*REGISTRIES, *NOWHERE, "auth.lan", "cdn.lan")))
    return f"44.128.0.{10 + names.index(name.partition(':')[0])}"


@dataclass(eq=False)
class Network:
    """``registries`` by ``host[:port]`` as they are named in configurations; ``moved``: a name that leads
    to another's address, as Docker Hub's does where it is blocked."""

    authority: trustme.CA = field(default_factory=trustme.CA)
    strangers: trustme.CA = field(default_factory=lambda: trustme.CA(organization_name="Strangers"))

    def __post_init__(self) -> None:
        self.registries = {key: self._registry(key, port, kind) for key, (port, kind) in REGISTRIES.items()}
        context = self._context("auth.lan", "right")
        self.realm = TokenServer(
            "auth.lan", host=address_of("auth.lan"), port=443, tls=context, hostname="auth.lan"
        )
        context = self._context("cdn.lan", "right")
        self.cdn = FakeCdn("cdn.lan", host=address_of("cdn.lan"), port=443, tls=context, hostname="cdn.lan")
        self.names = list(
            dict.fromkeys(
                [k.partition(":")[0] for k in REGISTRIES] + ["auth.lan", "cdn.lan", "dead.lan", "reset.lan"]
            )
        )
        self.nameserver = FakeNameserver(host=NAMESERVER, port=53)
        self._refusing: set[str] = set()
        self._threads: dict[str, ServerThread] = {}

    def __getitem__(self, name: str) -> FakeRegistry:
        return self.registries[name]

    def renew(self, image: Image) -> None:
        """All is well again, and every registry has ``image``, the mirrors under its name in Docker Hub."""
        for server in self.servers:
            server.behave()
            server.requests.clear()
            if thread := self._threads.get(server.name):
                thread.call(server.cut)  # no case goes on by connections of the last
                thread.run(server.accept())
        self._refusing.clear()
        self.nameserver.forget()
        for name in self.names:
            self.nameserver.say(name, [address_of(name)])
        self.realm.users, self.realm.private = {}, frozenset()
        self.realm.expire_all()
        for registry in self.registries.values():
            registry.shelf, registry.auth, registry.cdn = Shelf(), None, None
            registry.add(image)

    def block(self, name: str = HUB) -> None:
        """``name`` refuses connections from now on."""
        self._refusing.add(name)
        server = next(each for each in self.servers if each.name == name)
        if thread := self._threads.get(name):
            thread.call(server.refuse)

    def spoil(self, fault: Fault, *names: str, on: Match | None = None, times: int | None = None) -> None:
        """These registries, or all, answer with ``fault``."""
        for name in names or self.registries:
            self.registries[name].script(fault, on=on, times=times)

    @property
    def servers(self) -> list[FakeServer]:
        return [*self.registries.values(), self.realm, self.cdn]

    def asked(self) -> list[str]:
        """What arrived anywhere, in order: ``METHOD URL STATUS``."""
        found = [(r.at, _line(server, r)) for server in self.servers for r in server.requests]
        return [line for _, line in sorted(found, key=lambda pair: pair[0])]

    # -- on a machine --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def open(self, machine: Machine) -> Iterator[None]:
        """Everybody listens there."""
        with contextlib.ExitStack() as stack:
            for name in ("", *self.names):
                machine.address(address_of(name) if name else NAMESERVER)
            reset = HelloReset(host=address_of("reset.lan"))
            reset.port = 443
            stack.enter_context(machine.namespace.begun(ServerThread(reset, self.nameserver)))
            for server in self.servers:
                self._threads[server.name] = stack.enter_context(
                    machine.namespace.begun(ServerThread(server))
                )
            yield
        self._threads.clear()

    # -- without one ---------------------------------------------------------------------------------

    def answer(self, ask: Ask) -> Answer:
        """What a client of the machine's gets, redirects followed."""
        url, method = parse_url(ask.url), ask.method
        for _ in range(REDIRECTS_MAX):
            answer = self._one(ask, url, method)
            location = answer.headers.get("location")
            if answer.status is None or not 300 <= answer.status < 400 or location is None:
                return answer
            url = follow(url, location)
        return Answer(failure="stopped after 10 redirects")

    def _one(self, ask: Ask, url: Url, method: str) -> Answer:
        server, failure = self._server(url, ask)
        if server is None:
            return Answer(failure=failure, outcome="refused")
        request = _request(ask, url, method)
        reply = server.take(request)
        return _answer(reply, request, address_of(url.host), url.port)

    def _server(self, url: Url, ask: Ask) -> tuple[FakeServer | None, str | None]:
        if url.host in NOWHERE:
            return None, NOWHERE[url.host].format(address=address_of(url.host))
        for server in self.servers:
            if (server.hostname, server.port) == (url.host, url.port) and server.name not in self._refusing:
                kind = REGISTRIES.get(server.name, (443, "right"))[1]
                words = _tls_words(kind, ask) if url.scheme == "https" and kind != "right" else None
                return (server, None) if words is None else (None, words)
        return None, f"dial tcp {address_of(url.host)}:{url.port}: connect: connection refused"

    def _registry(self, key: str, port: int, kind: str | None) -> FakeRegistry:
        host = key.partition(":")[0]
        context = None if kind is None else self._context(host, kind)
        return FakeRegistry(key, host=address_of(host), port=port, tls=context, hostname=host)

    def _context(self, name: str, kind: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority = self.strangers if kind == "unknown" else self.authority
        names = ["other.lan"] if kind == "foreign" else [name]
        if kind == "expired":
            certificate = authority.issue_cert(*names, not_before=LONGER_AGO, not_after=LONG_AGO)
        else:
            begin = dt.datetime.now(dt.UTC) - dt.timedelta(days=30)
            certificate = authority.issue_cert(*names, not_before=begin)
        certificate.configure_cert(context)
        return context


def _tls_words(kind: str | None, ask: Ask) -> str | None:
    if kind is None:
        return None if ask.entry.may_be_http else TLS[None]
    believed = ask.entry.insecure or (kind == "unknown" and ask.entry.certificates)
    return None if believed else TLS[kind]


def _line(server: FakeServer, request: Request) -> str:
    scheme = "https" if server._tls else "http"
    default = {"https": 443, "http": 80}[scheme]
    netloc = server.hostname if server.port == default else f"{server.hostname}:{server.port}"
    shown = request.target if request.kind != "cdn" else request.path
    return f"{request.method} {scheme}://{netloc}{shown} {request.status}"


def _request(ask: Ask, url: Url, method: str) -> Request:
    parts = urlsplit(url.target)
    headers = {"accept": ask.accept, "host": url.netloc}
    headers |= {name.lower(): value for name, value in ask.entry.headers.items()}
    headers |= {"range": f"bytes={ask.offset}-"} if ask.offset else {}
    if (ask.authorization is not None and url.netloc == ask.entry.netloc) or (
        ask.part == "token" and ask.authorization
    ):
        headers["authorization"] = ask.authorization or ""
    from urllib.parse import parse_qsl, unquote

    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return Request(method, url.target, unquote(parts.path), query, headers, body=ask.form or b"")


def _answer(reply: Reply, request: Request, address: str, port: int) -> Answer:
    """What Go's client makes of ``reply``."""
    how = reply.delivery
    if how.stop_at == BEFORE_HEAD:
        reset = how.ending is Ending.RESET
        words = f"read tcp …->{address}:{port}: read: connection reset by peer" if reset else "EOF"
        return Answer(failure=words, outcome="reset")
    headers = {name.lower(): value for name, value in reversed(reply.headers)}
    body = b"" if request.method == "HEAD" else reply.body.read()
    if how.stop_at is None or how.stop_at >= len(body):
        return Answer(reply.status, headers, body)
    broken = (
        "EOF"
        if how.ending is Ending.CLOSE
        else f"read tcp …->{address}:{port}: read: connection reset by peer"
    )
    return Answer(reply.status, headers, body[: how.stop_at], broken=broken)
