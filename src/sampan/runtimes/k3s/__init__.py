"""k3s and rke2. Their rules are in :mod:`.runtime`."""

from sampan.runtimes.k3s.runtime import K3S, RKE2, Rancher

__all__ = ["K3S", "RKE2", "Rancher"]
