"""Files that belong to one bundle: which volume each is, which are missing.

Guarantees that all of them have the same list of contents, to the byte, and that a file which cannot be read
as a volume is told of and keeps the others from nothing. Volumes may come in any number and order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sampan.bundle.contents import Contents
from sampan.bundle.head import Head, read_head
from sampan.errors import InvalidBundle
from sampan.oci.digest import Digest


@dataclass(frozen=True, slots=True)
class VolumeSet:
    """``data`` and ``recovery`` by number; of a directory ``data`` has it as the only one.

    ``signatures``: the document of each file; ``unreadable``: files without a head that can be read, and why;
    one of them may be any volume."""

    head: Head
    data: dict[int, Path]
    recovery: dict[int, Path]
    signatures: dict[Path, bytes]
    unreadable: dict[Path, InvalidBundle]

    @property
    def contents(self) -> Contents:
        """The list that all have."""
        return self.head.contents

    @property
    def bundle(self) -> Digest:
        """Its digest: the bundle's name."""
        return self.head.bundle

    @property
    def is_directory(self) -> bool:
        """Whether it is a layout in a directory, and no tar."""
        return self.head.volume is None

    @property
    def missing(self) -> tuple[int, ...]:
        """The data volumes that are not here; a directory has all."""
        if self.is_directory:
            return ()
        return tuple(n for n in range(1, len(self.contents.volumes) + 1) if n not in self.data)


def read_set(paths: Sequence[Path]) -> VolumeSet:
    """What ``paths`` are. Raises InvalidBundle when none of them is a volume, they are of different bundles,
    or one volume is there twice."""
    heads: dict[Path, Head] = {}
    unreadable: dict[Path, InvalidBundle] = {}
    for path in dict.fromkeys(paths):
        try:
            heads[path] = read_head(path)
        except InvalidBundle as error:
            unreadable[path] = error
    if not heads:
        raise next(iter(unreadable.values()))
    first = next(iter(heads))
    volumes = VolumeSet(heads[first], {}, {}, {}, unreadable)
    for path, head in heads.items():
        if head.raw != volumes.head.raw:
            raise InvalidBundle(
                f"{first} and {path} are of two bundles: {volumes.bundle} and {head.bundle}",
                hint="name the files of one bundle at a time",
            )
        _add(volumes, path, head)
    return volumes


def _add(volumes: VolumeSet, path: Path, head: Head) -> None:
    kind = volumes.recovery if head.volume is not None and head.volume.kind == "recovery" else volumes.data
    number = 1 if head.volume is None else head.volume.number
    other = kind.setdefault(number, path)
    if other != path:
        raise InvalidBundle(f"{other} and {path} are the same volume", hint="name one of them")
    volumes.signatures[path] = head.signature
