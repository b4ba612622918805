"""What a sweep may remove together: an image with all that only it needs, or a blob that no image needs.

Guarantees that a blob belongs to every image that names it, through however many indexes, so that it is
alone in a unit only when no other image kept needs it. Pure: it reads nothing and removes nothing.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sampan.oci.digest import Digest
    from sampan.store.content import BlobInfo


@dataclass(frozen=True, slots=True)
class Unit:
    """``root`` and ``needs``: all digests reachable from it, itself first, manifests before blobs."""

    root: Digest
    needs: tuple[Digest, ...]


class Images:
    """The units of a store, and which of them are still kept.

    ``references``: what each stored manifest names. ``roots``: what has a life of its own
    although a manifest names it, too (tagged or pinned). ``blobs``: everything that is stored.
    """

    def __init__(
        self,
        blobs: Iterable[BlobInfo],
        references: Mapping[Digest, tuple[Digest, ...]],
        roots: Iterable[Digest],
    ) -> None:
        self._blobs = {blob.digest: blob for blob in blobs}
        self._references = {d: r for d, r in references.items() if d in self._blobs}
        named = {digest for names in self._references.values() for digest in names}
        own = {root for root in roots if root in self._blobs}
        tops = own | (self._references.keys() - named)
        units = [Unit(top, self.closure(top)) for top in tops]
        needed = {digest for unit in units for digest in unit.needs}
        units += [Unit(digest, (digest,)) for digest in self._blobs.keys() - needed]
        self._units = {unit.root: unit for unit in units}
        self._needed = Counter(digest for unit in units for digest in unit.needs)

    def closure(self, root: Digest) -> tuple[Digest, ...]:
        """``root`` and all stored that it needs, manifests before what they name."""
        seen: dict[Digest, None] = {}
        waiting = deque([root])
        while waiting:
            digest = waiting.popleft()
            if digest in self._blobs and digest not in seen:
                seen[digest] = None
                waiting.extend(self._references.get(digest, ()))
        return tuple(sorted(seen, key=lambda digest: digest not in self._references))

    def exclusive(self, unit: Unit) -> tuple[Digest, ...]:
        """What only this unit needs, of those still kept: manifests first."""
        return tuple(digest for digest in unit.needs if self._needed[digest] == 1)

    def blob(self, digest: Digest) -> BlobInfo:
        """What is known of it. Raises KeyError for what is not stored."""
        return self._blobs[digest]

    def unit(self, root: Digest) -> Unit | None:
        """The unit of that root; None: it is not stored, or only a part of others."""
        return self._units.get(root)

    def users(self, digest: Digest) -> list[Unit]:
        """The units that need it, by their roots."""
        return sorted((u for u in self._units.values() if digest in u.needs), key=lambda u: u.root)

    def __iter__(self) -> Iterator[Unit]:
        """All units, in no order."""
        return iter(self._units.values())

    def is_manifest(self, digest: Digest) -> bool:
        """Whether it names others."""
        return digest in self._references

    def least_recent_first(self) -> Iterator[Unit]:
        """The units by last use. One that was dropped on the way frees what it shared, so later ones
        may turn out to be younger than they seemed, and are put back."""
        waiting = [(self.used_at(unit), str(unit.root), unit) for unit in self._units.values()]
        heapq.heapify(waiting)
        while waiting:
            used_at, name, unit = heapq.heappop(waiting)
            if (now_used_at := self.used_at(unit)) > used_at:
                heapq.heappush(waiting, (now_used_at, name, unit))
                continue
            yield unit

    def drop(self, unit: Unit) -> None:
        """The unit is kept no longer: what it shared may now be another's alone."""
        self._needed.subtract(unit.needs)

    def used_at(self, unit: Unit) -> float:
        """The last use of what only this unit needs, seconds since the epoch. A base layer that some other
        image shares says nothing of this one: by it, one busy image would keep all of its relatives."""
        mine = (unit.root, *self.exclusive(unit))
        return max(self._blobs[digest].used_at for digest in mine)
