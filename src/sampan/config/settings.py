"""The configuration as values: what ``sampan.toml`` and the environment mean together.

:meth:`Config.load` finds and reads, :meth:`Config.parse` takes the text. Both guarantee that a
``Config`` exists only when nothing is wrong with it: otherwise one :class:`ConfigError` tells all that
is. Nothing is dialled, started or written.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from sampan.config import environment
from sampan.config.address import Address
from sampan.config.mirrors import expand
from sampan.config.registries import RegistryConfig, Wildcard
from sampan.config.tables import WILDCARD
from sampan.lock import Lock
from sampan.oci.distribution import Registries
from sampan.rewrite.fields import Fields
from sampan.upstream.auth import Credential
from sampan.upstream.host import Host

BUILT_IN_NAME = "built-in configuration"


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Where the mirror listens and whom it lets in. Paths are of readable files."""

    listen: Address
    anonymous: bool
    htpasswd: Path | None
    tls_cert: Path | None
    tls_key: Path | None
    default_registry: str

    @property
    def url(self) -> str:
        """How a client on this machine reaches it."""
        address = replace(self.listen, host="127.0.0.1") if self.listen.is_everywhere else self.listen
        return f"{'https' if self.tls_cert else 'http'}://{address}"


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """``max_size_bytes`` None: no limit but the disk's."""

    path: Path
    max_size_bytes: int | None


@dataclass(frozen=True, slots=True)
class TagsConfig:
    """Seconds may be infinite. ``agree``: how many operators must give the same digest for a tag.
    ``lock``: the only tags there are, and what they mean, as read from ``lock_path``; None: whatever
    hosts say."""

    fresh_for_seconds: float
    stale_for_seconds: float
    agree: int
    lock: Lock | None = None
    lock_path: Path | None = None


@dataclass(frozen=True, slots=True)
class RewriteConfig:
    """``to`` is ``mirror`` or a template; ``exceptions`` are globs of what stays as it is; ``pull_secrets``
    are the names of the secrets that a redirected pod needs beside its own; ``fields`` are those of custom
    resources that name images, besides the built-in ones."""

    to: str
    exceptions: tuple[str, ...]
    pull_secrets: tuple[str, ...] = ()
    fields: Fields = field(default_factory=Fields)


@dataclass(frozen=True, slots=True)
class Config:
    """All of it. ``registry`` holds the tables in force by canonical name, ``*`` among them;
    ``path`` is the file read (None: none was found), ``profile`` the one that holds, ``environ`` the
    environment in which it was read, for proxies and Docker's credentials. ``logins``: those of the
    environment, by host. ``via``: the mirror that is
    the only host of every registry; its ``namespace`` is ``{registry}``.
    """

    server: ServerConfig
    store: StoreConfig
    tags: TagsConfig
    rewrite: RewriteConfig
    node_commands: Mapping[str, str]
    registry: Mapping[str, RegistryConfig]
    language: environment.Language
    profile: str | None = None
    path: Path | None = None
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    logins: Mapping[str, Credential] = field(default_factory=dict, repr=False)
    via: Host | None = None
    _wildcard: Wildcard | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        if WILDCARD in self.registry:
            object.__setattr__(self, "_wildcard", Wildcard(self.registry[WILDCARD]))

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        environ: Mapping[str, str] = os.environ,
        *,
        listen: str | None = None,
        store: str | os.PathLike[str] | None = None,
        locked: bool = True,
        pulls: bool = False,
        via: str | None = None,
    ) -> Config:
        """The configuration of this machine: the file at ``path``, else the first of the usual places.

        ``listen`` and ``store`` stand above the file (the command line's options). Without ``locked``
        the file of ``tags.lock`` is not read, for it is about to be written. ``pulls``: it is for a pull,
        which goes through the mirror of ``pull.via``, or of ``via`` above it. Raises :class:`ConfigError`.
        """
        from sampan.config.reading import Options, load

        named = None if store is None else os.fspath(store)
        return load(path, environ, Options(listen, named, via, locked=locked, pulls=pulls))

    @classmethod
    def parse(
        cls, text: str, *, name: str = environment.FILE_NAME, environ: Mapping[str, str] = os.environ
    ) -> Config:
        """The configuration that ``text`` means. ``name`` stands in errors; its directory is where
        relative paths start. Raises :class:`ConfigError`."""
        from sampan.config.reading import parse

        return parse(text, name=name, environ=environ)

    def with_lock(self, path: str | os.PathLike[str]) -> Config:
        """This configuration under the lock at ``path``, whatever ``tags.lock`` says (``pull --lock``).

        Raises :class:`ConfigError` when the lock cannot be read.
        """
        from sampan.config.lockfile import read_lock

        return replace(self, tags=replace(self.tags, lock=read_lock(Path(path)), lock_path=Path(path)))

    @property
    def registries(self) -> Registries:
        """Which registries a request may mean."""
        named = frozenset(self.registry) - {WILDCARD}
        return Registries(named, self._wildcard is not None, self.server.default_registry)

    def hosts_for(self, registry: str) -> tuple[Host, ...] | None:
        """The hosts to ask for ``registry``, a canonical name, in the configured order.

        None: it is not configured and must not be dialled. Through a mirror it is that one alone.
        """
        if self.via is not None:
            return (expand(self.via, registry),)
        if registry != WILDCARD and registry in self.registry:
            return self.registry[registry].hosts
        return self._wildcard.hosts_for(registry) if self._wildcard is not None else None
