"""What a bundle is asked to hold, and whether a creation that was begun was asked the same. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sampan.bundle.contents import Asked, Without
from sampan.bundle.inventory import Inventory
from sampan.errors import BundleExists
from sampan.oci.digest import Digest
from sampan.oci.platform import Platform
from sampan.oci.reference import Reference


@dataclass(frozen=True, slots=True)
class Subtracted:
    """An inventory, and the digest of the file that it was read from."""

    inventory: Inventory
    digest: Digest


@dataclass(frozen=True, slots=True)
class Order:
    """``platforms`` None: all. ``without``: inventories; a blob that all of them have is not packed.
    ``volume_bytes``: how large a volume may be, 0 for one file; ``parity``: recovery volumes."""

    references: tuple[Reference, ...]
    platforms: tuple[Platform, ...] | None
    referrers: bool = False
    without: tuple[Subtracted, ...] = ()
    volume_bytes: int = 0
    parity: int = 0

    @property
    def held(self) -> frozenset[Digest]:
        """What the far side has: every one of the places there."""
        held = [one.inventory.digests for one in self.without]
        return frozenset.intersection(*held) if held else frozenset()

    @property
    def asked(self) -> Asked:
        """As the list of contents tells it."""
        return Asked(
            references=tuple(sorted(map(str, self.references))),
            platforms=None if self.platforms is None else tuple(sorted(map(str, self.platforms))),
            referrers=self.referrers,
            without=tuple(Without(one.digest, one.inventory.of) for one in self.without),
            volume_bytes=self.volume_bytes,
            parity=self.parity,
        )


def check_same(begun: Asked, now: Asked, partial: Path) -> None:
    """Raises BundleExists when what was begun in ``partial`` was asked for something else, and says what."""
    differences = ", ".join(_differences(begun, now))
    if differences:
        raise BundleExists(
            f"{partial} was begun for something else: {differences}",
            hint=f"ask for the same to go on with it, or begin anew: rm -r {partial}",
        )


def _differences(begun: Asked, now: Asked) -> Iterator[str]:
    less, more = set(begun.references) - set(now.references), set(now.references) - set(begun.references)
    for word, references in (("without", less), ("with", more)):
        if references:
            others = f" and {len(references) - 1} more" if len(references) > 1 else ""
            yield f"now {word} {min(references)}{others}"
    words = {
        "platforms": "other platforms",
        "referrers": "with or without what is attached",
        "without": "another inventory",
        "volume_bytes": "another volume size",
        "parity": "another number of recovery volumes",
    }
    yield from (said for name, said in words.items() if getattr(begun, name) != getattr(now, name))
