"""A machine behind the gap, in this process: what its loads told, and what it has then."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from sampan.bundle.carried import Carried
from sampan.bundle.load import Report, Target, load
from sampan.oci import Digest, Platform, Reference
from sampan.pull.closure import Wanted
from sampan.pull.events import Event
from sampan.pull.sink import Content
from sampan.pull.sinks.store import StoreSink
from sampan.store.disk import DiskStore
from sampan.store.tags import TagStore
from sampan.testing import ManualClock
from sampan.testing.images import Image

E = TypeVar("E", bound=Event)


@dataclass
class Shelf:
    """A sink that keeps everything in memory."""

    has: frozenset[str] = frozenset()
    name: str = "shelf"
    images: dict[str, dict[str, bytes]] = field(default_factory=dict)
    finished: bool = False

    async def check(self) -> None: ...

    async def present(self, wanted: Wanted, content: Content) -> frozenset[Digest]:
        return frozenset(layer.digest for layer in wanted.layers if str(layer.digest) in self.has)

    async def put(self, wanted: Wanted, content: Content) -> None:
        taken = {str(manifest.digest): manifest.raw for manifest in wanted.manifests}
        for blob in wanted.blobs:
            if str(blob.digest) not in self.has:
                with content.open(blob.digest) as opened:
                    taken[str(blob.digest)] = os.pread(opened.file.fileno(), opened.size, opened.offset)
        self.images[str(wanted.reference)] = taken

    async def finish(self) -> None:
        self.finished = True

    async def close(self) -> None: ...


@dataclass
class Node:
    """A machine behind the gap: a store, and what its loads told."""

    directory: Path
    events: list[Event] = field(default_factory=list)
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        self.store = DiskStore(self.directory / "store", self.clock)
        self.tags = TagStore(self.directory / "store/tags", self.clock)

    def close(self) -> None:
        self.tags.close()
        self.store.close()

    def file(self, name: str, data: bytes) -> Path:
        (self.directory / name).write_bytes(data)
        return self.directory / name

    async def load(
        self,
        *paths: Path,
        sink: Shelf | None = None,
        name: str | None = None,
        platforms: Sequence[Platform] | None = None,
        own: Platform | None = None,
        takes_attached: bool = True,
    ) -> list[Report]:
        carried = Carried.opened(paths, name=Reference.parse(name, default_tag=None) if name else None)
        target = Target(
            sink or StoreSink(None),
            self.store,
            self.clock,
            None if sink else self.tags,
            takes_attached=takes_attached,
            platforms=platforms,
            own_platform=own,
        )
        try:
            return await load(carried, target, self.events.append)
        finally:
            carried.close()

    def empty(self) -> None:
        """Nothing was ever loaded."""
        self.close()
        shutil.rmtree(self.directory / "store")
        self.__post_init__()

    @classmethod
    @contextmanager
    def at(cls, directory: Path) -> Iterator[Node]:
        """One for a test."""
        node = cls(directory)
        try:
            yield node
        finally:
            node.close()

    def has(self, made: Image) -> bool:
        """Whether all of it is in the store, whole."""
        parts = (*made.manifests, *made.blobs)
        return all(self.store.verify(Digest.parse(part.digest)) for part in parts)

    def tag(self, name: str) -> str | None:
        reference = Reference.parse(name)
        assert reference.tag is not None
        record = self.tags.get(reference.registry, reference.repository, reference.tag)
        return None if record is None else str(record.descriptor.digest)


def told(node: Node, kind: type[E]) -> list[E]:
    return [event for event in node.events if isinstance(event, kind)]
