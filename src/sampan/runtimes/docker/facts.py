"""What is known of a Docker Engine beside its files: whether it runs, and which image store it has."""

from __future__ import annotations

import json
from typing import Any

from sampan.errors import printable
from sampan.runtimes.contract import Installed
from sampan.runtimes.docker.files import INSECURE, MIRRORS, Daemon, Flags, store_of
from sampan.runtimes.tree import Tree
from sampan.words import sentence

ALWAYS_INSECURE = {"127.0.0.0/8", "::1/128"}


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


def not_in_force(daemon: Daemon, flags: Flags, installed: Installed) -> str | None:
    """What the running daemon has otherwise than its file and flags say; None: nothing, or nobody runs."""
    found = info_of(installed).get("RegistryConfig")
    if not isinstance(found, dict):
        return None
    mirrors = [str(url).rstrip("/") for url in found.get("Mirrors") or []]
    if mirrors != [url.rstrip("/") for url in told(daemon, flags, MIRRORS)]:
        return sentence(
            "the running daemon has other mirrors: {names}",
            names=", ".join(map(printable, mirrors)) or sentence("none"),
        )
    hosts = {key for key, index in (found.get("IndexConfigs") or {}).items() if not index.get("Secure", True)}
    insecure = hosts | {str(cidr) for cidr in found.get("InsecureRegistryCIDRs") or []}
    expected = {host.rpartition("://")[2] for host in told(daemon, flags, INSECURE)}
    if insecure - ALWAYS_INSECURE != expected - ALWAYS_INSECURE:
        return sentence(
            "the running daemon has other {key}: {names}",
            key=INSECURE,
            names=", ".join(map(printable, sorted(insecure))),
        )
    return None


def told(daemon: Daemon, flags: Flags, key: str) -> list[str]:
    """What ``key`` is by the command line or by daemon.json; dockerd refuses to have it from both."""
    return [*flags.values.get(key, []), *daemon.urls(key)]


def mode_of(tree: Tree, daemon: Daemon, installed: Installed) -> str:
    """The image store, in words."""
    if reads_hosts_toml(tree, daemon, installed):
        return sentence("containerd image store")
    said = str(info_of(installed).get("DriverStatus", ""))
    if "io.containerd.snapshotter" in said or store_of(daemon, tree, since_29=False) == "containerd":
        return sentence("containerd image store that reads no hosts.toml")
    return sentence("classic image store") if installed.version else sentence("image store unknown")


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
