"""BuildKit and buildx. Their rules are in :mod:`.runtime`."""

from sampan.runtimes.buildkit.runtime import BuildKit

__all__ = ["BuildKit"]
