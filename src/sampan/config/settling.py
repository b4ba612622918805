"""A file that somebody may just be writing: when is it whole?

Nothing tells that from the outside, but that it changes no more: half a configuration may be a valid one,
with half the mirrors. Whoever puts a new file in the place of the old one (``mv``) is waited for once.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from sampan.errors import ConfigError

STILL_SECONDS = 0.2  # between two pieces of a copy over a line, not between two words of a person
WAIT_SECONDS = 5.0


async def settled(path: Path) -> None:
    """Wait until the file at ``path`` has not changed for a moment; it need not be there. Raises
    :class:`ConfigError` when that does not come to pass."""
    before = _stamp(path)
    for _ in range(round(WAIT_SECONDS / STILL_SECONDS)):
        await asyncio.sleep(STILL_SECONDS)
        now = _stamp(path)
        if now == before:
            return
        before = now
    raise ConfigError(f"{path} is being written", hint="reload once it is whole")


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None  # why, is told by whoever reads it
    return found.st_ino, found.st_size, found.st_mtime_ns
