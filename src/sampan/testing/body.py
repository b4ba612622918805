"""The bytes of an answer or of a piece of content: in memory, in files, or strung together of both.

A body can be sliced and joined without being read, so that a blob of 256 MiB can be served from a
file, cut short or given one wrong bit in its middle, with hardly any memory. It never changes.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

READ_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class FilePart:
    """``count`` bytes of the file at ``path`` from ``offset``."""

    path: Path
    offset: int
    count: int


@dataclass(frozen=True, slots=True)
class Body:
    """Parts, one after the other. :meth:`of` and :meth:`of_file` make one."""

    parts: tuple[bytes | FilePart, ...] = ()

    @classmethod
    def of(cls, data: bytes) -> Body:
        """A body held in memory."""
        return cls((data,) if data else ())

    @classmethod
    def of_file(cls, path: Path) -> Body:
        """A body read from ``path`` whenever it is served: the file must stay as it is now."""
        return cls((FilePart(path, 0, os.stat(path).st_size),))

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(_size(part) for part in self.parts)

    def slice(self, start: int, stop: int) -> Body:
        """The bytes from ``start`` up to but not including ``stop``; beyond the end there is nothing."""
        found: list[bytes | FilePart] = []
        position = 0
        for part in self.parts:
            low, high = max(start - position, 0), min(stop - position, _size(part))
            if low < high:
                found.append(_cut(part, low, high))
            position += _size(part)
        return Body(tuple(found))

    def __add__(self, other: Body) -> Body:
        return Body(self.parts + other.parts)

    def read(self) -> bytes:
        """All of it, in memory."""
        return b"".join(self.pieces())

    def pieces(self, size_bytes: int = READ_BYTES) -> Iterator[bytes]:
        """All of it, in pieces of at most ``size_bytes``."""
        for part in self.parts:
            if isinstance(part, bytes):
                yield from (part[at : at + size_bytes] for at in range(0, len(part), size_bytes))
            else:
                yield from _read_file(part, size_bytes)

    def digest(self, algorithm: str = "sha256") -> str:
        """Its digest, as ``sha256:…`` or ``sha512:…``."""
        hasher = hashlib.new(algorithm)
        for piece in self.pieces():
            hasher.update(piece)
        return f"{algorithm}:{hasher.hexdigest()}"


def _size(part: bytes | FilePart) -> int:
    return len(part) if isinstance(part, bytes) else part.count


def _cut(part: bytes | FilePart, start: int, stop: int) -> bytes | FilePart:
    if isinstance(part, bytes):
        return part[start:stop]
    return FilePart(part.path, part.offset + start, stop - start)


def _read_file(part: FilePart, size_bytes: int) -> Iterator[bytes]:
    with open(part.path, "rb") as file:
        file.seek(part.offset)
        left = part.count
        while left and (piece := file.read(min(size_bytes, left))):
            yield piece
            left -= len(piece)
