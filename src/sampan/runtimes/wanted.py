"""What runtimes are to be told: for each registry, whom to ask in which order.

Made from ``sampan.toml`` by :mod:`sampan.config.node`, and pure: certificates are here as text, not as paths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from types import MappingProxyType

from sampan.oci.reference import DOCKER_HUB
from sampan.secret import Secret

EVERY_REGISTRY = "*"
PULL, RESOLVE = "pull", "resolve"
BOTH = frozenset({PULL, RESOLVE})
_NOTHING: Mapping[str, str] = MappingProxyType({})


def _nothing() -> Mapping[str, str]:
    return _NOTHING


@dataclass(frozen=True, slots=True)
class Gateway:
    """A hop that serves many registries, as ``sampan serve`` does: the one in ``ns``, else the one that the
    path begins with, else ``default_registry`` (None: it has none)."""

    default_registry: str | None = DOCKER_HUB


@dataclass(frozen=True, slots=True)
class Hop:
    """One place to ask.

    ``base`` is ``scheme://host[:port]``; ``prefix`` stands before every repository, after ``/v2/``, and may
    hold ``{registry}`` only in the route ``*``. ``gateway`` None: it knows one registry. ``origin``: it is
    the registry itself, which runtimes ask last on their own.
    ``ca``, ``client_cert`` are PEM; ``client_key``, ``password`` and the values of ``headers`` are secrets.
    ``dial_seconds``: how long a connection to it may take, None: the runtime's own limit.
    """

    base: str
    prefix: str = ""
    gateway: Gateway | None = None
    origin: bool = False
    capabilities: frozenset[str] = BOTH
    insecure: bool = False
    ca: str | None = field(default=None, repr=False)
    client_cert: str | None = field(default=None, repr=False)
    client_key: Secret | None = None
    username: str | None = None
    password: Secret | None = None
    headers: Mapping[str, str] = field(default_factory=_nothing, hash=False, repr=False)
    dial_seconds: float | None = None

    @property
    def netloc(self) -> str:
        """``host[:port]``."""
        return self.base.partition("://")[2]

    @property
    def is_plain_http(self) -> bool:
        return self.base.startswith("http://")

    @property
    def has_secrets(self) -> bool:
        """Whether using it needs something that not everybody may read."""
        return self.password is not None or self.client_key is not None or bool(self.headers)

    @property
    def resolves(self) -> bool:
        """Whether it may say what a tag means."""
        return RESOLVE in self.capabilities

    def prefix_for(self, registry: str, *, sends_ns: bool) -> str:
        """What stands between ``/v2/`` and the repository; ``sends_ns``: the client adds ``?ns=REGISTRY``."""
        if self.gateway is None:
            return self.prefix
        told = sends_ns or self.gateway.default_registry == registry
        return self.prefix if told else "/".join(filter(None, (self.prefix, registry)))

    def __str__(self) -> str:
        return f"{self.base}/{self.prefix}" if self.prefix else self.base


@dataclass(frozen=True, slots=True)
class Route:
    """Whom to ask for ``registry``, a canonical name or ``*`` (all that have no route), in order.

    Without an origin among ``hops`` the registry itself must not be asked; but those that ``*`` stands for
    are asked last all the same, as if nothing were configured, for private ones are among them.
    ``left_out``: sentences, each about a mirror of the configuration that no runtime can use as it is meant.
    """

    registry: str
    hops: tuple[Hop, ...]
    left_out: tuple[str, ...] = ()

    @property
    def mirrors(self) -> tuple[Hop, ...]:
        """The hops without the origin."""
        return tuple(hop for hop in self.hops if not hop.origin)

    @property
    def origin(self) -> Hop | None:
        """The registry itself, when it may be asked."""
        return next((hop for hop in self.hops if hop.origin), None)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The routes, no registry twice, ``*`` last when there is one; ``notes`` concern all runtimes."""

    routes: tuple[Route, ...]
    notes: tuple[str, ...] = ()

    def route(self, registry: str) -> Route | None:
        """That of ``registry`` itself; the route ``*`` is not one."""
        return next((route for route in self.routes if route.registry == registry), None)


def is_loopback(host: str) -> bool:
    """Whether ``host[:port][/path]`` is this machine to whoever asks."""
    name = host.partition("/")[0]
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
