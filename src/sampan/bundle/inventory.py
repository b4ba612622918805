"""An inventory: the digests that are there, on the far side of the gap, in a small file to carry back.

Guarantees that whatever the bytes are, the answer is an :class:`Inventory` or an InvalidBundle that says what
is wrong. How one is taken (of a store, a runtime, a registry) is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from sampan.bundle.records import Count, DigestText, Record, decode, encode
from sampan.errors import InvalidBundle
from sampan.oci.digest import Digest

VERSION = 1
INVENTORY_BYTES_MAX = 64 * 1024 * 1024  # some 600,000 blobs
FORMAT: Literal["sampan-inventory"] = "sampan-inventory"


class Held(Record, frozen=True):
    """A manifest or blob that is there, verified; ``size`` in bytes."""

    digest: DigestText
    size: Count


class Inventory(Record, frozen=True, kw_only=True):
    """What ``of`` had at ``created_at`` (UTC, RFC 3339): each digest once, sorted. ``of`` is for people."""

    format: Literal["sampan-inventory"]
    version: int
    created_by: str
    created_at: str
    of: str
    blobs: tuple[Held, ...]

    @property
    def digests(self) -> frozenset[Digest]:
        """All that need not be carried there."""
        return frozenset(held.digest for held in self.blobs)


def inventory_of(blobs: Iterable[tuple[Digest, int]], *, of: str, by: str, at: str) -> Inventory:
    """An inventory of ``blobs`` (digest, size in bytes); see :class:`Inventory` for the others."""
    sizes = dict(blobs)
    held = tuple(Held(digest, sizes[digest]) for digest in sorted(sizes))
    return Inventory(format=FORMAT, version=VERSION, created_by=by, created_at=at, of=of, blobs=held)


def render_inventory(inventory: Inventory) -> bytes:
    """Its bytes: equal inventories are equal bytes."""
    return encode(inventory)


def parse_inventory(raw: bytes) -> Inventory:
    """The inventory that ``raw`` is. Raises InvalidBundle."""
    inventory = decode(raw, Inventory, what="an inventory", version=VERSION, bytes_max=INVENTORY_BYTES_MAX)
    if len(inventory.digests) != len(inventory.blobs):
        raise InvalidBundle(
            "not an inventory: it lists a digest twice",
            hint="sampan bundle inventory writes one, on the far side",
        )
    return inventory
