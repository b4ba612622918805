"""Asking hosts one after another, without waiting for the slow ones: one question, one answer.

The next host is asked as soon as the last one failed, has not connected, or has not answered in the
time that is usual. The first answer wins and the others are let go. The one guarantee: it ends, with
an answer or with :class:`~sampan.errors.AllHostsFailed` naming every attempt, within the budget.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sampan.clock import Clock
from sampan.errors import (
    AllHostsFailed,
    Attempt,
    HostError,
    Interrupted,
    NotFound,
    ServerFault,
    TimedOut,
    Unreachable,
)
from sampan.mirror.patience import Patience
from sampan.mirror.route import Question, Route
from sampan.upstream.health import Health
from sampan.upstream.host import Host

RETRIED = (Unreachable, Interrupted, ServerFault, TimedOut)  # what a lone host is asked again after

Answer = TypeVar("Answer")
Ask = Callable[[Host, Callable[[], None]], Coroutine[Any, Any, Answer]]
Drop = Callable[[Answer], Awaitable[None]]
Noted = Callable[[Attempt], None]


@dataclass(slots=True)
class _Try(Generic[Answer]):
    """One host being asked."""

    host: Host
    started_at: float
    task: asyncio.Task[Answer]
    connected: asyncio.Event


@dataclass(frozen=True, slots=True)
class Won(Generic[Answer]):
    """The answer, who gave it, and every attempt that came before it."""

    answer: Answer
    host: Host
    asked_at: float
    attempts: tuple[Attempt, ...]


class Race(Generic[Answer]):
    """``ask(host, connected)`` asks one host; ``drop`` closes an answer that came too late."""

    def __init__(
        self,
        question: Question,
        ask: Ask[Answer],
        *,
        health: Health,
        clock: Clock,
        noted: Noted,
        drop: Drop[Answer] | None = None,
        patience: Patience,
    ) -> None:
        self._patience = patience
        self._question = question
        self._ask = ask
        self._health = health
        self._clock = clock
        self._noted = noted
        self._drop = drop
        self._attempts: list[Attempt] = []
        self._errors: list[HostError] = []
        self._running: list[_Try[Answer]] = []

    async def run(self, route: Route) -> Won[Answer]:
        """Raises AllHostsFailed, or NotFound when every host that may be asked denies it."""
        deadline = self._clock.monotonic() + self._patience.budget_seconds
        waiting = list(route.hosts)
        winner: Won[Answer] | None = None
        another = True
        try:
            while winner is None and (self._running or waiting) and self._clock.monotonic() < deadline:
                if waiting and another:
                    self._start(waiting.pop(0))
                failed, winner = await self._next_outcome(deadline, others_wait=bool(waiting))
                another = failed or not self._running or self._hedge_seconds() <= 0
                if failed and not waiting and not self._running and self._lone_and_worth_another(route):
                    waiting.append(route.hosts[0])
        finally:
            await self._let_go(winner, expired=self._clock.monotonic() >= deadline)
        if winner is None:
            raise self._failure(route)
        return winner

    def _start(self, host: Host) -> None:
        self._health.begin(host, self._question.repository, self._question.kind)
        connected = asyncio.Event()
        task = asyncio.create_task(self._ask(host, connected.set))
        self._running.append(_Try(host, self._clock.monotonic(), task, connected))

    async def _next_outcome(self, deadline: float, *, others_wait: bool) -> tuple[bool, Won[Answer] | None]:
        """Wait until a try ends or another host is due: (whether one failed, the winner)."""
        seconds = deadline - self._clock.monotonic()
        if others_wait:
            seconds = min(seconds, self._hedge_seconds())
        failed = False
        for one in await self._wait(max(seconds, 0.0)):
            self._running.remove(one)
            if (won := self._settle(one)) is not None:
                return failed, won
            failed = True
        return failed, None

    async def _wait(self, seconds: float) -> list[_Try[Answer]]:
        """The tries that ended within ``seconds``; also returns when the newest one connects, for
        it then has longer to answer."""
        connected = self._running[-1].connected
        connects = None if connected.is_set() else asyncio.create_task(connected.wait())
        waits: list[asyncio.Future[Any]] = [one.task for one in self._running]
        try:
            await asyncio.wait(
                waits + ([connects] if connects else []),
                timeout=seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            if connects is not None and not connects.done():
                connects.cancel()
                await asyncio.wait([connects])
        return [one for one in self._running if one.task.done()]

    def _hedge_seconds(self) -> float:
        """Until the next host is asked beside the newest one."""
        newest = self._running[-1]
        usual = self._patience.connect_seconds
        if newest.connected.is_set():
            usual = self._patience.answer_seconds(self._question.kind)
        return newest.started_at + usual - self._clock.monotonic()

    def _settle(self, one: _Try[Answer]) -> Won[Answer] | None:
        try:
            answer = one.task.result()
        except HostError as error:
            self._failed(one, error)
            return None
        self._health.reached(one.host)
        return Won(answer, one.host, one.started_at, tuple(self._attempts))

    def _failed(self, one: _Try[Answer], error: HostError) -> None:
        seconds = self._clock.monotonic() - one.started_at
        attempt = Attempt(one.host.name, error.outcome, seconds, error.status, detail=error.message)
        self._errors.append(error)
        self._attempts.append(attempt)
        self._noted(attempt)
        question = self._question
        self._health.fail(one.host, question.repository, question.kind, str(question.object), error, attempt)

    def _lone_and_worth_another(self, route: Route) -> bool:
        """A lone host is tried once more: there is nobody else to ask."""
        return len(route.hosts) == 1 == len(self._attempts) and isinstance(self._errors[-1], RETRIED)

    async def _let_go(self, winner: Won[Answer] | None, *, expired: bool) -> None:
        """Cancel whoever still runs. Who was asked before the winner loses its place; when the
        budget is spent, those that still ran are why."""
        running, self._running = self._running, []
        for one in running:
            one.task.cancel()
        for one in running:
            await asyncio.wait([one.task])
            if not one.task.cancelled() and one.task.exception() is None:
                if self._drop is not None:
                    await self._drop(one.task.result())
            elif expired and winner is None:
                self._failed(one, TimedOut(f"{one.host.name} did not answer", outcome="first-byte-timeout"))
            elif winner is not None and one.started_at < winner.asked_at:
                self._beaten(one)

    def _beaten(self, one: _Try[Answer]) -> None:
        attempt = Attempt(one.host.name, "beaten", self._clock.monotonic() - one.started_at)
        self._noted(attempt)
        self._health.beaten(one.host, self._question.repository, self._question.kind, attempt)

    def _failure(self, route: Route) -> AllHostsFailed:
        attempts = (*self._attempts, *route.resting)
        all_deny = (
            bool(attempts) and all(e.denial for e in self._errors) and (route.denied or not route.resting)
        )
        if all_deny:
            return NotFound(str(self._question), attempts)
        told = (*(error.retry_after_seconds for error in self._errors), route.rest_seconds)
        waits = [seconds for seconds in told if seconds is not None]
        return AllHostsFailed(
            str(self._question),
            attempts,
            retry_after_seconds=min(waits) if waits else None,
            hint="see what each host answered; name another mirror in sampan.toml"
            if attempts
            else "name a mirror in sampan.toml that may be asked for it",
        )
