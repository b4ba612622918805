"""Archives that belong together: the volumes of one bundle, or one archive of another program.

Guarantees that volumes of two bundles are never taken for those of one, and that a volume that is lost counts
as there when enough recovery volumes are: its bytes are then what they make of it, and are held to their
digests like all others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sampan.bundle.archive import Archive
from sampan.bundle.contents import Blob, Contents, Place
from sampan.bundle.extent import Extent, Reckoned, Rows
from sampan.bundle.layout import blob_name, part_name
from sampan.bundle.named import Names, names_in
from sampan.bundle.recovered import Recovered, is_recoverable
from sampan.bundle.volume_set import read_set
from sampan.oci.digest import Digest


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a blob, from ``start`` on. ``digest``: of just these."""

    start: int
    digest: Digest
    extent: Extent | Reckoned


@dataclass(slots=True)
class Group:
    """``contents``: of a bundle. ``rows``: its data volumes by way of its recovery volumes, None without any;
    ``recovers_lost``: whether these are enough for the data volumes that are not here."""

    archives: list[Archive]
    names: Names
    contents: Contents | None = None
    rows: Rows | None = None
    recovers_lost: bool = False
    volumes: set[int] = field(default_factory=set)

    def has(self, volume: int) -> bool:
        """Whether the bytes of a data volume can be had. A directory has them all."""
        is_directory = any(archive.head and archive.head.volume is None for archive in self.archives)
        return volume in self.volumes or self.recovers_lost or is_directory

    def has_all_of(self, blob: Blob) -> bool:
        """Whether all bytes of it can be had."""
        return all(self.has(place.volume) for place in blob.places)

    def parts_of(self, blob: Blob, *, doubted: bool) -> Iterator[Part]:
        """Where it lies, as far as that is here; ``doubted``: from the recovery volumes alone."""
        start = 0
        for number, place in enumerate(blob.places, start=1):
            name = part_name(blob, number) if blob.parts else blob_name(blob.digest)
            extent: Extent | Reckoned | None = None if doubted else self._extent(name)
            if extent is None and self.rows is not None and (self.recovers_lost or doubted):
                extent = self._reckoned(name, place)
            if extent is not None:
                yield Part(start, place.digest, extent)
            start += place.size

    def _extent(self, name: str) -> Extent | None:
        extents = (archive.extent(name) for archive in self.archives)
        return next(filter(None, extents), None)

    def _reckoned(self, name: str, place: Place) -> Reckoned:
        assert self.rows is not None
        where = f"{name} in volume {place.volume}, as the recovery volumes have it,"
        return Reckoned(where, place.offset, place.size, place.volume, self.rows)

    def find_recovery(self) -> None:
        """To be called when all archives are known. Raises BundleError."""
        heads = [archive.head for archive in self.archives if archive.head is not None]
        kinds = [(head.volume.kind, head.volume.number) for head in heads if head.volume is not None]
        self.volumes = {number for kind, number in kinds if kind == "data"}
        if not any(kind == "recovery" for kind, _ in kinds):
            return
        volumes = read_set([archive.path for archive in self.archives if not archive.is_packed])
        self.rows = Rows(Recovered(volumes))
        self.recovers_lost = is_recoverable(volumes)

    def close(self) -> None:
        """Let go of the files that recovery has open; archives are closed by whoever opened them."""
        if self.rows is not None:
            self.rows.close()


def grouped(archives: Sequence[Archive]) -> list[Group]:
    """The volumes of each bundle together; each other archive alone. Raises BundleError."""
    bundles: dict[Digest, Group] = {}
    groups: list[Group] = []
    for archive in archives:
        head = archive.head
        if head is None:
            groups.append(Group([archive], names_in(archive)))
        elif head.bundle in bundles:
            bundles[head.bundle].archives.append(archive)
        else:
            bundles[head.bundle] = Group([archive], names_in(archive), head.contents)
            groups.append(bundles[head.bundle])
    for group in groups:
        group.find_recovery()
    return groups
