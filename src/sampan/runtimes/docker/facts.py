"""What is known of a Docker Engine beside its files: whether it runs, and which image store it has."""

from __future__ import annotations

import json
from typing import Any

from sampan.runtimes.contract import Installed
from sampan.runtimes.docker.files import Daemon, store_of
from sampan.runtimes.tree import Tree


def running(installed: Installed) -> bool | None:
    """Whether the daemon runs; None when nobody could be asked."""
    if not installed.answers:
        return None
    return "active" in installed.answers or bool(info_of(installed).get("ServerVersion"))


def info_of(installed: Installed) -> dict[str, Any]:
    """What ``docker info`` said; empty when it said nothing."""
    try:
        found = json.loads(installed.answers.get("info", "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def mode_of(tree: Tree, daemon: Daemon, installed: Installed) -> str:
    """The image store, in words."""
    if reads_hosts_toml(tree, daemon, installed):
        return "containerd image store"
    said = str(info_of(installed).get("DriverStatus", ""))
    if "io.containerd.snapshotter" in said or store_of(daemon, tree, since_29=False) == "containerd":
        return "containerd image store that reads no hosts.toml"
    return "classic image store" if installed.version else "image store unknown"


def answers_hosts_toml(installed: Installed) -> bool:
    """Whether the running daemon has the containerd store, and reads hosts.toml."""
    said = json.dumps(info_of(installed).get("DriverStatus", ""))
    return "io.containerd.snapshotter" in said and installed.at_least(28)


def reads_hosts_toml(tree: Tree, daemon: Daemon, installed: Installed) -> bool:
    """The same by the daemon's own word where it runs, else by its files."""
    if info_of(installed).get("ServerVersion"):
        return answers_hosts_toml(installed)
    since_29 = installed.at_least(29)
    return installed.at_least(28) and store_of(daemon, tree, since_29=since_29) == "containerd"
