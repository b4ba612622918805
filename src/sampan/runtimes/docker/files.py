"""What Docker Engine's files say: daemon.json, the flags of its unit, and certs.d.

Guarantees that no file is changed here, and that one which does not parse is told with its line. What to make
of it is its siblings'.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sampan.runtimes.contract import Finding
from sampan.runtimes.json_text import JsonObject, NotJsonError
from sampan.runtimes.tree import File, Tree
from sampan.runtimes.units import split_words, started_by
from sampan.words import sentence

DAEMON_JSON = "/etc/docker/daemon.json"
CERTS = "/etc/docker/certs.d"
DATA_ROOT = "/var/lib/docker"
MIRRORS, INSECURE = "registry-mirrors", "insecure-registries"
GRAPH_DRIVERS = ("overlay2", "fuse-overlayfs", "btrfs", "zfs", "vfs", "devicemapper", "aufs", "overlay")
UNIT = "docker.service"
_DEFAULTS = "/etc/default/docker"  # read by Debian's unit and by init scripts
_VALUES = {"--registry-mirror": MIRRORS, "--insecure-registry": INSECURE, "--config-file": "config-file"}


@dataclass(frozen=True, slots=True)
class Flags:
    """What dockerd's command line says, by daemon.json's key, and the file that it is from."""

    values: dict[str, list[str]] = field(default_factory=dict)
    file: str | None = None

    @property
    def config_file(self) -> str:
        """Where daemon.json is."""
        return next(reversed(self.values.get("config-file", [])), DAEMON_JSON)


@dataclass(frozen=True, slots=True)
class Daemon:
    """daemon.json: ``document`` None when it is absent, or when it does not parse (``problem``)."""

    file: File
    document: JsonObject | None = None
    problem: Finding | None = None

    def get(self, key: str) -> Any:  # noqa: ANN401 - whatever stands there
        return None if self.document is None else self.document.get(key)

    def urls(self, key: str) -> list[str]:
        """A list of words; what is no word is left out."""
        found = self.get(key)
        return [word for word in found if isinstance(word, str)] if isinstance(found, list) else []

    def line(self, key: str) -> int | None:
        return None if self.document is None else self.document.line(key)


def read_daemon(tree: Tree, path: str) -> Daemon:
    """daemon.json at ``path``."""
    file = tree.file(path)
    if file.data is None:
        return Daemon(file, problem=file.problem)
    try:
        return Daemon(file, JsonObject.parse(file.data))
    except NotJsonError as error:
        hint = sentence("dockerd does not start, or keeps what it had: repair the file")
        return Daemon(file, None, Finding("DAEMON_JSON_PARSE", error.reason, "error", path, error.line, hint))


def read_flags(tree: Tree) -> Flags:
    """The flags of the unit as it is started; a drop-in's ExecStart= stands in the place of the unit's."""
    started = started_by(tree, UNIT)
    words, file = list(started.words), started.file
    options = [
        line for line in tree.file(_DEFAULTS).text.splitlines() if line.strip().startswith("DOCKER_OPTS=")
    ]
    if options:
        words += split_words(options[-1].partition("=")[2].strip().strip("\"'"))
        file = file or _DEFAULTS
    return Flags(_values(words), file)


def store_of(daemon: Daemon, tree: Tree, *, since_29: bool) -> str:
    """``containerd`` or ``graphdriver``: which image store dockerd chooses at its start, by its files."""
    features = daemon.get("features")
    told = features.get("containerd-snapshotter") if isinstance(features, dict) else None
    if isinstance(told, bool):
        return "containerd" if told else "graphdriver"
    if not since_29 or daemon.get("storage-driver") or daemon.get("userns-remap"):
        return "graphdriver"
    root = daemon.get("data-root")
    names = tree.directory(root if isinstance(root, str) else DATA_ROOT).names
    return "graphdriver" if set(names) & set(GRAPH_DRIVERS) else "containerd"


def _values(words: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        key = _VALUES.get("--" + name.lstrip("-")) if name.startswith("-") else None
        if key is not None:
            found.setdefault(key, []).append(
                value if equals else next(iter(words[index + 1 : index + 2]), "")
            )
    return found
