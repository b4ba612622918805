"""Files of sinks: bytes from the store into them without passing through memory, and what the disk says.

Guarantees that a disk's refusal is a SinkError that names the path and says what to do, and that no thread
goes on writing when whoever started it was cancelled.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from sampan.errors import SinkError
from sampan.store.content import OpenBlob

COPY_BYTES = 64 * 1024 * 1024  # handed to one call of the kernel
_NO_RANGE_COPY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)
_HINTS = {
    errno.ENOSPC: "make room there, then pull again: what was fetched is kept in the store",
    errno.EDQUOT: "the quota is used up: make room, then pull again: what was fetched is kept in the store",
    errno.EROFS: "that file system is read-only: choose another place",
    errno.EACCES: "this user may not write there: choose another place",
    errno.EPERM: "this user may not write there: choose another place",
    errno.ENOENT: "make the directory first",
    errno.ENOTDIR: "a part of this path is a file: choose another place",
}

T = TypeVar("T")


class Stopped(Exception):
    """Nobody waits for this copy any more."""


async def in_thread(work: Callable[[threading.Event], T]) -> T:
    """``work`` in a thread. When cancelled it sets the event that ``work`` was given, and waits for its end:
    the files that it writes may be closed after that, and not before."""
    stop = threading.Event()
    task = asyncio.create_task(asyncio.to_thread(work, stop))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        with suppress(Exception):
            await task
        raise


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Whatever the system says of ``path`` within becomes a SinkError."""
    try:
        yield
    except OSError as error:
        words = error.strerror or str(error)
        raise SinkError(f"cannot write {path}: {words}", hint=_HINTS.get(error.errno or 0)) from error


def copy(blob: OpenBlob, to: int, stop: threading.Event) -> None:
    """All of ``blob`` to the file number ``to``, at its position. Raises OSError, Stopped when ``stop`` is
    set meanwhile, SinkError when the blob ends early.

    The kernel copies, or shares the blocks where the file system can.
    """
    source, position, by_range = blob.file.fileno(), blob.offset, True
    stop_at = blob.offset + blob.size
    while position < stop_at:
        if stop.is_set():
            raise Stopped
        count = min(COPY_BYTES, stop_at - position)
        if by_range:
            try:
                copied = os.copy_file_range(source, to, count, position)
            except OSError as error:
                if error.errno not in _NO_RANGE_COPY:
                    raise
                by_range = False
                continue
        else:
            copied = os.sendfile(to, source, position, count)
        if not copied:
            raise SinkError(
                f"{blob.digest} ends early in the store", hint="sampan store scrub finds what is damaged"
            )
        position += copied


def write_all(to: int, data: bytes) -> None:
    """All of ``data``. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(to, view) :]


def sync_directory(path: Path) -> None:
    """What was renamed in ``path`` survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
