"""How late the event loop is: what every client waits for beside its own answer.

Guarantees one sample each tenth of a second while it runs, however late; it costs a timer. A late loop
has too much to do, or somebody blocks it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

LOOK_SECONDS = 0.1


class DelayWatch:
    """Tells ``observe`` by how many seconds a timer came too late, within the ``with``, of the loop there."""

    def __init__(self, observe: Callable[[float], None]) -> None:
        self._observe = observe
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._set()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _set(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(LOOK_SECONDS, self._look, loop, loop.time() + LOOK_SECONDS)

    def _look(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._observe(max(loop.time() - due, 0.0))
        self._set()
