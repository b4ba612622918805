"""The daemons that pull: which unit starts each, which process it is, and where it keeps images.

It reads files alone, those of /proc among them, so that it is the same for a tree as for this machine, and
needs no program. What may not be read is told and not raised.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sampan.runtimes.containerd.files import CONFIG
from sampan.runtimes.docker.files import DATA_ROOT, read_daemon, read_flags
from sampan.runtimes.toml_text import NotTomlError, parse
from sampan.runtimes.tree import Tree
from sampan.runtimes.unit_variables import Variable, variables_of
from sampan.runtimes.units import unit_files

PROC = "/proc"
STORAGE_CONF = "/etc/containers/storage.conf"
TICKS_A_SECOND = 100  # what Linux shows to programs, whatever it counts in (USER_HZ)
_KEEPERS = ("/docker/containerd", "/rancher/", "microk8s")
_SERVING = {"podman": "service", "sampan": "serve"}  # the same programs are commands too
_NUMBER = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class Daemon:
    """``runtime``: its name in :data:`sampan.runtimes.RUNTIMES`. ``units``: those that may start it, the
    first that is there does. ``processes``: its names among processes. ``root``: where its images are."""

    runtime: str
    units: tuple[str, ...]
    processes: tuple[str, ...]
    root: Callable[[Tree], str]


@dataclass(frozen=True, slots=True)
class Process:
    """A running daemon. ``environ`` None: it may not be read. ``started``: seconds since 1970, if known."""

    number: int
    environ: Mapping[str, str] | None = field(default=None, repr=False)
    started: float | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """A daemon of a tree: what its files would start it with, and what is running."""

    daemon: Daemon
    unit: str | None
    variables: Mapping[str, Variable]
    process: Process | None

    @property
    def name(self) -> str:
        return self.daemon.runtime


def running_of(tree: Tree, runtimes: Sequence[str]) -> tuple[Running, ...]:
    """Of those daemons whose runtimes the tree has."""
    wanted = [daemon for daemon in DAEMONS if daemon.runtime in runtimes]
    processes = _processes(tree, {name for daemon in wanted for name in daemon.processes}) if wanted else {}
    return tuple(_running(tree, daemon, processes) for daemon in wanted)


def _running(tree: Tree, daemon: Daemon, processes: Mapping[str, Process]) -> Running:
    unit = next((unit for unit in daemon.units if any(True for _ in unit_files(tree, unit))), None)
    variables = {} if unit is None else variables_of(tree, unit)
    process = next((processes[name] for name in daemon.processes if name in processes), None)
    return Running(daemon, unit, variables, process)


# -- processes ------------------------------------------------------------------------------------


def _processes(tree: Tree, names: set[str]) -> dict[str, Process]:
    """The oldest of each name, those left out that another program keeps for itself."""
    found: dict[str, Process] = {}
    numbers = sorted(int(name) for name in tree.directory(PROC).names if _NUMBER.fullmatch(name))
    for number in numbers:
        name = tree.file(f"{PROC}/{number}/comm").text.strip()
        if name in names and name not in found and _is_daemon(tree, number, name):
            found[name] = Process(number, _environ(tree, number), _started(tree, number))
    return found


def _is_daemon(tree: Tree, number: int, name: str) -> bool:
    """Whether it is no containerd that dockerd, k3s or microk8s keeps, and no command that somebody gave."""
    words = tree.file(f"{PROC}/{number}/cmdline").text.split("\0")[1:]
    is_kept = any(keeper in word for word in words for keeper in _KEEPERS)
    return not is_kept and (name not in _SERVING or _SERVING[name] in words)


def _environ(tree: Tree, number: int) -> dict[str, str] | None:
    file = tree.file(f"{PROC}/{number}/environ")
    if file.data is None:
        return None
    pairs = (entry.partition("=") for entry in file.text.split("\0") if "=" in entry)
    return {name: value for name, _, value in pairs}


def _started(tree: Tree, number: int) -> float | None:
    """By the kernel's count of ticks since the machine started."""
    boot = re.search(r"^btime (\d{1,12})$", tree.file(f"{PROC}/stat").text, re.MULTILINE)
    fields = tree.file(f"{PROC}/{number}/stat").text.rpartition(")")[2].split()
    if boot is None or len(fields) < 20 or not fields[19].isdigit():
        return None
    return int(boot[1]) + int(fields[19]) / TICKS_A_SECOND


# -- where images are -----------------------------------------------------------------------------


def _containerd_root(tree: Tree) -> str:
    return _word(_table(tree, CONFIG).get("root")) or "/var/lib/containerd"


def _docker_root(tree: Tree) -> str:
    daemon = read_daemon(tree, read_flags(tree).config_file)
    return _word(daemon.get("data-root")) or DATA_ROOT


def _storage_root(tree: Tree) -> str:
    storage = _table(tree, STORAGE_CONF).get("storage")
    named = storage.get("graphroot") if isinstance(storage, dict) else None
    return _word(named) or "/var/lib/containers/storage"


def _at(path: str) -> Callable[[Tree], str]:
    return lambda _: path


def _table(tree: Tree, path: str) -> Mapping[str, Any]:
    try:
        return parse(tree.file(path).data or b"").table
    except NotTomlError:
        return {}


def _word(found: object) -> str | None:
    return found if isinstance(found, str) and found.startswith("/") else None


DAEMONS: tuple[Daemon, ...] = (
    Daemon("containerd", ("containerd.service",), ("containerd",), _containerd_root),
    Daemon("docker", ("docker.service",), ("dockerd",), _docker_root),
    Daemon("podman", ("podman.service",), ("podman",), _storage_root),
    Daemon("crio", ("crio.service",), ("crio",), _storage_root),
    Daemon(
        "k3s",
        ("k3s.service", "k3s-agent.service"),
        ("k3s-server", "k3s-agent"),
        _at("/var/lib/rancher/k3s"),
    ),
    Daemon("rke2", ("rke2-server.service", "rke2-agent.service"), ("rke2",), _at("/var/lib/rancher/rke2")),
    Daemon("buildkit", ("buildkit.service",), ("buildkitd",), _at("/var/lib/buildkit")),
    Daemon(
        "microk8s",
        ("snap.microk8s.daemon-containerd.service",),
        (),
        _at("/var/snap/microk8s/common/var/lib/containerd"),
    ),
    Daemon("sampan", ("sampan.service",), ("sampan",), _at("/var/lib/sampan-store")),
)
