"""containerd's configuration as it loads it: config.toml, and what that imports, in the order of their force.

Guarantees that each file is read once and that one which does not parse is told with its line. What the
registry settings in them mean is :mod:`.registry`'s.
"""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sampan.runtimes.contract import Finding, Installed, Version
from sampan.runtimes.toml_text import NotTomlError, TomlText, parse
from sampan.runtimes.tree import File, Tree
from sampan.runtimes.units import started_by
from sampan.words import sentence

CONFIG = "/etc/containerd/config.toml"
UNIT = "containerd.service"
IMPORTS_MAX = 200  # files; a configuration that imports itself through a thousand links is nobody's
_FLAGS = {"--config": "config", "-c": "config", "--address": "address", "-a": "address"}
_LATEST = ((Version(2, 3), 4), (Version(2), 3))  # since which version which number is read; 2 before


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line of its unit says."""

    config: str = CONFIG
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """One file. ``toml`` is empty when it is absent or does not parse (``problem``)."""

    file: File
    toml: TomlText = field(default_factory=TomlText)
    problem: Finding | None = None

    @property
    def path(self) -> str:
        return self.file.path

    @property
    def version(self) -> int | None:
        """What the file says of its own format; None: nothing, which is 1."""
        found = self.toml.table.get("version")
        return found if isinstance(found, int) else None

    @property
    def imports(self) -> list[str]:
        found = self.toml.table.get("imports")
        return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []

    def plugin(self, name: str) -> dict[str, Any] | None:
        """The table of a plugin, None when there is none."""
        plugins = self.toml.table.get("plugins")
        found = plugins.get(name) if isinstance(plugins, dict) else None
        return found if isinstance(found, dict) else None


@dataclass(frozen=True, slots=True)
class Config:
    """The ``layers``, config.toml first, each later one above those before; ``findings`` about loading them.
    ``version``: that of containerd, as it is known or as these files tell."""

    layers: tuple[Layer, ...]
    version: Version | None
    findings: tuple[Finding, ...] = ()

    @property
    def main(self) -> Layer:
        return self.layers[0]

    @property
    def is_2(self) -> bool:
        """Whether it is surely containerd 2 or later."""
        return self.version is not None and self.version >= Version(2)

    @property
    def latest_format(self) -> int:
        """The highest ``version`` of a file that it reads."""
        for since, number in _LATEST:
            if self.version is not None and self.version >= since:
                return number
        return 2

    @property
    def disabled(self) -> tuple[Layer, str] | None:
        """Where the CRI is switched off, and by which name; it is in all layers together."""
        for layer in self.layers:
            names = layer.toml.table.get("disabled_plugins")
            for name in names if isinstance(names, list) else ():
                if name in ("cri", "io.containerd.grpc.v1.cri"):
                    return layer, str(name)
        return None


def read_flags(tree: Tree) -> Flags:
    """The flags of the unit, where there is one."""
    return flags_of(started_by(tree, UNIT).words)


def flags_of(words: Sequence[str]) -> Flags:
    """Those of a command line."""
    found: dict[str, str] = {}
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in _FLAGS:
            found[_FLAGS[name]] = value if equals else next(iter(words[index + 1 : index + 2]), "")
    return Flags(found.get("config") or CONFIG, found.get("address"))


def read_config(tree: Tree, path: str, installed: Installed) -> Config:
    """All that a containerd with ``--config PATH`` loads."""
    main = read_layer(tree, path)
    version = installed.version or _told_by(main)
    layers, findings = [main], [] if main.problem is None else [main.problem]
    pending = [(layer, pattern) for layer in layers for pattern in main.imports]
    while pending and len(layers) < IMPORTS_MAX:
        importing, pattern = pending.pop(0)
        paths = list(_imported(tree, importing, pattern, version))
        if not paths and "*" not in pattern:
            findings.append(_import_absent(importing, pattern, version))
        for each in paths:
            if each not in [layer.path for layer in layers]:
                layer = read_layer(tree, each)
                layers.append(layer)
                findings += [] if layer.problem is None else [layer.problem]
                pending += [(layer, deeper) for deeper in layer.imports]
    return Config(tuple(layers), version, tuple(findings))


def read_layer(tree: Tree, path: str) -> Layer:
    """The file at ``path``."""
    file = tree.file(path)
    if file.data is None:
        return Layer(file, problem=file.problem)
    try:
        return Layer(file, parse(file.data))
    except NotTomlError as error:
        hint = sentence("containerd does not start with it: repair the file")
        return Layer(
            file, problem=Finding("CONFIG_PARSE", error.reason, "error", file.path, error.line, hint)
        )


def _told_by(main: Layer) -> Version | None:
    """Which containerd it is at least, when only its file can tell: no 1.x reads the format 3."""
    return {3: Version(2), 4: Version(2, 3)}.get(main.version or 0)


def _imported(tree: Tree, layer: Layer, pattern: str, version: Version | None) -> Iterator[str]:
    """The files of one entry of ``imports``. Before 1.7 a relative pattern belongs to no directory here."""
    full = posixpath.normpath(posixpath.join(posixpath.dirname(layer.path), pattern))
    if "*" not in pattern:
        if tree.file(full).state != "absent":
            yield full
        return
    if pattern.startswith("/") or version is None or version >= Version(1, 7):
        yield from glob(tree, full)


def glob(tree: Tree, pattern: str) -> list[str]:
    """The paths that ``pattern``, absolute, names; sorted."""
    found = ["/"]
    for part in pattern.strip("/").split("/"):
        if "*" in part or "?" in part or "[" in part:
            names = [(above, tree.directory(above).names) for above in found]
            found = [posixpath.join(a, n) for a, each in names for n in fnmatch.filter(each, part)]
        else:
            found = [posixpath.join(above, part) for above in found]
    return sorted(path for path in found if tree.file(path).state not in ("absent", "directory"))


def _import_absent(layer: Layer, pattern: str, version: Version | None) -> Finding:
    new = version is not None and version >= Version(2)
    message = sentence(
        "imports names {pattern}, which is not there: containerd does not start", pattern=pattern
    )
    if new:
        message = sentence("imports names {pattern}, which is not there: it is passed over", pattern=pattern)
    line = layer.toml.line("imports")
    return Finding("IMPORT_ABSENT", message, "note" if new else "error", layer.path, line)
