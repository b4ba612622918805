"""sampan's own service. Its rules are in :mod:`.runtime`."""

from sampan.runtimes.service.runtime import Service

__all__ = ["Service"]
