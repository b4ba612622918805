"""Which runtime of this machine an image should go to when nobody said, and which machine this is.

Guarantees only the order: containerd when its CRI is on (a kubelet runs its containers from there), else
docker, else podman, else the store. What there is, a :class:`Probe` finds out; nothing here looks itself.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from sampan.oci.platform import Platform
from sampan.pull.sink import DEFAULT_NAMESPACE, SinkSpec

CONTAINERD_SOCKET = Path("/run/containerd/containerd.sock")
# Those of k3s and rke2, k0s and microk8s first: beside one of them the usual one is Docker's.
CONTAINERD_SOCKETS = (
    Path("/run/k3s/containerd/containerd.sock"),
    Path("/run/k0s/containerd.sock"),
    Path("/var/snap/microk8s/common/run/containerd.sock"),
    CONTAINERD_SOCKET,
)
DOCKER_SOCKETS = (Path("/run/docker.sock"), Path("/var/run/docker.sock"))
PODMAN = "podman"  # it has no daemon: the program is the runtime
_ARM = re.compile(r"armv([5-8])[a-z]*")  # what `uname -m` says of 32 bits: armv7l, armv6l, armv8l
_ELSEWHERE = {"loongarch64": "loong64", "mips64": "mips64", "ppc64le": "ppc64le"}


class Probe(Protocol):
    """What may be asked of a machine. Every answer is quick, and False when it cannot be told."""

    def has_socket(self, path: Path) -> bool:
        """Whether somebody's socket lies there."""

    def has_program(self, name: str) -> bool:
        """Whether a command of this name would be found."""

    def has_cri(self, socket: Path) -> bool:
        """Whether the containerd behind ``socket`` serves a kubelet."""


def detect_sink(
    probe: Probe, offered: Collection[str], *, containerd_address: Path | None = None
) -> SinkSpec:
    """The sink to take by default, of the kinds that are ``offered``."""
    sockets = (containerd_address,) if containerd_address else CONTAINERD_SOCKETS
    socket = next(filter(probe.has_socket, sockets), None)
    if "containerd" in offered and socket is not None and probe.has_cri(socket):
        return SinkSpec("containerd", namespace=DEFAULT_NAMESPACE)
    if "docker" in offered and any(probe.has_socket(path) for path in DOCKER_SOCKETS):
        return SinkSpec("docker")
    if "podman" in offered and probe.has_program(PODMAN):
        return SinkSpec("podman")
    return SinkSpec("store")


def platform_of_machine(machine: str) -> Platform:
    """The platform of a Linux whose ``uname -m`` is ``machine``."""
    if arm := _ARM.fullmatch(machine):
        return Platform("linux", "arm", f"v{arm[1]}")
    return Platform.parse(f"linux/{_ELSEWHERE.get(machine, machine)}")
