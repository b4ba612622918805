"""From the file and the environment to a :class:`Config`: the order in which things are read.

It guarantees that every value of the file is checked before any is used, and that what the command
line says is checked like what the file says. Each kind of value is read in a module of its own.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sampan.config import environment
from sampan.config.address import Address, parse_address
from sampan.config.document import decode, read_document, read_text
from sampan.config.lockfile import read_lock
from sampan.config.mirrors import refuse_clear_text, within
from sampan.config.problems import Problems
from sampan.config.profiles import choose_profile
from sampan.config.quantity import parse_duration, parse_size
from sampan.config.registries import RegistryConfig, read_registry
from sampan.config.rewrite import read_rewrite
from sampan.config.schema import File, ServerTable, StoreTable, TagsTable
from sampan.config.settings import (
    BUILT_IN_NAME,
    Config,
    ServerConfig,
    StoreConfig,
    TagsConfig,
)
from sampan.config.surroundings import Surroundings
from sampan.config.tables import WILDCARD, choose_tables, registry_name
from sampan.config.through import read_through
from sampan.errors import ConfigError, printable
from sampan.lock import Lock
from sampan.oci.reference import DOCKER_HUB
from sampan.upstream.auth import Credential
from sampan.upstream.credentials import keys_of

AGREE_MAX = 10
COMMAND_CHARACTERS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says instead of the file: see :meth:`Config.load`."""

    listen: str | None = None
    store: str | None = None
    via: str | None = None
    locked: bool = True
    pulls: bool = False


def load(path: str | os.PathLike[str] | None, environ: Mapping[str, str], options: Options) -> Config:
    """See :meth:`Config.load`."""
    found = environment.find_file(path, environ)
    if found is None:
        return _read("", BUILT_IN_NAME, Path(), None, environ, options)
    return _read(read_text(found), str(found), found.parent, found, environ, options)


def parse(text: str, *, name: str, environ: Mapping[str, str]) -> Config:
    """See :meth:`Config.parse`."""
    decode(text.encode("utf-8", "surrogatepass"), name)
    return _read(text, name, Path(name).parent, None, environ, Options())


def _read(
    text: str, name: str, directory: Path, path: Path | None, environ: Mapping[str, str], options: Options
) -> Config:
    file, problems = read_document(text, name)
    around = Surroundings(environ, directory)
    profile = choose_profile(file.profile, environ, problems)
    listen = _read_listen(file.server, options, problems)
    registry = _read_registries(file, profile, listen, around, problems)
    server = _read_server(file.server, listen, registry, around, problems)
    store = _read_store(file.store, options, around, problems)
    tags = _read_tags(file.tags, options, around, problems)
    rewrite = read_rewrite(file.rewrite, problems)
    through = read_through(file.pull, options.via, replace(around, consulted=options.pulls), problems)
    _check_commands(file.node.commands, problems)
    logins = environment.logins(environ, problems)
    _check_logins(logins, registry, problems)
    problems.raise_any()
    config = Config(
        server=server,
        store=store,
        tags=tags,
        rewrite=rewrite,
        node_commands=dict(file.node.commands),
        registry=registry,
        language=environment.language(environ),
        profile=profile,
        path=path,
        environ=environ,
        logins=logins,
    )
    if through is None or not options.pulls:
        return config
    return through.applied(config, keeps_store=options.store is not None)


def _read_listen(table: ServerTable, options: Options, problems: Problems) -> Address:
    place = ("--listen",) if options.listen is not None else ("server", "listen")
    listen = Address("127.0.0.1", 0)  # stands in when the text is wrong: nothing below objects to it
    with problems.at(*place):
        listen = parse_address(table.listen if options.listen is None else options.listen)
        if not (listen.is_loopback or table.anonymous or table.htpasswd):
            raise ConfigError(
                f"expected an address of this machine alone, or who may log in, got {listen}",
                hint="set server.htpasswd, or server.anonymous = true if anybody may use it",
            )
    return listen


