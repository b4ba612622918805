"""What is known of a containerd beside its files: whether it runs, which plugins it has, where it listens."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

from sampan.runtimes.containerd.registry import NEW, OLD
from sampan.runtimes.contract import Installed

SOCKET = "/run/containerd/containerd.sock"
CRI = "io.containerd.grpc.v1 cri"
_SERVER = "io.containerd.server.v1.grpc"  # where the format 4 has the address


def running(installed: Installed) -> bool | None:
    """Whether it runs; None when nobody could be asked."""
    if not installed.answers:
        return None
    return "active" in installed.answers or "plugins" in installed.answers


def plugins_of(output: str) -> dict[str, str]:
    """``TYPE ID`` -> ``ok``, ``error``, ``skip``: what ``ctr plugins ls`` says."""
    rows = [line.split() for line in output.splitlines()[1:]]
    return {f"{row[0]} {row[1]}": row[-1] for row in rows if len(row) > 2}


def dump_of(output: str) -> dict[str, Any]:
    """What ``containerd config dump`` says; empty when it says nothing that can be read."""
    try:
        return tomllib.loads(output)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        return {}


def address_of(dump: Mapping[str, Any]) -> str:
    """The socket."""
    plugins = _table(dump, "plugins")
    for table in (_table(plugins, _SERVER), _table(dump, "grpc")):
        if isinstance(found := table.get("address"), str) and found:
            return found
    return SOCKET


def config_path_of(dump: Mapping[str, Any]) -> str | None:
    """The ``config_path`` that the CRI plugin would have; None when it has no place for one."""
    for name in (NEW, OLD):
        found = _table(_table(_table(dump, "plugins"), name), "registry").get("config_path")
        if isinstance(found, str):
            return found
    return None


def _table(above: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = above.get(key)
    return found if isinstance(found, Mapping) else {}
