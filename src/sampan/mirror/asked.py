"""One host being asked one question: how far it has come, and since when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from enum import Enum
from typing import Any, Generic, TypeVar

from sampan.clock import Clock
from sampan.upstream.dialer import DIAL, is_new_connection
from sampan.upstream.host import Host
from sampan.upstream.limits import WAITING
from sampan.upstream.tempo import CONNECT

Answer = TypeVar("Answer")
Ask = Callable[[Host, Callable[[], None]], Coroutine[Any, Any, Answer]]


class Hedge(Enum):
    """Why another host is asked beside one that is late."""

    EARLY = "later than its own usual, which may mean little"
    OVERDUE = "later than anybody may be"


class Asked(Generic[Answer]):
    """``asked_at``: since when; while it ``waits`` for one of our own connections it is not asked yet.
    ``changed`` is set when either is news, or when it is connected. ``hedge``: it is asked because another
    is late; ``is_indulged``: it is late itself, and nobody more is asked beside it for that alone."""

    def __init__(
        self, host: Host, ask: Ask[Answer], clock: Clock, changed: asyncio.Event, hedge: Hedge | None
    ) -> None:
        self.host = host
        self.asked_at = clock.monotonic()
        self.connected_at: float | None = None
        self.connect_seconds: float | None = None  # of a connection that was made for it
        self.waits = self.is_indulged = False
        self.hedge = hedge
        self._clock = clock
        self._changed = changed
        self.task: asyncio.Task[Answer] = asyncio.create_task(self._run(ask))

    def step(self, question: str) -> str:
        """What it is busy with (see :mod:`sampan.upstream.tempo`): connecting, or ``question``."""
        return CONNECT if self.connected_at is None else question

    @property
    def step_at(self) -> float:
        """Since when."""
        return self.asked_at if self.connected_at is None else self.connected_at

    @property
    def is_connected(self) -> bool:
        """Whether it has the question, and only its answer is awaited."""
        return self.connected_at is not None and not self.waits

    async def _run(self, ask: Ask[Answer]) -> Answer:
        WAITING.set(self._wait)
        DIAL.set(None)  # whoever began this race may have dialled itself
        return await ask(self.host, self._connect)

    def _connect(self) -> None:
        self.connected_at = self._clock.monotonic()
        if is_new_connection():
            self.connect_seconds = self.connected_at - self.asked_at
        self._changed.set()

    def _wait(self, waits: bool) -> None:
        self.waits = waits
        self.asked_at = self._clock.monotonic()
        if self.connected_at is not None:
            self.connected_at = self.asked_at
        self._changed.set()
