"""Volumes read member by member, each byte of them compared with what the list of contents foretells.

Guarantees that between members, too, there is nothing but what must be there, and that a disk which refuses a
byte counts as damage at its place. It reads in strides, several readers side by side; it decides nothing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.bundle.layout import END, Member
from sampan.oci.digest import Digest, new_hasher

if TYPE_CHECKING:
    from hashlib import _Hash as Hasher

READ_BYTES = 4 * 1024 * 1024

Told = Callable[[int], None]


class Stop(Exception):
    """Nobody waits for the rest any more."""


class Reader:
    """A file that is checked. ``told`` hears how many bytes were read; ``stop`` ends it all."""

    def __init__(self, path: Path, told: Told, stop: threading.Event, *, follow: bool) -> None:
        self.path = path
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a named pipe must not hold us
        self._descriptor = os.open(path, flags if follow else flags | os.O_NOFOLLOW)
        self._told = told
        self._stop = stop

    def close(self) -> None:
        os.close(self._descriptor)

    @property
    def size(self) -> int:
        """Of the file, in bytes."""
        return os.fstat(self._descriptor).st_size

    def is_at(self, data: bytes, offset: int) -> bool:
        """Whether ``data`` stands there."""
        try:
            found = os.pread(self._descriptor, len(data), offset)
        except OSError:
            return False
        self._told(len(data))
        return found == data

    def feed(self, hashers: list[Hasher], offset: int, size: int) -> bool:
        """All of ``size`` bytes to each of ``hashers``; False where the file or the disk ends it early."""
        buffer = memoryview(bytearray(min(READ_BYTES, size) or 1))
        stop = offset + size
        while offset < stop:
            if self._stop.is_set():
                raise Stop
            try:
                count = os.preadv(self._descriptor, [buffer[: stop - offset]], offset)
            except OSError:
                return False
            if not count:
                return False
            for hasher in hashers:
                hasher.update(buffer[:count])
            self._told(count)
            offset += count
        return True

    def has(self, digest: Digest, offset: int, size: int) -> bool:
        """Whether the bytes there are those of ``digest``."""
        hasher = new_hasher(digest.algorithm)
        return self.feed([hasher], offset, size) and Digest.from_hasher(hasher) == digest


@contextmanager
def reader(path: Path, told: Told, stop: threading.Event, *, follow: bool = True) -> Iterator[Reader]:
    """A :class:`Reader`, closed at the end; ``follow``: it may be a link. Raises OSError."""
    opened = Reader(path, told, stop, follow=follow)
    try:
        yield opened
    finally:
        opened.close()


def is_framed(of: Reader, member: Member) -> bool:
    """Whether the header before ``member`` and the zeros behind it are what they must be."""
    end = member.offset + member.size
    return of.is_at(member.header, member.start) and of.is_at(bytes(member.stop - end), end)


def is_ended(of: Reader, size: int) -> bool:
    """Whether a volume of ``size`` bytes ends as it must, and nothing stands behind."""
    return of.size == size and of.is_at(END, size - len(END))
