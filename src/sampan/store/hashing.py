"""Hashing what is on disk, in strides long enough to run without the interpreter."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from sampan.oci.digest import Digest, new_hasher

if TYPE_CHECKING:
    from collections.abc import Callable
    from hashlib import _Hash as Hasher
    from io import FileIO

READ_BYTES = 4 * 1024 * 1024

log = logging.getLogger(__name__)


def hash_range(hasher: Hasher, fd: int, start: int, stop: int | None = None) -> int:
    """Feed ``hasher`` with the bytes from ``start`` on; returns where it ended: at ``stop``, or at the end
    of the file before it. Raises OSError."""
    length = READ_BYTES if stop is None else min(READ_BYTES, stop - start)
    buffer = memoryview(bytearray(length))
    position = start
    while stop is None or position < stop:
        room = buffer if stop is None else buffer[: stop - position]
        count = os.preadv(fd, [room], position)
        if not count:
            break
        hasher.update(buffer[:count])
        position += count
    return position


def digest_of_file(
    file: FileIO, algorithm: str, stride: Callable[[int], None] | None = None
) -> Digest | None:
    """Of all that is in ``file``; None when the disk does not give it. With ``stride``, which is told of
    each read, it is the disk that is asked, and what was read does not stay in memory in place of what
    clients want."""
    hasher, fd = new_hasher(algorithm), file.fileno()
    try:
        if stride is None:
            hash_range(hasher, fd, 0)
        else:
            _hash_from_disk(hasher, fd, stride)
    except OSError as error:
        log.warning("cannot read a blob: %s", error)
        return None
    return Digest.from_hasher(hasher)


def _hash_from_disk(hasher: Hasher, fd: int, stride: Callable[[int], None]) -> None:
    position = 0
    while True:
        os.posix_fadvise(fd, position, READ_BYTES, os.POSIX_FADV_DONTNEED)
        reached = hash_range(hasher, fd, position, position + READ_BYTES)
        os.posix_fadvise(fd, position, READ_BYTES, os.POSIX_FADV_DONTNEED)
        if reached == position:
            return
        stride(reached - position)
        position = reached