def _read_registries(
    file: File, profile: str | None, listen: Address, around: Surroundings, problems: Problems
) -> dict[str, RegistryConfig]:
    tables = choose_tables(file, profile, around.environ, problems)
    idle = Surroundings(around.environ, around.directory, consulted=False)
    for table in tables.idle:
        read_registry(table, None, idle, problems)
    return {name: read_registry(table, listen, around, problems) for name, table in tables.in_force.items()}


def _check_logins(
    logins: Mapping[str, Credential], registry: Mapping[str, RegistryConfig], problems: Problems
) -> None:
    """A password of the environment goes no more in the clear than one of the file."""
    for host in (host for table in registry.values() for host in table.hosts):
        if not logins.keys().isdisjoint(keys_of(host)):
            with problems.at(f"${environment.LOGINS}"):
                refuse_clear_text(host, has_login=True)


def _read_server(
    table: ServerTable,
    listen: Address,
    registry: Mapping[str, RegistryConfig],
    around: Surroundings,
    problems: Problems,
) -> ServerConfig:
    files: dict[str, Path | None] = {"htpasswd": None, "tls_cert": None, "tls_key": None}
    for key in files:
        text = getattr(table, key)
        with problems.at("server", key):
            if text is not None:
                files[key] = around.readable(text)
    for key, other in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if getattr(table, key) is not None and getattr(table, other) is None:
            problems.add(("server", key), f"expected {other} beside it, got none")
    if table.anonymous and table.htpasswd is not None:
        problems.add(
            ("server", "anonymous"),
            "expected false beside htpasswd, got true: nobody would be asked to log in",
            "remove one of the two",
        )
    default = DOCKER_HUB
    with problems.at("server", "default_registry"):
        if table.default_registry is not None:
            default = _default_registry(table.default_registry, registry)
    return ServerConfig(listen, table.anonymous, default_registry=default, **files)


def _default_registry(text: str, registry: Mapping[str, RegistryConfig]) -> str:
    name = registry_name(text)
    if name == WILDCARD or (name not in registry and WILDCARD not in registry):
        known = ", ".join(sorted(set(registry) - {WILDCARD}))
        raise ConfigError(f'expected a configured registry ({known}), got "{printable(text)}"')
    return name


def _read_store(table: StoreTable, options: Options, around: Surroundings, problems: Problems) -> StoreConfig:
    path = environment.default_store(around.environ)
    size_bytes: int | None = None
    with problems.at("store", "max_size"):
        size_bytes = parse_size(table.max_size)
    if options.store is not None:
        with problems.at("--store"):
            path = Surroundings(around.environ, Path()).path(options.store)
    elif table.path is not None:
        with problems.at("store", "path"):
            path = around.path(table.path)
    return StoreConfig(path, size_bytes)


def _read_tags(table: TagsTable, options: Options, around: Surroundings, problems: Problems) -> TagsConfig:
    seconds = {"fresh_for": 0.0, "stale_for": 0.0}
    for key in seconds:
        with problems.at("tags", key):
            seconds[key] = parse_duration(getattr(table, key))
    with problems.at("tags", "agree"):
        within(1, AGREE_MAX)(table.agree)
    lock: Lock | None = None
    path: Path | None = None
    with problems.at("tags", "lock"):
        path = None if table.lock is None else around.path(table.lock)
        lock = read_lock(path) if path is not None and options.locked else None
    return TagsConfig(seconds["fresh_for"], seconds["stale_for"], table.agree, lock, path)


def _check_commands(commands: Mapping[str, str], problems: Problems) -> None:
    for name, command in commands.items():
        if not command.strip() or len(command) > COMMAND_CHARACTERS_MAX or "\0" in command:
            problems.add(("node", "commands", name), "expected a command, got an empty or overlong one")
        elif not _is_command(command):
            problems.add(("node", "commands", name), "expected a command, got a quote that does not end")


def _is_command(text: str) -> bool:
    """Whether it can be split into words, as a shell would. It is run without one."""
    try:
        return bool(shlex.split(text))
    except ValueError:
        return False
