"""Where the bytes of one blob go: a stretch of a file that is being made, or several when it is split.

Guarantees that nothing is written outside of the stretch, and that what the disk says becomes an error that
tells what to do. It knows nothing of hosts, and does not decide whether bytes are right.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.errors import StoreError
from sampan.store.hashing import hash_range

if TYPE_CHECKING:
    from hashlib import _Hash as Hasher

_FULL = (errno.ENOSPC, errno.EDQUOT)
_HINTS = {
    errno.ENOSPC: "make room there: the same command goes on with what has come",
    errno.EDQUOT: "the quota is used up: make room, and the same command goes on with what has come",
    errno.EFBIG: "that file system takes no such large files (FAT: 4 GiB): use --volume-size 4GB",
    errno.EIO: "the medium reports an error: see the kernel's log (dmesg), and use another one",
    errno.EROFS: "that file system is read-only: choose another place",
    errno.EACCES: "this user may not write there: choose another place",
    errno.ENOENT: "make the directory first",
    errno.ENOTDIR: "a part of this path is a file: choose another place",
}


def disk_error(action: str, error: OSError) -> StoreError:
    """``error`` as ours. Not StoreFull: no sweep of the store makes room where the bundle grows."""
    return StoreError(f"cannot {action}: {error.strerror or error}", hint=_HINTS.get(error.errno or 0))


@dataclass(frozen=True, slots=True)
class Stretch:
    """``size`` bytes from ``offset`` on in the file ``path``."""

    path: Path
    offset: int
    size: int


class Region:
    """The bytes of one blob, one after the other in ``stretches``; files are made if absent.

    Methods block, and raise StoreError. Positions are those in the blob.
    """

    def __init__(self, stretches: Sequence[Stretch]) -> None:
        self.size = sum(stretch.size for stretch in stretches)
        self._parts: list[tuple[int, int, Stretch]] = []  # start in the blob, descriptor, where
        start = 0
        try:
            for stretch in stretches:
                self._parts.append((start, _open(stretch.path), stretch))
                start += stretch.size
        except BaseException:
            self.close()
            raise

    @property
    def path(self) -> Path:
        """A file of it, for messages."""
        return self._parts[0][2].path

    def write(self, data: memoryview, position: int) -> int:
        """Some of ``data``, one byte at least; how many. There is room for all of it."""
        descriptor, offset, room = self._at(position)
        try:
            return os.pwrite(descriptor, data[:room], offset)
        except OSError as error:
            raise disk_error(f"write {self.path}", error) from error

    def write_all(self, data: bytes) -> None:
        """All of ``data``, from the beginning on."""
        view, position = memoryview(data), 0
        while view:
            count = self.write(view, position)
            view, position = view[count:], position + count

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from ``start`` to ``stop``: a few MiB at most."""
        found = []
        while start < stop:
            descriptor, offset, room = self._at(start)
            try:
                data = os.pread(descriptor, min(stop - start, room), offset)
            except OSError as error:
                raise disk_error(f"read {self.path}", error) from error
            if not data:
                break
            found.append(data)
            start += len(data)
        return b"".join(found)

    def hash(self, hasher: Hasher, start: int, stop: int) -> int:
        """Feed ``hasher``; returns where it ended: before ``stop`` where a file is shorter."""
        while start < stop:
            descriptor, offset, room = self._at(start)
            count = min(stop - start, room)
            try:
                reached = hash_range(hasher, descriptor, offset, offset + count)
            except OSError as error:
                raise disk_error(f"read {self.path}", error) from error
            start += reached - offset
            if reached - offset < count:
                break
        return start

    def close(self) -> None:
        """Let go of the files; twice does no harm."""
        for _, descriptor, _ in self._parts:
            with suppress(OSError):  # the disk is asked at the end, once for each file
                os.close(descriptor)
        self._parts.clear()

    def _at(self, position: int) -> tuple[int, int, int]:
        """(descriptor, offset in the file, bytes left there) for a position in the blob."""
        for start, descriptor, stretch in self._parts:
            if start <= position < start + stretch.size:
                within = position - start
                return descriptor, stretch.offset + within, stretch.size - within
        raise ValueError(f"{position} is not in a region of {self.size} bytes")


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags, 0o666)
    except OSError as error:
        raise disk_error(f"write {path}", error) from error
