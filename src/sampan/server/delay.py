"""How late the event loop is: what every client waits for beside its own answer.

Guarantees one sample each tenth of a second while it runs, however late; it costs a timer. A late loop
has too much to do, or somebody blocks it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

LOOK_SECONDS = 0.1


class DelayWatch:
    """Tells ``observe`` by how many seconds a timer came too late. Belongs to the loop that starts it."""

    def __init__(self, observe: Callable[[float], None]) -> None:
        self._observe = observe
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """From now on."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(LOOK_SECONDS, self._look, loop, loop.time() + LOOK_SECONDS)

    def stop(self) -> None:
        """Once is enough."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._observe(max(loop.time() - due, 0.0))
        self.start()
