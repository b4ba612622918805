"""One upstream host as a value: where it is, what it may be asked for, and what it is trusted with.

Everything wrong with a mirror's configuration is found here, when the :class:`Host` is made, as a
:class:`~sampan.errors.ConfigError` with a hint. A host is never asked for anything here.

What a capability means, and what a host is believed:

=========  ==============================  ==========================================================
ability    lets the host answer            what its answer is worth
=========  ==============================  ==========================================================
``pull``   manifests and blobs by digest   nothing: every byte is hashed, so anybody may be asked
``resolve``  tags, tag lists, referrers    everything: nobody can check what a tag means. The answer
                                           records who gave it; see ``tags.agree`` and lock files
=========  ==============================  ==========================================================

Mirrors have both unless configured otherwise, because behind a block a mirror may be all there is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from sampan.errors import ConfigError
from sampan.oci.pattern import Patterns
from sampan.secret import Secret
from sampan.upstream.addresses import is_metadata, is_private, may_dial
from sampan.upstream.url import Url, parse_url, registrable_domain

if TYPE_CHECKING:
    from collections.abc import Mapping

PULL, RESOLVE = "pull", "resolve"
CAPABILITIES = frozenset({PULL, RESOLVE})
Role = Literal["mirror", "origin"]
Verify = Literal["before", "stream"]

_PREFIX = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*", re.ASCII)
_GLOB = re.compile(r"[a-z0-9._*-]+(?:/[a-z0-9._*-]+)*", re.ASCII)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
# Headers that frame or route the message: set by a configuration they could only break it.
_HEADERS_REFUSED = frozenset(
    {"accept-encoding", "connection", "content-length", "cookie", "host", "range", "transfer-encoding"}
)
REFUSALS_MAX = 90  # in two days: DaoCloud, the strictest that says so, bans whoever collects more than 100
REFUSALS_LIMIT = 10_000  # of any setting: the time of each is kept
_NOTHING: Mapping[str, str] = MappingProxyType({})


def _nothing() -> Mapping[str, str]:
    """A default that ``dataclass`` accepts before Python 3.12, where a read-only mapping has no hash."""
    return _NOTHING


@dataclass(frozen=True, slots=True)
class Host:
    """One place that can answer for a registry. Made by :meth:`from_url`.

    ``name`` is unique among the hosts of a registry; ``url`` is ``scheme://host[:port]``; ``prefix``
    is put before every repository. ``allow`` and ``repositories`` bound what the host is asked for.
    ``private``: its addresses, redirects and realms may be private ones. Paths are of readable files.
    ``namespace``: it serves many registries, and is asked for this one (the ``ns`` query). ``listed``: what
    it may be asked for besides ``allow``, by registry, until it is known for which one it stands.
    """

    name: str
    url: str
    prefix: str = ""
    role: Role = "mirror"
    capabilities: frozenset[str] = CAPABILITIES
    allow: tuple[str, ...] = ()
    repositories: Mapping[str, str] = field(default_factory=_nothing, hash=False)
    username: str | None = None
    password: Secret | None = None
    ca: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    insecure: bool = False
    proxy: str | None = field(default=None, repr=False)  # may carry the proxy's own password
    headers: Mapping[str, str] = field(default_factory=_nothing, hash=False, repr=False)
    group: str | None = None
    verify: Verify | None = None
    requests_per_minute: int | None = None
    max_connections: int | None = None
    max_refusals: int | None = None
    private: bool = False
    namespace: str | None = None
    listed: Mapping[str, Patterns] | None = field(default=None, hash=False, repr=False)

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Host:  # noqa: ANN401 - the fields' own types, checked below
        """A host from the URL that people write: ``https://mirror`` or ``https://mirror/prefix``.

        ``options`` are the other fields. ConfigError when any of it cannot be meant.
        """
        parsed = _parse(url)
        prefix = _prefix_of(parsed)
        name = f"{parsed.netloc}/{prefix}" if prefix else parsed.netloc
        base = str(parsed.at("/"))[:-1]
        return cls(**{"name": name, "url": base, "prefix": prefix, **options})

    def __post_init__(self) -> None:
        base = _parse(self.url)
        if base.target != "/":
            _refuse(f"{base.netloc}: a host's url has no path", "the path belongs into prefix")
        _check_address(self, base)
        _check_limits(self)
        _check_allow(self)
        _check_headers(self)
        _check_secrets(self, base)
        object.__setattr__(self, "allow", Patterns.of(self.allow))
        object.__setattr__(self, "repositories", MappingProxyType(dict(self.repositories)))
        object.__setattr__(self, "headers", MappingProxyType(dict(self.headers)))
        object.__setattr__(self, "private", self.private or _implies_private(base))

    @property
    def base(self) -> Url:
        """The parsed ``url``."""
        return parse_url(self.url)

    @property
    def operator(self) -> str:
        """Who runs it, for ``tags.agree``: ``group``, else the registered part of its name."""
        return self.group or registrable_domain(self.base.host)

    @property
    def refusals_max(self) -> int | None:
        """How often its operator may refuse us within two days before it is asked no more; None: it does
        not matter. Public mirrors ban; registries themselves, one's own hosts and mirrors of ours do not."""
        bans = self.role == "mirror" and not self.private and self.namespace is None
        return self.max_refusals or (REFUSALS_MAX if bans else None)

    def repository_for(self, repository: str) -> str | None:
        """What the host calls the canonical ``repository``; None when it is never asked for it."""
        if self.allow and not Patterns.of(self.allow).match(repository):
            return None
        name = self.repositories.get(repository) if self.repositories else repository
        if name is None:
            return None
        return f"{self.prefix}/{name}" if self.prefix else name


