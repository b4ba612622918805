"""What BuildKit's files say: buildkitd.toml, the one that buildx gives to new builders, and what those got.

Guarantees that no file is changed here, and that one which does not parse is told with its line.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sampan.runtimes.contract import Finding
from sampan.runtimes.homes import root_home
from sampan.runtimes.toml_text import NotTomlError, TomlText, parse
from sampan.runtimes.tree import File, Tree
from sampan.runtimes.units import started_by
from sampan.words import sentence

UNIT = "buildkit.service"
DIRECTORY = "/etc/buildkit"
BUILDX = ".docker/buildx"
BUILDX_DEFAULT = "buildkitd.default.toml"
OF_A_PERSON = ".config/buildkit/buildkitd.toml"
_PROGRAMS = ("/usr/bin/buildkitd", "/usr/local/bin/buildkitd")
_PLUGINS = tuple(
    f"/usr/{place}/docker/cli-plugins/docker-buildx"
    for place in ("libexec", "lib", "local/lib", "local/libexec")
)


@dataclass(frozen=True, slots=True)
class Config:
    """One buildkitd.toml. ``beside``: where certificates for it lie; ``in_container``: its builders do not
    have this machine's loopback. ``problem``: why it is not read."""

    file: File
    beside: str
    in_container: bool
    text: TomlText = field(default_factory=TomlText)
    problem: Finding | None = None

    @property
    def registries(self) -> dict[str, dict[str, Any]]:
        """The tables of ``[registry]``, by host."""
        return registries_of(self.text)

    def mirrors(self, registry: str) -> list[str]:
        """As they are written, ``host[:port][/path]``."""
        found = self.registries.get(registry, {}).get("mirrors")
        return [word for word in found if isinstance(word, str)] if isinstance(found, list) else []


@dataclass(frozen=True, slots=True)
class Builder:
    """A builder of root's, and what it was made with: empty when without a configuration. buildx writes that
    anew (sorted, with other paths of certificates), so it is compared by what it says of mirrors."""

    name: str
    path: str
    text: TomlText


def registries_of(text: TomlText) -> dict[str, dict[str, Any]]:
    """The tables of ``[registry]``, by host."""
    found = text.table.get("registry")
    if not isinstance(found, dict):
        return {}
    return {str(host): table for host, table in found.items() if isinstance(table, dict)}


def has_daemon(tree: Tree) -> bool:
    """Whether a buildkitd of this machine's own is there."""
    unit = started_by(tree, UNIT)
    return bool(unit.words) or any(tree.exists(path) for path in (*_PROGRAMS, DIRECTORY))


def has_buildx(tree: Tree) -> bool:
    """Whether docker can make builders."""
    plugins = (*_PLUGINS, f"{root_home(tree)}/.docker/cli-plugins/docker-buildx")
    return any(tree.exists(path) for path in plugins)


def configs(tree: Tree) -> list[Config]:
    """The files that there are, or would be: the daemon's, then the one for root's builders."""
    found = []
    if has_daemon(tree):
        found.append(_read(tree, _daemon_file(tree), f"{DIRECTORY}/sampan", in_container=False))
    if has_buildx(tree):
        home = f"{root_home(tree)}/{BUILDX}"
        found.append(_read(tree, f"{home}/{BUILDX_DEFAULT}", f"{home}/sampan", in_container=True))
    return found


def builders(tree: Tree) -> Iterator[Builder]:
    """Root's builders in containers, by what buildx noted of them."""
    directory = f"{root_home(tree)}/{BUILDX}/instances"
    for name in tree.directory(directory).names:
        try:
            noted = json.loads(tree.file(f"{directory}/{name}").data or b"{}")
            if noted.get("Driver") == "docker-container":
                nodes = [node for node in noted.get("Nodes") or () if isinstance(node, dict)]
                files = (nodes[0].get("Files") or {}) if nodes else {}
                config = base64.b64decode(files.get("buildkitd.toml") or "", validate=True)
                yield Builder(name, f"{directory}/{name}", parse(config))
        except (ValueError, AttributeError, TypeError, binascii.Error, RecursionError):
            continue  # not as buildx writes it: nothing is known of it


def _daemon_file(tree: Tree) -> str:
    words = started_by(tree, UNIT).words
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == "--config":
            return value if equals else next(iter(words[index + 1 : index + 2]), "")
    return f"{DIRECTORY}/buildkitd.toml"


def _read(tree: Tree, path: str, beside: str, *, in_container: bool) -> Config:
    file = tree.file(path)
    if file.data is None:
        return Config(file, beside, in_container, problem=file.problem)
    try:
        return Config(file, beside, in_container, parse(file.data))
    except NotTomlError as error:
        hint = sentence("buildkitd does not start with it, and buildx makes no builder: repair it")
        problem = Finding("BUILDKITD_TOML_PARSE", error.reason, "error", path, error.line, hint)
        return Config(file, beside, in_container, problem=problem)
