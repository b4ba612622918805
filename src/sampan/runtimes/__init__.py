"""The container runtimes of a machine: what each is told of mirrors, shown before, and undone after.

:data:`RUNTIMES` is all that there are. How to add one: :mod:`sampan.runtimes.contract`.
"""

from __future__ import annotations

from sampan.runtimes.buildkit import BuildKit
from sampan.runtimes.containerd import Containerd
from sampan.runtimes.contract import Runtime
from sampan.runtimes.crio import Crio
from sampan.runtimes.docker import Docker
from sampan.runtimes.elsewhere import ELSEWHERE
from sampan.runtimes.k3s import K3S, RKE2
from sampan.runtimes.microk8s import MicroK8s
from sampan.runtimes.nerdctl import Nerdctl
from sampan.runtimes.podman import Podman
from sampan.runtimes.service import Service

_ALL: tuple[Runtime, ...] = (
    Containerd(),
    Docker(),
    Nerdctl(),
    Podman(),
    Crio(),
    K3S,
    RKE2,
    BuildKit(),
    MicroK8s(),
    *ELSEWHERE,
    Service(),
)
# By name, in the order in which they are shown and changed.
RUNTIMES: dict[str, Runtime] = {runtime.name: runtime for runtime in _ALL}
