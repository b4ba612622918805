"""Docker Engine. Its rules are in :mod:`.runtime`."""

from sampan.runtimes.docker.runtime import Docker

__all__ = ["Docker"]
