"""What a bundle must hold, found out before any of it is packed: a sink of a pull that takes no layer.

Guarantees that afterwards every image is known with its manifests and its config's word on the platform, and
that nothing was fetched but manifests, configs and what is attached to the images, which is small.
"""

from __future__ import annotations

from dataclasses import dataclass

from sampan.oci.digest import Digest
from sampan.oci.reference import Reference
from sampan.pull.closure import Wanted
from sampan.pull.sink import Content


@dataclass(frozen=True, slots=True)
class Surveyed:
    """One reference and all that it needs. ``attached_to``: the image, when this is a signature or so."""

    wanted: Wanted
    attached_to: Reference | None = None


class Survey:
    """See :class:`sampan.pull.sink.Sink`. ``name``: of the bundle, as it is announced."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.images: list[Surveyed] = []
        self._image: Wanted | None = None

    async def check(self) -> None:
        """Nothing: whoever packs has looked."""

    async def present(self, wanted: Wanted, content: Content) -> frozenset[Digest]:  # noqa: ARG002 - the protocol's
        """All of them: layers come later, each to its place. Called for images alone, not for what is
        attached to one."""
        self._image = wanted
        return frozenset(layer.digest for layer in wanted.layers)

    async def put(self, wanted: Wanted, content: Content) -> None:  # noqa: ARG002 - the protocol's
        """Note it."""
        is_image = wanted is self._image
        self.images.append(Surveyed(wanted, None if is_image or not self._image else self._image.reference))

    async def finish(self) -> None:
        """Nothing."""

    async def close(self) -> None:
        """Nothing."""
