"""Opening a file in a thread, for a task that may be cancelled meanwhile.

The one guarantee: what was opened is returned, or closed again. A thread cannot be cancelled: without this
its file, and the lock on it, would stay open with nobody to close them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from sampan.errors import SampanError

T = TypeVar("T")


async def opened(open_it: Callable[[], T], close_it: Callable[[T], object]) -> T:
    """What ``open_it`` gives, called in a thread. Raises what it raises; when cancelled, after
    ``close_it`` was called with it, in a thread too."""
    opening = asyncio.create_task(asyncio.to_thread(open_it))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        with suppress(SampanError, OSError):
            await asyncio.to_thread(close_it, await opening)
        raise
