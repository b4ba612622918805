"""What containerd's files say of registries to its CRI plugin, the one that pulls for a kubelet.

The tables of registries have moved with the format of the file: ``[plugins.cri.registry]`` in 1 (only
containerd 1.x reads that), ``io.containerd.grpc.v1.cri`` in 2, ``io.containerd.cri.v1.images`` in 3 and
later. One in the wrong place is not read, and nobody says so. Guarantees that what is called in force is what
the real programs were seen to do; see docs/node.md for which.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sampan.runtimes.containerd.files import Config, Layer
from sampan.runtimes.contract import Version

SHORT, OLD, NEW = "cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"
NAMES = (SHORT, OLD, NEW)
DEFAULT_DIRECTORY = "/etc/containerd/certs.d"
DEFAULT_LIST = f"{DEFAULT_DIRECTORY}:/etc/docker/certs.d"  # since 2.2
_LISTS_SINCE = Version(2, 2)
_TRANSFER_SINCE = Version(2, 1)
_ROOTS_SEPARATOR = ":"


@dataclass(frozen=True, slots=True)
class Part:
    """One registry table of one file; ``read`` is false when this containerd does not look there. ``awaits``:
    the table of format 2 in a file of format 3, which 2.0 to 2.2 pass over, and 2.3 would put in the place of
    the right one."""

    layer: Layer
    plugin: str
    table: dict[str, Any]
    read: bool
    awaits: bool = False

    @property
    def path(self) -> tuple[str, ...]:
        """Where it stands in its file."""
        return ("plugins", self.plugin, "registry")

    def line(self, *below: str) -> int | None:
        return self.layer.toml.line(*self.path, *below)

    def tables(self, key: str) -> dict[str, dict[str, Any]]:
        """A table of tables, as ``mirrors`` and ``configs`` are."""
        found = self.table.get(key)
        return (
            {name: each for name, each in found.items() if isinstance(each, dict)}
            if isinstance(found, dict)
            else {}
        )


@dataclass(frozen=True, slots=True)
class Registry:
    """What is in force together. ``config_path`` as it is written, "" when none; ``transfer``: images are
    pulled by the transfer service (None: not known), which takes ``config_path`` for one directory."""

    config_path: str = ""
    path_part: Part | None = None
    mirrors: dict[str, Part] = field(default_factory=dict)
    configs: dict[str, Part] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    transfer: bool | None = None
    local_because: str | None = None
    is_2: bool = False

    @property
    def roots(self) -> tuple[str, ...]:
        """The directories that ``config_path`` means."""
        return tuple(posixpath.normpath(root) for root in self.config_path.split(_ROOTS_SEPARATOR) if root)

    @property
    def is_list(self) -> bool:
        return _ROOTS_SEPARATOR in self.config_path

    @property
    def read_roots(self) -> tuple[str, ...]:
        """Those in which hosts.toml files are looked for: of a list, the transfer service finds none."""
        return () if self.broken is not None or (self.is_list and self.transfer) else self.roots

    @property
    def tls(self) -> dict[str, Part]:
        """The entries of ``configs`` that have a ``tls`` table."""
        return {name: part for name, part in self.configs.items() if "tls" in part.tables("configs")[name]}

    @property
    def broken(self) -> str | None:
        """Why the CRI plugin does not load: the key that may not stand beside ``config_path``."""
        if self.config_path and self.path_part is not None:
            if self.mirrors:
                return "mirrors"
            if self.tls and not self.is_2:
                return "configs.tls"
        return None


def read_registry(config: Config) -> Registry:
    """Put together from all layers."""
    parts = tuple(_parts(config))
    read = [part for part in parts if part.read]
    path_part = next(
        (part for part in reversed(read) if isinstance(part.table.get("config_path"), str)), None
    )
    path = "" if path_part is None else str(path_part.table["config_path"])
    mirrors = {name: part for part in read for name in part.tables("mirrors")}
    configs = {name: part for part in read for name in part.tables("configs")}
    if not path and not mirrors and config.version is not None and config.version >= _LISTS_SINCE:
        path, path_part = DEFAULT_LIST, None
    transfer, because = _transfer(config, read)
    return Registry(path, path_part, mirrors, configs, parts, transfer, because, config.is_2)


def read_name(layer_version: int | None, config: Config) -> tuple[str, ...]:
    """The plugin names under which a file of that format is looked at, the first that is there wins."""
    number = layer_version or 1
    if not config.is_2:
        if config.main.version is None or config.main.version < 2:
            return (SHORT,)
        return (OLD,)
    if number < 2:
        return ()  # 2.x finds nothing of the CRI in it, by either name
    if number == 2 or (number == 3 and config.version is not None and config.version >= Version(2, 3)):
        return (OLD, NEW)
    return (NEW,)


def _parts(config: Config) -> Iterator[Part]:
    last = _last_with_plugin(config)
    for layer in config.layers:
        names = read_name(layer.version, config)
        found = [name for name in NAMES if isinstance((layer.plugin(name) or {}).get("registry"), dict)]
        alive = next((name for name in names if name in found), None)
        for name in found:
            table: dict[str, Any] = (layer.plugin(name) or {})["registry"]
            read = name == alive and (config.is_2 or layer is last)
            awaits = config.is_2 and not read and name == OLD and layer.version == 3
            yield Part(layer, name, table, read, awaits)


def _last_with_plugin(config: Config) -> Layer | None:
    """In 1.x the last file that has any of the CRI's table replaces all of those before."""
    names = read_name(config.main.version, config)
    having = [layer for layer in config.layers if any(layer.plugin(name) is not None for name in names)]
    return having[-1] if having else None


def _transfer(config: Config, read: list[Part]) -> tuple[bool | None, str | None]:
    """Whether the transfer service pulls, and what sends this containerd back to pulling by itself."""
    if config.version is None:
        return None, None
    if config.version < _TRANSFER_SINCE:
        return False, None
    for key in ("mirrors", "configs", "auths"):
        if any(part.tables(key) for part in read):
            return False, f"registry.{key}"
    settings = _image_settings(config)
    for key, usual in (
        ("use_local_image_pull", False),
        ("disable_snapshot_annotations", True),
        ("discard_unpacked_layers", False),
        ("max_concurrent_downloads", 3),
        ("image_pull_with_sync_fs", False),
    ):
        if settings.get(key, usual) != usual:
            return False, key
    return True, None


def _image_settings(config: Config) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for layer in config.layers:
        for name in reversed(read_name(layer.version, config)):
            table = layer.plugin(name) or {}
            below = table.get("containerd") if name == OLD else None
            found |= table | (below if isinstance(below, dict) else {})
    return found
