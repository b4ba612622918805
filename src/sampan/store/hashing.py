"""Hashing what is on disk, in strides long enough to run without the interpreter."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from sampan.oci.digest import Digest, new_hasher

if TYPE_CHECKING:
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


def digest_of_file(file: FileIO, algorithm: str) -> Digest | None:
    """Of all that is in ``file``; None when the disk does not give it."""
    hasher = new_hasher(algorithm)
    try:
        hash_range(hasher, file.fileno(), 0)
    except OSError as error:
        log.warning("cannot read a blob: %s", error)
        return None
    return Digest.from_hasher(hasher)
