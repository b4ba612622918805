"""Which hop failed: whether a host is a mirror, the registry itself, its token server or its storage.

It tells from the URL alone, and from what is known of hosts: those of the configuration, of the catalogue
of mirrors, and the public ones of ``data/known_hosts.toml``. Guarantees to say nothing (None) rather than to
guess.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from ipaddress import ip_address

from sampan.doctor.catalogue import Entry
from sampan.doctor.explain.facts import Facts, Request
from sampan.doctor.explain.knowledge import Role
from sampan.doctor.machine.dns import FORGED
from sampan.errors import SampanError
from sampan.oci.reference import Reference, canonical_registry, origin_url

MIRRORS = ("host", "path", "account")


@dataclass(frozen=True, slots=True)
class Hosts:
    """What is known of hosts by their names (``host[:port]``; ``.host`` is all below it). ``roles``: of those
    in the configuration; ``listed``: of those in the catalogue."""

    roles: Mapping[str, Role] = field(default_factory=dict)
    listed: Mapping[str, Entry] = field(default_factory=dict)

    def role(self, facts: Facts) -> Role | None:
        """What the host that a message is about is on the way."""
        if facts.host is None:
            return None
        return (
            self.roles.get(facts.host)
            or _by_name(facts)
            or self._by_list(facts.host)
            or _by_request(facts.request)
            or _by_reference(facts)
        )

    def entry_of(self, host: str) -> Entry | None:
        """What the catalogue says of it."""
        _, dot, below = host.partition(".")
        return self.listed.get(host) or self.listed.get(dot + below)

    def _by_list(self, host: str) -> Role | None:
        """The list has registries that copies were pushed to as well: those are nobody's mirror by name."""
        entry = self.entry_of(host)
        return "mirror" if entry is not None and entry.form in MIRRORS else None


def registry_of(facts: Facts) -> str | None:
    """The registry that the client meant, as people write it."""
    request = facts.request
    if request is not None and request.registry is not None:
        return canonical_registry(request.registry)
    if facts.reference is not None:
        try:
            return Reference.parse(facts.reference, default_tag=None).registry
        except SampanError:
            return None
    return _public().registry_at(facts.host) if facts.host else None


def is_poisoned(address: str) -> bool:
    """Whether it is of a network that filters give out in the place of blocked names."""
    try:
        return any(ip_address(address) in network for network in FORGED)
    except ValueError:
        return False


def _by_name(facts: Facts) -> Role | None:
    """What everybody knows. A registry's own host stays one though a redirect led to it."""
    public, host = _public(), facts.host or ""
    if public.registry_at(host):
        return "login" if facts.request is not None and facts.request.step == "token" else "origin"
    for names, role in ((public.login, "login"), (public.storage, "storage")):
        if any(host == name or (name[0] == "." and host.endswith(name)) for name in names):
            return "login" if role == "login" else "storage"
    return None


def _by_request(request: Request | None) -> Role | None:
    if request is None:
        return None
    if request.step == "token":
        return "login"
    if request.ns or request.registry is not None:
        return "mirror"
    return None


def _by_reference(facts: Facts) -> Role | None:
    """A host that is not in the name of the image is there instead of the registry."""
    registry = registry_of(facts)
    if registry is None:
        return None
    if registry == facts.host or origin_url(registry) == f"https://{facts.host}":
        return "origin"
    request = facts.request
    if request is not None and request.step is None:
        return "storage"  # a registry's own URLs are told by their form: this is where one led to
    return "mirror"


@dataclass(frozen=True, slots=True)
class _Public:
    origins: Mapping[str, str]
    login: tuple[str, ...]
    storage: tuple[str, ...]

    def registry_at(self, host: str) -> str | None:
        return self.origins.get(host)


@cache
def _public() -> _Public:
    table = tomllib.loads(files("sampan.data").joinpath("known_hosts.toml").read_text("utf-8"))
    registries = table["registry"]
    origins = {host: one["name"] for one in registries for host in (one["name"], *one.get("origin", ()))}
    return _Public(
        origins=origins,
        login=tuple(host for one in registries for host in one.get("login", ())),
        storage=tuple(host for one in registries for host in one.get("storage", ())),
    )
