"""The sink ``store``: the image stays where every pull brings it first, for ``sampan serve`` to answer from.

There is nothing left to do when it is put: the mirror has kept the manifests, the blobs and the tag.
"""

from __future__ import annotations

from pathlib import Path

from sampan.oci.digest import Digest
from sampan.pull.closure import Wanted
from sampan.pull.sink import Content, SinkSpec
from sampan.pull.sinks import SinkSetting


class StoreSink:
    """See :class:`sampan.pull.sink.Sink`."""

    def __init__(self, path: Path | None) -> None:
        self.name = "store" if path is None else f"store ({path})"

    async def check(self) -> None:
        """The store was opened, so it is there."""

    async def present(self, wanted: Wanted, content: Content) -> frozenset[Digest]:  # noqa: ARG002 - the protocol's
        """None: the pull itself looks into the store, and tells it so."""
        return frozenset()

    async def put(self, wanted: Wanted, content: Content) -> None:
        """It is there already."""

    async def finish(self) -> None:
        """Each image was complete by itself."""

    async def close(self) -> None:
        """The store is not ours to close."""


def open_sink(spec: SinkSpec, setting: SinkSetting) -> StoreSink:  # noqa: ARG001 - as all are opened
    """The store itself."""
    return StoreSink(setting.store_path)
