"""What a runtime asks, as values: hosts as its files give them, requests, answers, and how it ends.

A *walk* is a generator that is one runtime's own procedure. It yields an :class:`Ask` for every request that
the runtime would make, is sent the :class:`Answer`, and returns the :class:`Outcome`, with the words that the
runtime prints. So what each program does is a function of its files, its version and the answers, and is held
against recordings of the real programs; who asks in truth is :mod:`.replay`.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal
from urllib.parse import quote

from sampan.errors import printable
from sampan.oci.reference import Reference
from sampan.runtimes.contract import Version
from sampan.secret import Secret
from sampan.upstream.proxies import ProxySettings

RECENT = {"containerd": Version(1, 7), "docker": Version(24), "containers-image": Version(4, 5)}
Part = Literal["ping", "token", "head", "manifest", "blob"]
_NOTHING: Mapping[str, str] = MappingProxyType({})


def _nothing() -> Mapping[str, str]:
    return _NOTHING


@dataclass(frozen=True, slots=True)
class Login:
    """Name and password that a runtime has for a host in its own files."""

    username: str
    password: Secret


@dataclass(frozen=True, slots=True)
class Entry:
    """One host, as a runtime's files give it.

    ``path`` stands before ``/REPOSITORY/manifests/…``: ``/v2`` mostly, whatever a person wrote otherwise.
    ``namespace``: what it is sent as ``ns``. ``resolves``, ``pulls``: its capabilities. ``certificates`` are
    paths in the tree. ``may_be_http``: a server that answers HTTPS with HTTP is asked again so. ``place``:
    where it is written, as ``FILE:LINE``; None: the runtime adds it by itself. ``repository``: what it is
    asked for, where that is not the reference's; ``is_origin``: it is the registry itself. ``unusable``: why
    it is passed over without a request, in the program's words.
    """

    scheme: str
    netloc: str
    path: str = "/v2"
    namespace: str | None = None
    resolves: bool = True
    pulls: bool = True
    certificates: tuple[str, ...] = ()
    client: tuple[str, str] | None = None
    insecure: bool = False
    may_be_http: bool = False
    headers: Mapping[str, str] = field(default_factory=_nothing, hash=False, repr=False)
    dial_seconds: float | None = None
    login: Login | None = field(default=None, repr=False)
    place: str | None = None
    repository: str | None = None
    is_origin: bool = False
    unusable: str | None = None

    @property
    def base(self) -> str:
        """``scheme://host[:port]``."""
        return f"{self.scheme}://{self.netloc}"

    def by_http(self) -> Entry:
        """The same without TLS."""
        return replace(self, scheme="http", certificates=(), client=None, insecure=False)

    def target(self, repository: str, kind: str, item: str) -> str:
        """Path and query of a request for a manifest or a blob."""
        path = f"{self.path}/{repository}/{kind}/{item}".replace("//", "/")
        return f"{path if path.startswith('/') else '/' + path}{_query(self.namespace)}"


@dataclass(frozen=True, slots=True)
class Chain:
    """Whom a runtime asks for ``reference``, in order. ``refusal``: what it says without asking anybody.

    ``runtime`` is its name, ``family`` whose procedure it has. ``transfer``: it pulls by the transfer service
    of containerd; ``beside``: it is Docker's containerd image store. ``blocked``: why the registry itself is
    not asked; ``is_off``: nobody is meant to pull by it. ``nameserver``: whom it asks for names, for its
    words. ``proxies``: those that it has.
    """

    runtime: str
    family: Literal["containerd", "docker", "containers-image"]
    reference: Reference
    entries: tuple[Entry, ...] = ()
    version: Version | None = None
    transfer: bool = False
    beside: bool = False
    is_off: bool = False
    refusal: str | None = None
    blocked: str | None = None
    nameserver: str = "127.0.0.1"
    proxies: ProxySettings = field(default_factory=ProxySettings, repr=False)

    def verified(self, failure: str) -> str:
        """``failure`` with what newer programs (built with Go 1.20 or later) say before an error of a
        certificate; as far as a version can tell."""
        aloud = failure.startswith("x509: ") and self.is_recent
        return f"tls: failed to verify certificate: {failure}" if aloud else failure

    @property
    def is_recent(self) -> bool:
        """Whether its version is from 2023 or later."""
        return self.version is None or self.version >= RECENT[self.family]


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. ``url`` is whole; ``again``: word for word the last one, which a polite asker need not
    send twice. ``offset``: from which byte on it is wanted. ``size_bytes``: of what is asked for, as far as
    it is known."""

    entry: Entry
    part: Part
    method: str
    url: str
    accept: str = "*/*"
    authorization: str | None = field(default=None, repr=False)
    form: bytes | None = field(default=None, repr=False)
    again: bool = False
    offset: int = 0
    size_bytes: int | None = None

    def __str__(self) -> str:
        return printable(f"{self.method} {_without_secrets(self.url)}", characters_max=300)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it.

    ``failure``: no answer, in the words of the Go programs; ``outcome``: that in one word of ours, ``ok`` for
    an answer of any status. ``body`` is all of it when ``whole``; ``broken``: it ended early, in those
    programs' words, ``EOF`` for a connection that was closed. ``behind``: the other machine to
    which redirects led. Header names are in lower case.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=_nothing, hash=False)
    body: bytes = field(default=b"", repr=False)
    whole: bool = True
    failure: str | None = None
    broken: str | None = None
    behind: str | None = None
    outcome: str = "ok"
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a pull ends. ``printed``: what the runtime says, None when the image arrives. In it ``…`` stands
    for what nobody can know before, as the port of a connection."""

    printed: str | None = None

    @property
    def arrives(self) -> bool:
        return self.printed is None


Walk = Generator[Ask, Answer, Outcome]


def _query(namespace: str | None) -> str:
    return "" if namespace is None else f"?ns={quote(namespace, safe='')}"


def _without_secrets(url: str) -> str:
    """``url`` with no more of its query than ``ns``: the rest may be a signature."""
    bare, question, query = url.partition("?")
    if not question:
        return bare
    return f"{bare}?{query}" if query.startswith("ns=") and "&" not in query else f"{bare}?…"
