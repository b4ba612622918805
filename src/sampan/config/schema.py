"""The shape of ``sampan.toml``: one struct a table, the field's default is the key's default.

It guarantees that a key that is not written here is refused. It says nothing of what a value means:
sizes, URLs and conditions are still text here, and are read in the modules beside this one.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all tables share: keys by name only, and no others."""


class ServerTable(Table, frozen=True):
    """``[server]``: where the mirror listens and whom it lets in."""

    listen: str = "127.0.0.1:5050"
    anonymous: bool = False
    htpasswd: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    default_registry: str | None = None


class StoreTable(Table, frozen=True):
    """``[store]``: where content is kept, and how much of it."""

    path: str | None = None
    max_size: str = "50GiB"


class MirrorTable(Table, frozen=True):
    """One of ``mirrors``, when it is more than a URL."""

    url: str
    capabilities: list[Literal["pull", "resolve"]] = msgspec.field(
        default_factory=lambda: ["pull", "resolve"]
    )
    allow: list[str] | None = None
    repositories: dict[str, str] | None = None
    username: str | None = None
    password: str | None = None
    password_env: str | None = None
    password_file: str | None = None
    ca: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    insecure: bool = False
    proxy: str | None = None
    headers: dict[str, str] = {}
    group: str | None = None
    verify: Literal["before", "stream"] | None = None
    requests_per_minute: int | None = None
    max_connections: int | None = None
    max_refusals: int | None = None
    private: bool = False


class RegistryTable(Table, frozen=True):
    """``[registry."NAME"]``: who is asked for that registry's images."""

    mirrors: list[str | MirrorTable] = []
    origin: Literal["first", "last", "never"] | None = None
    origin_url: str | None = None


class PullTable(Table, frozen=True):
    """``[pull]``: how ``sampan pull`` gets what it pulls, when not from the hosts themselves."""

    via: str | MirrorTable | None = None
    store: str | None = None


class TagsTable(Table, frozen=True):
    """``[tags]``: how long a tag's meaning is believed."""

    fresh_for: str = "5m"
    stale_for: str = "forever"
    agree: int = 1
    lock: str | None = None


class ConditionTable(Table, frozen=True):
    """``when``: one statement about one environment variable."""

    env: str
    equals: str | None = None
    set: bool | None = None
    matches: str | None = None


class ProfileTable(Table, frozen=True):
    """``[profile.NAME]``: registry tables for another place."""

    when: ConditionTable | list[ConditionTable] | None = None
    registry: dict[str, RegistryTable] = {}


class RewriteTable(Table, frozen=True):
    """``[rewrite]``: what ``sampan rewrite``, Airflow and the webhook turn references into."""

    to: str = "mirror"
    except_: list[str] = msgspec.field(default_factory=list, name="except")
    pull_secrets: list[str] = []
    fields: dict[str, list[str]] = {}


class NodeTable(Table, frozen=True):
    """``[node]``: what changing a machine's runtimes needs to know."""

    commands: dict[str, str] = {}


class File(Table, frozen=True):
    """The whole file."""

    server: ServerTable = ServerTable()
    store: StoreTable = StoreTable()
    registry: dict[str, RegistryTable] = {}
    tags: TagsTable = TagsTable()
    pull: PullTable = PullTable()
    profile: dict[str, ProfileTable] = {}
    rewrite: RewriteTable = RewriteTable()
    node: NodeTable = NodeTable()
