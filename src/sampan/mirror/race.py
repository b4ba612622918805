"""Asking hosts one after another, without waiting for the slow ones: one question, one answer.

The next host is asked as soon as the last one failed, or is late in connecting or in answering
(:mod:`sampan.mirror.hedging`); when all have failed, those that rest. The first answer wins and the others
are let go. The one guarantee: it ends, with an answer or with :class:`~sampan.errors.AllHostsFailed` naming
every attempt, within the budget, in which waiting for our own limit on connections does not count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
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
from sampan.mirror.asked import Ask, Asked, Hedge
from sampan.mirror.hedging import HasSpare, Hedging, anybody
from sampan.mirror.patience import Budget, Patience
from sampan.mirror.route import Question, Route
from sampan.upstream.health import UNAVAILABLE_SECONDS, Health
from sampan.upstream.host import Host
from sampan.upstream.tempo import CONNECT

CUT_TRIES_MAX = 5  # a line that flaps, every other connection of which fails, is got through so
RETRIED = (Unreachable, Interrupted, ServerFault, TimedOut)  # what a lone host is asked again after

Answer = TypeVar("Answer")
Drop = Callable[[Answer], Awaitable[None]]
Noted = Callable[[Attempt], None]
Hedged = Callable[[bool], None]


def unheard(_won: bool) -> None:
    """The :data:`Hedged` of those who do not watch."""


@dataclass(frozen=True, slots=True)
class Won(Generic[Answer]):
    """The answer, who gave it, and every attempt that came before it or was beaten by it."""

    answer: Answer
    host: Host
    asked_at: float
    attempts: tuple[Attempt, ...]


class Race(Generic[Answer]):
    """``ask(host, connected)`` asks one host; ``drop`` closes an answer that came too late;
    ``cut_tries_max``: how often a lone host is asked whose connections end before it has answered. ``hedged``
    hears whether it won, of each host that was asked because another was late; ``has_spare`` says whom one
    may ask what may prove needless."""

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
        cut_tries_max: int = CUT_TRIES_MAX,
        hedged: Hedged = unheard,
        has_spare: HasSpare = anybody,
    ) -> None:
        self._patience = patience
        self._cut_tries_max = cut_tries_max
        self._hedging = Hedging(question, patience, health, clock, has_spare)
        self._hedged = hedged
        self._question = question
        self._ask = ask
        self._health = health
        self._clock = clock
        self._noted = noted
        self._drop = drop
        self._attempts: list[Attempt] = []
        self._errors: list[HostError] = []
        self._due: list[Host] = []
        self._running: list[Asked[Answer]] = []
        self._changed = asyncio.Event()

    async def run(self, route: Route) -> Won[Answer]:
        """Raises AllHostsFailed, or NotFound when every host that may be asked denies it."""
        budget = Budget(self._clock, self._patience)
        self._due = list(route.hosts)
        winner: Won[Answer] | None = None
        failed = False
        try:
            while winner is None and (self._running or self._due) and self._left_seconds(budget) > 0:
                self._ask_another(at_once=failed or not self._running)
                failed, winner = await self._next_outcome(self._left_seconds(budget))
                if winner is None and not (self._due or self._running):
                    self._due = self._further(route)
        finally:
            await self._let_go(winner, expired=self._left_seconds(budget) <= 0)
        if winner is None:
            raise self._failure(route)
        return replace(winner, attempts=tuple(self._attempts))  # with those who were beaten by it

    def _left_seconds(self, budget: Budget) -> float:
        return budget.left_seconds(turn_only=bool(self._running) and all(one.waits for one in self._running))

    def _ask_another(self, *, at_once: bool) -> None:
        """The next of those who are due, if it is time."""
        if not self._due:
            return
        if at_once:
            self._start(self._due[0], None)
        elif (hedge := self._hedging.next(self._running[-1], len(self._running) - 1, self._due)) is not None:
            self._start(*hedge)

    def _start(self, host: Host, hedge: Hedge | None) -> None:
        self._due.remove(host)
        self._health.begin(host, self._question.repository, self._question.kind)
        self._health.tempo.asked(host)
        self._running.append(Asked(host, self._ask, self._clock, self._changed, hedge))

    async def _next_outcome(self, seconds: float) -> tuple[bool, Won[Answer] | None]:
        """Wait until a try ends or another host is due: (whether one failed, the winner)."""
        if self._due:
            due_at = self._hedging.due_at(self._running[-1], len(self._running) - 1)
            seconds = min(seconds, due_at - self._clock.monotonic())
        failed = False
        for one in await self._wait(max(seconds, 0.0)):
            self._running.remove(one)
            if (won := self._settle(one)) is not None:
                return failed, won
            # One that was asked early has failed: whoever it was asked beside may still answer in time.
            failed |= one.hedge is not Hedge.EARLY
        return failed, None

    async def _wait(self, seconds: float) -> list[Asked[Answer]]:
        """The tries that ended within ``seconds``; also returns when one connects, for it then has longer
        to answer, and when one begins or ends to wait for its turn."""
        self._changed.clear()
        changes = asyncio.create_task(self._changed.wait())
        waits: list[asyncio.Future[Any]] = [one.task for one in self._running]
        try:
            await asyncio.wait([*waits, changes], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not changes.done():
                changes.cancel()
                await asyncio.wait([changes])
        return [one for one in self._running if one.task.done()]

    def _further(self, route: Route) -> list[Host]:
        """Whom to ask when all have failed: those that rest; else a lone host once more, for there is
        nobody else to ask, and some times more where it was only cut: by a line that flaps, say."""
        is_first_time = len(self._attempts) == len(route.hosts)
        if is_first_time and route.last_resort:
            return list(route.last_resort)
        if len(route.hosts) != 1 or route.last_resort:
            return []
        was_cut = isinstance(self._errors[-1], Interrupted) and len(self._attempts) < self._cut_tries_max
        is_tried = is_first_time and isinstance(self._errors[-1], RETRIED)
        return list(route.hosts) if was_cut or is_tried else []

    def _settle(self, one: Asked[Answer]) -> Won[Answer] | None:
        try:
            answer = one.task.result()
        except HostError as error:
            self._leave(one, won=False)
            if isinstance(error, TimedOut) or error.outcome == "connect-timeout":
                self._measure_late(one)
            self._failed(one, error)
            return None
        if answer is None and self._is_needless(one):
            self._leave(one, won=False)
            self._excuse(one)
            self._due.insert(0, one.host)
            return None
        self._leave(one, won=True)
        if answer is None:  # the host was not asked, or has not said
            self._excuse(one)
        else:
            self._health.tempo.answered(one.host, self._question.step, self._clock.monotonic() - one.step_at)
            self._health.reached(one.host, self._question.kind)
        return Won(answer, one.host, one.asked_at, tuple(self._attempts))

    def _is_needless(self, one: Asked[Answer]) -> bool:
        """It says nothing, and was asked early beside one that may still answer in time: its turn comes
        again when that one fails or is overdue."""
        return one.hedge is Hedge.EARLY and bool(self._running)

    def _leave(self, one: Asked[Answer], *, won: bool) -> None:
        """It is not asked any more."""
        if one.connect_seconds is not None:
            self._health.tempo.answered(one.host, CONNECT, one.connect_seconds)
        if one.hedge is not None:
            self._hedged(won)

    def _measure_late(self, one: Asked[Answer]) -> bool:
        """It would have taken longer than it was given: whether it was late and is so again and again."""
        given = self._clock.monotonic() - one.step_at
        late_seconds = self._hedging.late_at(one) - one.step_at
        step = one.step(self._question.step)
        return self._health.tempo.let_go(one.host, step, given, late_seconds=late_seconds)

    def _failed(self, one: Asked[Answer], error: HostError) -> None:
        attempt = self._attempted(one, error)
        self._noted(attempt)
        q = self._question
        self._health.fail(one.host, q.repository, q.kind, str(q.object), error, attempt, answered=False)

    def _attempted(self, one: Asked[Answer], error: HostError) -> Attempt:
        seconds = self._clock.monotonic() - one.asked_at
        attempt = Attempt(one.host.name, error.outcome, seconds, error.status, detail=error.message)
        self._errors.append(error)
        self._attempts.append(attempt)
        return attempt

    async def _let_go(self, winner: Won[Answer] | None, *, expired: bool) -> None:
        """Cancel whoever still runs. Who was asked before the winner and is late was beaten; when the
        budget is spent, those that still ran are why."""
        running, self._running = self._running, []
        ended = {one for one in running if one.task.done()}  # in the very moment of the winner
        cancelled = await _ended([one.task for one in running])
        for one in running:
            error = None if one.task.cancelled() else one.task.exception()
            if one in ended and isinstance(error, HostError):
                self._settle(one)
                continue
            self._leave(one, won=False)
            if not one.task.cancelled() and error is None:
                await self._drop_late(one)
            elif one.waits:
                self._not_asked(one, expired=expired and winner is None)
            elif winner is None and expired:
                self._measure_late(one)
                self._failed(one, TimedOut(f"{one.host.name} did not answer", outcome="first-byte-timeout"))
            elif winner is not None and self._is_beaten(one, winner):
                self._beaten(one)
            else:
                self._excuse(one)
        if cancelled is not None:
            if winner is not None:
                await self._drop_answer(winner.answer)
            raise cancelled

    async def _drop_late(self, one: Asked[Answer]) -> None:
        if (answer := one.task.result()) is not None:
            self._health.reached(one.host, self._question.kind)
        self._excuse(one)  # how it would have ended is not known
        await self._drop_answer(answer)

    async def _drop_answer(self, answer: Answer) -> None:
        if self._drop is not None:
            await self._drop(answer)

    def _excuse(self, one: Asked[Answer]) -> None:
        self._health.excuse(one.host, self._question.repository, self._question.kind)

    def _not_asked(self, one: Asked[Answer], *, expired: bool) -> None:
        """It still waited for one of our own connections: no fault of the host's, and no denial."""
        self._excuse(one)
        if expired:
            busy = f"{one.host.name}: all connections that it may be asked by are in use"
            self._attempted(one, HostError(busy, outcome="busy"))

    def _is_beaten(self, one: Asked[Answer], winner: Won[Answer]) -> bool:
        """Not by the one that was asked a moment later, but by its own slowness."""
        return one.asked_at < winner.asked_at and self._clock.monotonic() >= self._hedging.late_at(one)

    def _beaten(self, one: Asked[Answer]) -> None:
        """It loses its place when it is overdue, whoever it is; not for being later than usual, which each
        host is now and then, unless it is so again and again."""
        now = self._clock.monotonic()
        attempt = Attempt(one.host.name, "beaten", now - one.asked_at)
        self._attempts.append(attempt)
        self._noted(attempt)
        is_overdue = now >= self._hedging.overdue_at(one)
        if self._measure_late(one) or is_overdue:
            self._health.beaten(
                one.host, self._question.kind, attempt, connected=one.connected_at is not None
            )
        else:
            self._excuse(one)

    def _failure(self, route: Route) -> AllHostsFailed:
        asked = {attempt.host for attempt in self._attempts}
        attempts = (*self._attempts, *(last for last in route.resting if last.host not in asked))
        undecided = self._due or route.rests.keys() - asked
        if attempts and not undecided and all(error.denies for error in self._errors):
            return NotFound(str(self._question), attempts)
        return AllHostsFailed(
            str(self._question),
            attempts,
            retry_after_seconds=self._retry_after_seconds(route),
            hint=_hint(attempts),
        )

    def _retry_after_seconds(self, route: Route) -> float | None:
        """Until the first host may be asked again. Of one that was asked just now its rest before that says
        nothing: it is as the host said, or it may soon be asked anyway as it was this time."""
        waits: dict[str, float] = dict(route.rests)
        for attempt, error in zip(self._attempts, self._errors, strict=True):
            rested = waits.pop(attempt.host, None) is not None
            if error.retry_after_seconds is not None:
                waits[attempt.host] = error.retry_after_seconds
            elif rested and not error.denies:
                waits[attempt.host] = UNAVAILABLE_SECONDS
        return min(waits.values(), default=None)


def _hint(attempts: Collection[Attempt]) -> str:
    if not attempts:
        return "name a mirror in sampan.toml that may be asked for it"
    outcomes = {attempt.outcome for attempt in attempts}
    if "pull-limit" in outcomes:
        return "log in at the host whose pulls are used up, or name another mirror in sampan.toml"
    if "over-budget" in outcomes:
        return "name another mirror in sampan.toml, or what the one that refuses gives (allow)"
    return "see what each host answered; name another mirror in sampan.toml"


async def _ended(tasks: list[asyncio.Task[Answer]]) -> asyncio.CancelledError | None:
    """Cancel ``tasks`` and wait until they have ended. That is not given up when we are cancelled ourselves:
    what they opened is to be closed first; returned is what is to be raised then."""
    cancelled = None
    for task in tasks:
        task.cancel()
    while any(not task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled
