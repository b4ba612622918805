"""containerd's files as they are to be: hosts.toml files in one directory, and config.toml pointing there.

Guarantees that keys of config.toml are set one by one, that what was in force of ``registry.mirrors`` is in
force afterwards, that no file is left in a state in which the CRI plugin does not load, and that config.toml
is left alone when hosts.toml files are all that differs.
"""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sampan.runtimes.containerd.files import CONFIG, Config, Layer
from sampan.runtimes.containerd.legacy import move
from sampan.runtimes.containerd.registry import (
    DEFAULT_DIRECTORY,
    NEW,
    OLD,
    Part,
    Registry,
    read_name,
    read_registry,
)
from sampan.runtimes.contract import Change, Version
from sampan.runtimes.hosts_directory import plan_hosts, plan_merge
from sampan.runtimes.hosts_kept import Kept
from sampan.runtimes.hosts_toml import HEADER, Dialect
from sampan.runtimes.plan import refuse
from sampan.runtimes.toml_text import Edit, NotTomlError, edited
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import EVERY_REGISTRY, Wanted
from sampan.words import sentence

DROP_IN = "50-sampan.toml"
OWN_DIRECTORY = "/etc/containerd/conf.d"
DEFAULT_SINCE = Version(1, 6, 17)
_BY_FORMAT = ("plugins", "disabled_plugins", "required_plugins")  # what another format reads otherwise
_TEMPLATE = '{header}version = {version}\n\n[plugins."{plugin}".registry]\n  config_path = "{root}"\n'


@dataclass(frozen=True, slots=True)
class Planned:
    """``config_changes`` need a restart, ``hosts_changes`` do not."""

    hosts_changes: tuple[Change, ...] = ()
    config_changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()


def dialect_of(version: Version | None) -> Dialect:
    """What of hosts.toml a containerd reads; of an unknown one, what all do."""
    known = version or Version(1, 5)
    return Dialect(
        override_path=known >= Version(1, 6),
        dial_timeout=known >= Version(2, 0, 7),
        referrers=known >= Version(2, 2),
        is_2=known >= Version(2),
    )


def plan_files(tree: Tree, config: Config, wanted: Wanted) -> Planned:
    """Raises PlanMismatch for a file that must not be touched, or that containerd does not start with."""
    _check(config)
    if config.disabled is not None:
        return Planned(notes=(_disabled(*config.disabled),))
    registry = read_registry(config)
    dialect = dialect_of(config.version)
    root = registry.roots[0] if registry.roots else DEFAULT_DIRECTORY
    if not any(route.mirrors for route in wanted.routes):  # at most, what sampan wrote goes
        return Planned(plan_hosts(tree, root, wanted, dialect)[0])
    legacy = move(registry, override_path=dialect.override_path)
    notes: list[str] = []
    wanted, moved = _without_default(config.version, wanted, legacy.kept, notes)
    merged, merge_notes = plan_merge(tree, root, registry.roots[1:])
    hosts, hosts_notes = plan_hosts(tree.changed(merged), root, wanted, dialect, moved)
    config_changes = _config_changes(tree, config, registry, root)
    if config_changes:
        notes += _what_changes(registry, config)
    notes += [*legacy.notes, *merge_notes, *hosts_notes]
    return Planned(_joined(merged, hosts), config_changes, tuple(notes))


def _check(config: Config) -> None:
    for finding in config.findings:
        if finding.level == "error":
            raise refuse(finding.file or CONFIG, finding.message, line=finding.line, hint=finding.hint)
    number = config.main.version or 1
    if config.version is not None and config.version >= Version(1, 7) and number > config.latest_format:
        raise refuse(
            config.main.path,
            sentence(
                "version = {number}, and containerd {version} reads {latest} at most",
                number=number,
                version=config.version,
                latest=config.latest_format,
            ),
            line=config.main.toml.line("version"),
            hint=sentence("it does not start with this file: write it for this version"),
        )


def _disabled(layer: Layer, name: str) -> str:
    return sentence(
        'the CRI is disabled ("{name}" in disabled_plugins of {path}), as Docker\'s package has '
        "it: nobody pulls by these files, and nothing is changed",
        name=name,
        path=layer.path,
    )


def _without_default(
    version: Version | None, wanted: Wanted, moved: Mapping[str, Kept], notes: list[str]
) -> tuple[Wanted, Mapping[str, Kept]]:
    """Without what stands for all registries, where no file can."""
    if EVERY_REGISTRY not in moved and wanted.routes[-1].registry != EVERY_REGISTRY:
        return wanted, moved
    if version is None:
        notes.append(
            sentence(
                "_default, for all other registries, is read since containerd {version}",
                version=DEFAULT_SINCE,
            )
        )
    elif version < DEFAULT_SINCE:
        notes.append(
            sentence(
                "all other registries are asked directly: _default is read since {version}",
                version=DEFAULT_SINCE,
            )
        )
        routes = tuple(route for route in wanted.routes if route.registry != EVERY_REGISTRY)
        moved = {registry: kept for registry, kept in moved.items() if registry != EVERY_REGISTRY}
        wanted = replace(wanted, routes=routes)
    return wanted, moved


def _joined(first: tuple[Change, ...], second: tuple[Change, ...]) -> tuple[Change, ...]:
    """One change a file, as it is before both and after both."""
    found = {change.path: change for change in first}
    for change in second:
        earlier = found.get(change.path, change)
        secret = earlier.secret or change.secret
        found[change.path] = replace(change, before=earlier.before, mode=earlier.mode, secret=secret)
    return tuple(change for change in found.values() if change.before != change.after)


def _what_changes(registry: Registry, config: Config) -> list[str]:
    notes: list[str] = []
    if registry.mirrors:
        notes.append(sentence("registry.mirrors is moved into hosts.toml files: it excludes config_path"))
    if registry.tls and not config.is_2:
        notes.append(
            sentence("registry.configs.*.tls is moved into hosts.toml files: it excludes config_path")
        )
    if registry.is_list:
        notes.append(
            sentence(
                "config_path names one directory instead of {config_path}", config_path=registry.config_path
            )
        )
    if registry.local_because == "registry.mirrors":
        notes.append(sentence("without registry.mirrors, this containerd pulls by its transfer service"))
    return notes


# -- config.toml ----------------------------------------------------------------------------------


def _config_changes(tree: Tree, config: Config, registry: Registry, root: str) -> tuple[Change, ...]:
    """Edits by file; a file that is not there is written whole."""
    edits: dict[str, list[Edit]] = {}
    for part in registry.parts:
        edits.setdefault(part.layer.path, []).extend(_removals(part, config, registry))
    new: dict[str, bytes] = {}
    if registry.path_part is None or registry.is_list or not registry.roots:
        _point(config, registry, root, edits, new)
    changes = [_edited(tree, path, each) for path, each in edits.items() if each]
    changes += [Change(path, tree.file(path).editable(), data) for path, data in new.items()]
    return tuple(change for change in changes if change.before != change.after)


def _removals(part: Part, config: Config, registry: Registry) -> list[Edit]:
    if part.awaits:
        there = {name for each in registry.parts if each.plugin == NEW for name in each.tables("configs")}
        configs = {n: each for n, each in part.tables("configs").items() if n not in there}
        path = ("plugins", NEW, "registry", "configs")
        return [Edit(part.path, remove=True), *_leaves(path, configs)]
    if not part.read:
        return []
    found = [Edit((*part.path, "mirrors"), remove=True)] if part.tables("mirrors") else []
    if not config.is_2:
        names = [name for name, each in part.tables("configs").items() if "tls" in each]
        found += [Edit((*part.path, "configs", name, "tls"), remove=True) for name in names]
    return found


def _leaves(path: tuple[str, ...], table: Mapping[str, Any]) -> Iterator[Edit]:
    """One edit a key, the last first: each is put at the beginning of its table."""
    for key, value in reversed(list(table.items())):
        if isinstance(value, dict):
            yield from _leaves((*path, key), value)
        else:
            yield Edit((*path, key), value)


def _point(
    config: Config, registry: Registry, root: str, edits: dict[str, list[Edit]], new: dict[str, bytes]
) -> None:
    """Make ``config_path`` be ``root``, in the file that decides."""
    main = config.main
    if registry.path_part is not None:
        part = registry.path_part
        edits.setdefault(part.layer.path, []).append(Edit((*part.path, "config_path"), root))
    elif main.file.state == "absent":
        new[main.path] = _written(config, root)
    elif _has_no_format(main):
        number, plugin = (3, NEW) if config.is_2 else (2, OLD)
        found = edits.setdefault(main.path, [])
        found += [Edit(("version",), number), Edit(("plugins", plugin, "registry", "config_path"), root)]
    elif config.is_2 and (path := _drop_in(config)) is not None:
        new[path] = _written(config, root)
        if not any(_matches(main, pattern, path) for pattern in main.imports):
            edits.setdefault(main.path, []).append(Edit(("imports",), [*main.imports, path]))
    else:
        layer, plugin = _decides(config, registry)
        edits.setdefault(layer.path, []).append(Edit(("plugins", plugin, "registry", "config_path"), root))


def _has_no_format(main: Layer) -> bool:
    """Whether it may be given a ``version``: nothing in it would mean something else then."""
    return main.version is None and not any(main.toml.table.get(key) for key in _BY_FORMAT)


def _drop_in(config: Config) -> str | None:
    """A file of our own, where 2.x imports such files, or config.toml is of a format that can say nothing."""
    main = config.main
    for pattern in main.imports:
        full = posixpath.normpath(posixpath.join(posixpath.dirname(main.path), pattern))
        path = posixpath.join(posixpath.dirname(full), DROP_IN)
        plain = "*" in posixpath.basename(full) and "*" not in posixpath.dirname(full)
        if plain and fnmatch.fnmatch(DROP_IN, posixpath.basename(full)):
            return path
    return f"{OWN_DIRECTORY}/{DROP_IN}" if (main.version or 1) < 2 else None


def _matches(main: Layer, pattern: str, path: str) -> bool:
    return fnmatch.fnmatch(path, posixpath.normpath(posixpath.join(posixpath.dirname(main.path), pattern)))


def _decides(config: Config, registry: Registry) -> tuple[Layer, str]:
    """The file and the plugin's name where the key is to stand: with what is there already, else config.toml;
    in 1.x the last file with the CRI's table replaces those before."""
    read = [part for part in registry.parts if part.read]
    if read and (not config.is_2 or read[-1].layer is config.main):
        return read[-1].layer, read[-1].plugin
    if config.is_2:
        return config.main, OLD if config.main.version == 2 else NEW
    name = read_name(config.main.version, config)[0]
    having = [layer for layer in config.layers if layer.plugin(name) is not None]
    return (having[-1] if having else config.main), name


def _written(config: Config, root: str) -> bytes:
    number, plugin = (3, NEW) if config.is_2 else (2, OLD)
    return _TEMPLATE.format(header=HEADER, version=number, plugin=plugin, root=root).encode()


def _edited(tree: Tree, path: str, edits: list[Edit]) -> Change:
    before = tree.file(path).editable() or b""
    try:
        return Change(path, before, edited(before, edits))
    except NotTomlError as error:
        hint = sentence("by hand: {names}", names=", ".join(map(str, edits)))
        raise refuse(path, error.reason, line=error.line, hint=hint) from error