def _parse(url: str) -> Url:
    try:
        return parse_url(url)
    except ValueError as error:
        # The text is not repeated: it may hold a password.
        _refuse(
            f"not a mirror's URL: {error}",
            'write "https://host[:port][/prefix]"; secrets have their own keys',
        )


def _prefix_of(url: Url) -> str:
    path, question, _ = url.target.partition("?")
    prefix = path.strip("/")
    if question:
        _refuse(f"{url.netloc}: a mirror's URL has no query", "leave out what follows the question mark")
    if prefix == "v2" or prefix.startswith("v2/"):
        _refuse(f"{url.netloc}: /v2 in a mirror's URL", "leave out /v2: it is put there for every request")
    if prefix and not _PREFIX.fullmatch(prefix):
        _refuse(f"{url.netloc}: not a repository path", "lower case letters, digits, . _ - and /")
    return prefix


def _check_address(host: Host, base: Url) -> None:
    address = base.address
    if address is None:
        return
    if is_metadata(address):
        _refuse(f"{host.name}: the address of a cloud's metadata service", "no setting opens it")
    if not is_private(address) and not may_dial(address, private=False):
        _refuse(f"{host.name}: an address where no registry can be", "multicast, reserved and null addresses")


def _check_limits(host: Host) -> None:
    if not host.capabilities or not host.capabilities <= CAPABILITIES:
        _refuse(f"{host.name}: capabilities must be some of pull, resolve", 'for instance ["pull"]')
    if host.requests_per_minute is not None and host.requests_per_minute < 1:
        _refuse(f"{host.name}: requests_per_minute must be at least 1", "leave it out for no limit")
    if host.max_connections is not None and host.max_connections < 1:
        _refuse(f"{host.name}: max_connections must be at least 1", "leave it out for the default")
    if host.max_refusals is not None and not 1 <= host.max_refusals <= REFUSALS_LIMIT:
        _refuse(
            f"{host.name}: max_refusals must be from 1 to {REFUSALS_LIMIT}", "leave it out for the default"
        )
    if host.verify not in (None, "before", "stream"):
        _refuse(f"{host.name}: verify must be before or stream", "leave it out: a host earns stream")
    if host.role not in ("mirror", "origin"):
        _refuse(f"{host.name}: role must be mirror or origin", "mirror is the default")


def _check_allow(host: Host) -> None:
    for glob in () if isinstance(host.allow, Patterns) else host.allow:
        if not _GLOB.fullmatch(glob) or glob.count("*") > 8:
            _refuse(f"{host.name}: not a repository pattern: {glob!r}", 'write "library/*" or "mycorp/**"')
    for name in (*host.repositories, *host.repositories.values()):
        if not _PREFIX.fullmatch(name):
            _refuse(
                f"{host.name}: not a repository: {name!r}", "both sides are repositories, without registry"
            )


def _check_headers(host: Host) -> None:
    for name, value in host.headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            _refuse(f"{host.name}: not a header", "names are tokens, values are printable ASCII on one line")
        if name.lower() in _HEADERS_REFUSED:
            _refuse(f"{host.name}: the header {name} cannot be configured", "sampan sets it itself")


def _check_secrets(host: Host, base: Url) -> None:
    if (host.username is None) != (host.password is None):
        _refuse(f"{host.name}: username and password belong together", "set both, or neither")
    if host.client_key is not None and host.client_cert is None:
        _refuse(f"{host.name}: client_key without client_cert", "set client_cert too")
    if base.scheme == "http" and (host.ca or host.client_cert or host.insecure):
        _refuse(
            f"{host.name}: ca, client_cert and insecure are about TLS, and the URL is http", "write https://"
        )


def _implies_private(base: Url) -> bool:
    if base.address is not None:
        return is_private(base.address)
    return base.host == "localhost" or base.host.endswith(".localhost")


def _refuse(message: str, hint: str) -> NoReturn:
    raise ConfigError(message, hint=hint)
