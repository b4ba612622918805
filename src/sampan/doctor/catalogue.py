"""The catalogue of public mirrors: dated facts about machines of strangers, the dead ones among them.

Pure values. It trusts none of them: what an entry says is where a look begins, and as old as its date. It is
read in :mod:`sampan.config.catalogue`; the one that is built in is ``data/mirrors.toml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from sampan.oci.reference import Reference
from sampan.upstream.host import PULL, RESOLVE, Host
from sampan.upstream.url import parse_url

OLD_DAYS = 90  # half of the mirrors that died had been listed for 49 days
REGISTRY, ACCOUNT = "{registry}", "{account}"

DEAD = "dead"

Form = Literal["host", "path", "copies", "renamed", "account"]
State = Literal["up", "unconfirmed", "dead"]
Need = Literal["login", "account", "china", "campus", "aliyun", "tencent", "huawei", "azure-china"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One mirror. ``url`` as in sampan.toml, ``{registry}`` in its path, ``{account}`` in its host.

    ``form``: ``host`` mirrors one registry under its own paths; ``path`` many, each under its name;
    ``copies`` were pushed once to a namespace; ``renamed`` has other names of repositories; ``account``:
    everybody has a host of his own. ``resolves``: whether its tags are worth anything. ``needs``: what one
    must have or where one must be. ``limits`` and ``note`` are for people.
    """

    url: str
    form: Form
    registries: tuple[str, ...]
    group: str
    last_verified: date
    source: str
    state: State = "up"
    first_seen: date | None = None
    resolves: bool = True
    needs: tuple[Need, ...] = ()
    allow: tuple[str, ...] = ()
    repositories: Mapping[str, str] = field(default_factory=dict, hash=False)
    requests_per_minute: int | None = None
    max_connections: int | None = None
    limits: str = ""
    allow_list: str | None = None
    note: str = ""

    def age_days(self, today: date) -> int:
        """Since somebody said what it says."""
        return (today - self.last_verified).days

    def is_old(self, today: date) -> bool:
        """Whether so much time has gone by that it may well be dead."""
        return self.age_days(today) > OLD_DAYS

    @property
    def can_be_asked(self) -> bool:
        """Whether it makes sense to look at it from anywhere: not where an account or a login comes first."""
        return not {"login", "account"} & set(self.needs)

    def serves(self, registry: str) -> bool:
        """Whether it has images of ``registry``, a canonical name; ``*`` among its registries: of all."""
        return registry in self.registries or "*" in self.registries

    def host_for(self, registry: str) -> Host | None:
        """The host that it is for ``registry``; None: it is none, or nobody can tell which."""
        if not self.serves(registry) or ACCOUNT in self.url:
            return None
        return Host.from_url(self.url.replace(REGISTRY, registry), **self.options())

    def options(self) -> dict[str, Any]:
        """The fields of its host, the URL aside."""
        return {
            "group": self.group,
            "capabilities": frozenset({PULL, RESOLVE} if self.resolves else {PULL}),
            "allow": self.allow,
            "repositories": self.repositories,
            "requests_per_minute": self.requests_per_minute,
            "max_connections": self.max_connections,
        }


@dataclass(frozen=True, slots=True)
class Sample:
    """A small public image to try hosts of a registry with; ``origin``: the registry's own host."""

    reference: Reference
    origin: Host


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Mirrors as they stand in the file ``name``. ``updated``: when it was last gone through. ``samples``: by
    registry, where one is named."""

    name: str
    updated: date
    entries: tuple[Entry, ...]
    samples: Mapping[str, Sample] = field(default_factory=dict, hash=False)

    def age_days(self, today: date) -> int:
        """Since it was gone through."""
        return (today - self.updated).days

    def by_host(self) -> dict[str, Entry]:
        """By ``host[:port]``, of several one that is not dead; ``.host``: each below it, an account's."""
        found: dict[str, Entry] = {}
        for entry in self.entries:
            netloc = parse_url(entry.url.replace(REGISTRY, "registry").replace(ACCOUNT, "account")).netloc
            name = netloc.removeprefix("account") if ACCOUNT in entry.url else netloc
            if name not in found or found[name].state == DEAD:
                found[name] = entry
        return found

    def for_registry(self, registry: str) -> tuple[Entry, ...]:
        """Those that have images of ``registry``, in the catalogue's order."""
        return tuple(entry for entry in self.entries if entry.serves(registry))
