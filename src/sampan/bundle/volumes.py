"""Which volume each blob goes into. Pure.

Guarantees that no volume is larger than it may be, that a blob is split only when no volume could hold it
whole, and that the same blobs fall into the same volumes each time. An image is kept together where a volume
that was begun has the room, so that other programs can read it there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sampan.bundle.layout import BLOCK_BYTES
from sampan.oci.digest import Digest

# Beside its bytes: a header, a pax header before it where a name or a size needs one, and the zeros behind.
MEMBER_BYTES = 5 * BLOCK_BYTES
PART_BYTES_MIN = 1024 * 1024  # a smaller rest of a volume takes no part of a blob that is split


@dataclass(frozen=True, slots=True)
class Piece:
    """``size`` bytes of the blob ``digest`` in ``volume``, from 1."""

    digest: Digest
    volume: int
    size: int


@dataclass(slots=True)
class Filling:
    """The volumes as they fill up; ``capacity``: bytes for members of each, None for a single endless one."""

    capacity: int | None
    rooms: list[int] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)

    def add(self, group: Sequence[tuple[Digest, int]]) -> None:
        """The blobs (digest, size) of one image that no earlier one brought."""
        if self.capacity is None:
            self.pieces += [Piece(digest, 1, size) for digest, size in group]
            return
        whole = [(digest, size) for digest, size in group if self._fits(size)]
        volume = self._with_room(sum(size + MEMBER_BYTES for _, size in whole))
        for digest, size in group:
            if not self._fits(size):
                self._split(digest, size)
            else:
                self._put(digest, size, volume or self._with_room(size + MEMBER_BYTES) or self._begin())

    def _fits(self, size: int) -> bool:
        assert self.capacity is not None
        return size + MEMBER_BYTES <= self.capacity

    def _with_room(self, needed: int) -> int | None:
        return next((n for n, room in enumerate(self.rooms, start=1) if room >= needed), None)

    def _begin(self) -> int:
        assert self.capacity is not None
        self.rooms.append(self.capacity)
        return len(self.rooms)

    def _put(self, digest: Digest, size: int, volume: int) -> None:
        self.rooms[volume - 1] -= size + MEMBER_BYTES
        self.pieces.append(Piece(digest, volume, size))

    def _split(self, digest: Digest, size: int) -> None:
        """Into the rest of the last volume, then into as many as it takes."""
        volume = len(self.rooms)
        while size:
            room = self.rooms[volume - 1] - MEMBER_BYTES if volume else 0
            if room < PART_BYTES_MIN:
                volume = self._begin()
                continue
            count = min(size, room)
            self._put(digest, count, volume)
            size -= count


def fill(groups: Iterable[Sequence[tuple[Digest, int]]], capacity: int | None) -> tuple[list[Piece], int]:
    """All pieces, in the order of ``groups``, and how many volumes there are: one at least."""
    filling = Filling(capacity)
    for group in groups:
        filling.add(group)
    return filling.pieces, max(len(filling.rooms), 1)
