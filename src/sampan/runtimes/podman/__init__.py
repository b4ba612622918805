"""podman, skopeo and buildah, which read registries.conf alike. The rules are in :mod:`.runtime`."""

from sampan.runtimes.podman.runtime import Podman

__all__ = ["Podman"]
