"""What nobody will finish: partial files, things set aside, files that a killed process left.

Guarantees that an ingest in flight, in this process or another, is never touched: its lock is tried
first. A partial that may still be resumed is dropped only when it is old, or when room is needed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sampan.store.directory import NotAFile, same_file, try_lock
from sampan.store.manifests import noted_digest

if TYPE_CHECKING:
    from sampan.store.directory import Directory

ABANDONED_SECONDS = 7 * 24 * 3600.0  # a week: whoever waited for it has given up
BLOCK_BYTES = 512  # of st_blocks, whatever the file system's own are
QUARANTINE_SECONDS = 30 * 24 * 3600.0  # long enough for someone to look into it


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file under ``ingest/`` or ``quarantine/``; ``resumable`` is a partial under its digest's name.
    ``size``: bytes that it takes, for a partial may have holes."""

    name: str
    size: int
    touched_at: float
    resumable: bool


def leftovers(directory: Directory) -> list[Leftover]:
    """All files of ``directory``, those in flight included."""
    return [
        Leftover(name, taken_bytes(found), found.st_mtime, noted_digest(name) is not None)
        for name, found in directory.stats()
    ]


def taken_bytes(found: os.stat_result) -> int:
    """On disk, holes left out."""
    return min(found.st_size, found.st_blocks * BLOCK_BYTES)


def is_abandoned(leftover: Leftover, now: float) -> bool:
    """Whether it may go although there is room. A stamp far in the future is of a clock that was wrong:
    believing it would keep the file for ever."""
    return not leftover.resumable or abs(now - leftover.touched_at) > ABANDONED_SECONDS


def is_in_flight(directory: Directory, name: str) -> bool:
    """Whether an ingest's writer lives. It tries the lock: one who wants it at that very moment begins
    a file of its own."""
    try:
        file = directory.open(name)
    except NotAFile:
        return False
    if file is None:
        return False
    with file:
        return not try_lock(file)


def drop_idle(directory: Directory, name: str) -> bool:
    """Remove an ingest's file unless its writer lives; whether it is gone because of this call."""
    try:
        file = directory.open(name)
    except NotAFile:
        return directory.unlink(name)
    if file is None:
        return False
    with file:
        # Removed under the lock: one who waits for it finds that the name is gone, and takes another.
        if not try_lock(file) or not same_file(directory.stat(name), os.fstat(file.fileno())):
            return False
        return directory.unlink(name)
