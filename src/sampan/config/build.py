"""The composition root: a mirror out of a configuration. Here, and nowhere else, the parts meet.

It guarantees that building touches no network, and that everything wrong with the store or with a
file of a host shows now and not at the first request. It starts nothing.
"""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sampan.clock import Clock, SystemClock
from sampan.config.address import is_loopback
from sampan.config.settings import Config
from sampan.errors import StoreError
from sampan.mirror.events import Observer
from sampan.mirror.keeping import Keeping
from sampan.mirror.patience import Patience
from sampan.mirror.room import Room
from sampan.mirror.service import Mirror
from sampan.mirror.tagged import TagPolicy
from sampan.oci.reference import origin_url
from sampan.store.disk import DiskStore
from sampan.store.tags import TagStore
from sampan.upstream.behind import Behind
from sampan.upstream.client import RegistryClient
from sampan.upstream.credentials import CredentialFiles
from sampan.upstream.health import Health
from sampan.upstream.host import Host
from sampan.upstream.proxies import ProxySettings
from sampan.upstream.push import Destination, PushClient
from sampan.upstream.transport import Transport
from sampan.upstream.url import parse_url

_STORE_HINT = "store.path or --store must name a directory that this user may write, or may make"
# A mirror asks its own hosts while we wait: it gives up on them after 40 s, and may verify a layer for 200 s
# before the first byte leaves. To be less patient would be to leave it just before it answers.
MIRROR_PATIENCE = Patience(budget_seconds=60.0, stale_seconds=45.0)
MIRROR_TIMES = {"first_byte_seconds": 45.0, "read_seconds": 260.0, "small_seconds": 60.0}
TAGS_DIRECTORY = "tags"  # beside the blobs: who carries the directory elsewhere carries both


@dataclass(frozen=True, slots=True)
class Lasting:
    """What outlives a reload: the store, what tags mean, how hosts behaved, the name of this process."""

    path: Path
    store: DiskStore
    tag_store: TagStore
    room: Room
    health: Health
    clock: Clock
    instance: str = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def of(cls, config: Config, clock: Clock | None = None, *, read_only: bool = False) -> Lasting:
        """Open the store of ``config``, made if absent; ``read_only``: one that is there, to look into it
        alone. Raises :class:`StoreError`."""
        clock = clock or SystemClock()
        path = config.store.path
        try:
            store = DiskStore(path, clock, read_only=read_only)
            tag_store = TagStore(path / TAGS_DIRECTORY, clock)
        except StoreError as error:
            raise type(error)(error.message, hint=_STORE_HINT) from error
        room = Room(store, tag_store, config.store.max_size_bytes)
        return cls(path, store, tag_store, room, Health(clock), clock)

    def keeping(self, config: Config) -> Keeping:
        """What has the memory of the hosts of ``config`` outlive the process, too."""
        hosts = configured_hosts(config) if config.via is None else [config.via]
        return Keeping(self.path, self.health, hosts, self.clock)

    def close(self) -> None:
        """Let go of the directories; no mirror may use them any more."""
        self.tag_store.close()
        self.store.close()


def build(
    config: Config,
    *,
    lasting: Lasting | None = None,
    observer: Observer | None = None,
    behind: Behind | None = None,
) -> Mirror:
    """The mirror that ``config`` describes, on ``lasting`` parts (its own when None).

    Raises :class:`StoreError` when the store cannot be used, :class:`ConfigError` when a certificate or
    a proxy of a host cannot.
    """
    lasting = lasting or Lasting.of(config)
    lasting.room.max_size_bytes = config.store.max_size_bytes
    return Mirror(
        patience=None if config.via is None else MIRROR_PATIENCE,
        hosts_for=config.hosts_for,
        registries=config.registries,
        store=lasting.store,
        tag_store=lasting.tag_store,
        room=lasting.room,
        client=build_client(config, lasting.clock, lasting.health, instance=lasting.instance, behind=behind),
        health=lasting.health,
        tag_policy=_tag_policy(config),
        observer=observer,
        clock=lasting.clock,
    )


def build_client(
    config: Config,
    clock: Clock,
    health: Health | None = None,
    *,
    instance: str | None = None,
    behind: Behind | None = None,
) -> RegistryClient:
    """Who asks the hosts of ``config``, for a mirror or for whoever needs no store. ``health`` hears of pulls
    and of refusals; ``behind`` keeps what hosts say of their own sources.

    Raises :class:`ConfigError` when a certificate or a proxy of a host cannot be used.
    """
    times = {} if config.via is None else MIRROR_TIMES
    return RegistryClient(
        _transport(config, instance),
        credentials=build_credentials(config, clock),
        clock=clock,
        behind=behind,
        quota=None if health is None else health.quota,
        budget=None if health is None else health.budget,
        **times,
    )


def build_destination(config: Config, registry: str, clock: Clock) -> Destination:
    """What pushes to ``registry``, the host of a reference; it need not be one that is pulled from.

    Raises :class:`ConfigError` when no registry can be there, or its files cannot be used.
    """
    host = destination_host(config, registry)
    transport = Transport((host,), proxies=ProxySettings.from_environment(config.environ))
    return Destination(PushClient(transport, credentials=build_credentials(config, clock), clock=clock), host)


def destination_host(config: Config, registry: str) -> Host:
    """As configured where it is one of the hosts to pull from (its login, its certificates), else with the
    usual files' login. Plain HTTP only where it is configured so, or on this machine. Whoever names a
    registry to push to may mean one with a private address."""
    url = parse_url(origin_url(registry))
    for table in config.registry.values():
        for host in table.hosts:
            if host.base.netloc == url.netloc:
                everything: dict[str, Any] = {"prefix": "", "allow": (), "repositories": {}}
                return replace(host, name=registry, private=True, **everything)
    scheme = "http" if is_loopback(url.host) else url.scheme
    return Host.from_url(f"{scheme}://{url.netloc}", name=registry, role="origin", private=True)


def build_credentials(config: Config, clock: Clock) -> CredentialFiles:
    """The logins of the environment, of the files of Docker and podman, and of their programs."""
    return CredentialFiles.from_environment(config.environ, clock=clock, logins=config.logins)


def configured_hosts(config: Config) -> list[Host]:
    """The hosts of all registries."""
    return [host for registry in config.registry.values() for host in registry.hosts]


def _transport(config: Config, instance: str | None) -> Transport:
    return Transport(
        configured_hosts(config) if config.via is None else [config.via],
        proxies=ProxySettings.from_environment(config.environ),
        instance_id=instance,
    )


def _tag_policy(config: Config) -> TagPolicy:
    stale_for_seconds = config.tags.stale_for_seconds
    return TagPolicy(
        fresh_for_seconds=config.tags.fresh_for_seconds,
        stale_for_seconds=None if math.isinf(stale_for_seconds) else stale_for_seconds,
        agree=config.tags.agree,
        locked=None if config.tags.lock is None else config.tags.lock.digests,
    )
