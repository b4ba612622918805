"""A registry's table as the hosts to ask, in the configured order.

It guarantees at least one host, none twice, none that is this very server, and for ``registry."*"``
that the registry itself is asked only when the table sets ``origin``, and then only at public
addresses. It reads no single mirror: that is :mod:`sampan.config.mirrors`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from sampan.config.address import Address, is_loopback
from sampan.config.mirrors import expand, read_mirror
from sampan.config.problems import Problems
from sampan.config.schema import RegistryTable
from sampan.config.surroundings import Surroundings
from sampan.config.tables import WILDCARD, PlacedTable
from sampan.errors import ConfigError
from sampan.oci.reference import origin_url
from sampan.upstream.host import Host
from sampan.upstream.url import registrable_domain

MIRRORS_MAX = 100  # of one registry: each may have to be asked within a request's budget
EXPANDED_MAX = 256  # registries of ``*`` remembered at a time: clients choose their names


@dataclass(frozen=True, slots=True)
class RegistryConfig:
    """``hosts`` in the configured order, the origin placed ``first``, ``last`` or (``never``) nowhere.

    Of ``*`` (``wildcard``) the hosts are mirrors only, and ``{registry}`` may stand in their prefix.
    """

    name: str
    hosts: tuple[Host, ...]
    wildcard: bool
    origin: str


def read_registry(
    placed: PlacedTable, listen: Address | None, around: Surroundings, problems: Problems
) -> RegistryConfig:
    """The registry that a table means. What is wrong with it goes to ``problems``."""
    table, wildcard = placed.table, placed.registry == WILDCARD
    origin = table.origin or ("never" if wildcard else "last")
    with problems.at(*placed.path):
        _check_somebody(table, origin)
    if len(table.mirrors) > MIRRORS_MAX:
        problems.add(placed.mirrors_path, f"expected at most {MIRRORS_MAX} mirrors, got {len(table.mirrors)}")
    hosts: list[Host] = []
    for index, entry in enumerate(table.mirrors[:MIRRORS_MAX]):
        path = (*placed.mirrors_path, index)
        host = read_mirror(entry, path, around, problems)
        if host is None:
            continue
        with problems.at(*path):
            host = host if wildcard else expand(host, placed.registry)
            _refuse_loop(host, listen)
            _refuse_twice(host, hosts)
            _refuse_unproven(host)
            hosts.append(host)
    if wildcard and table.origin_url:
        problems.add(
            (*placed.path, "origin_url"), "expected no origin_url here: every registry has its own, got one"
        )
    elif not wildcard and origin != "never":
        with problems.at(*placed.path, *(("origin_url",) if table.origin_url else ())):
            host = origin_host(placed.registry, table.origin_url)
            _refuse_loop(host, listen)
            _refuse_unproven(host)
            _refuse_twice(host, hosts, 'write origin = "never": the mirrors name the origin already')
            hosts.insert(0 if origin == "first" else len(hosts), host)
    return RegistryConfig(placed.registry, tuple(hosts), wildcard, origin)


def origin_host(registry: str, url: str | None = None) -> Host:
    """The registry's own host. Raises :class:`ConfigError` when no host can be there."""
    host = Host.from_url(url or origin_url(registry), role="origin")
    return Host.from_url(url or origin_url(registry), role="origin", group=registrable_domain(host.base.host))


class Wildcard:
    """The hosts of registries without a table of their own, made when one is first asked for."""

    def __init__(self, config: RegistryConfig) -> None:
        self._config = config
        self._expanded: OrderedDict[str, tuple[Host, ...]] = OrderedDict()

    def hosts_for(self, registry: str) -> tuple[Host, ...]:
        """The hosts of ``registry``, a canonical name. Empty when none may be asked for it."""
        hosts = self._expanded.get(registry)
        if hosts is None:
            hosts = self._expanded[registry] = self._expand(registry)
            if len(self._expanded) > EXPANDED_MAX:
                self._expanded.popitem(last=False)
        self._expanded.move_to_end(registry)
        return hosts

    def _expand(self, registry: str) -> tuple[Host, ...]:
        mirrors = tuple(expand(host, registry) for host in self._config.hosts)
        origin = () if self._config.origin == "never" else _public_origin(registry)
        return (*origin, *mirrors) if self._config.origin == "first" else (*mirrors, *origin)


def _public_origin(registry: str) -> tuple[Host, ...]:
    """The origin of a registry that a client chose: never one whose name is a private address.

    A name that resolves to one is the dialer's to refuse, since the host is not ``private``.
    """
    try:
        host = origin_host(registry)
    except ConfigError:
        return ()
    return () if host.private else (host,)


def _check_somebody(table: RegistryTable, origin: str) -> None:
    """A node behind an air gap may say so in so many words: then only the store is served."""
    if not table.mirrors and origin == "never" and table.origin is None:
        raise ConfigError(
            "expected mirrors or an origin, got neither: nobody could be asked",
            hint='add mirrors, or write origin = "last"',
        )


def _refuse_twice(host: Host, others: list[Host], hint: str | None = None) -> None:
    if any(other.name == host.name for other in others):
        raise ConfigError(f"expected each host once, got {host.name} twice", hint=hint)


def _refuse_unproven(host: Host) -> None:
    """What a tag means cannot be checked, so that whoever stands on the way could say it."""
    if host.base.scheme == "http" and not host.private and "resolve" in host.capabilities:
        raise ConfigError(
            "expected https of a host that may say what a tag means, got http",
            hint="as a mirror with private = true it may stand in your own network; "
            'with capabilities = ["pull"] it gives content alone, which is checked',
        )


def _refuse_loop(host: Host, listen: Address | None) -> None:
    """A mirror that is this server would ask itself until something breaks."""
    if listen is None or listen.port == 0 or host.base.port != listen.port:
        return
    name = host.base.host
    same = name == listen.host or {name, listen.host} <= {"localhost", "127.0.0.1", "::1"}
    if same or (listen.is_everywhere and is_loopback(name)):
        raise ConfigError(
            f"expected another server, got {listen}, where this one listens itself",
            hint="remove that mirror, or change server.listen",
        )
