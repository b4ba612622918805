"""Asking the hosts of a registry one question: the route, the race, and what is noted of both.

Manifests, tags and referrers all ask in this one way; blobs, whose answer is a stream, in
:mod:`sampan.mirror.fetch`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from sampan.clock import Clock
from sampan.errors import AllHostsFailed, Attempt, RegistryUnknown
from sampan.mirror.events import Observer
from sampan.mirror.hedging import HasSpare, anybody
from sampan.mirror.patience import Patience
from sampan.mirror.race import Hedged, Noted, Race, Won
from sampan.mirror.route import Question, plan_route
from sampan.upstream.health import Health
from sampan.upstream.host import Host

Answer = TypeVar("Answer")


class HostsFor(Protocol):
    """The hosts of a registry in configured order; None: not configured, never dialled."""

    def __call__(self, registry: str) -> Sequence[Host] | None: ...


class Asking:
    """What every question needs: hosts, health, a clock and somebody who listens. ``has_spare``: whom one may
    ask what may prove needless."""

    def __init__(
        self,
        hosts_for: HostsFor,
        health: Health,
        clock: Clock,
        observer: Observer,
        patience: Patience,
        *,
        has_spare: HasSpare = anybody,
    ) -> None:
        self.has_spare = has_spare
        self.health = health
        self.clock = clock
        self.observer = observer
        self.patience = patience
        self._hosts_for = hosts_for

    def hosts(self, registry: str) -> Sequence[Host]:
        """Raises RegistryUnknown."""
        hosts = self._hosts_for(registry)
        if hosts is None:
            raise RegistryUnknown(
                f"the registry {registry} is not configured here",
                hint=f'add a [registry."{registry}"] table to sampan.toml',
            )
        return hosts

    def noted(self, question: Question) -> Noted:
        """What hears of each attempt."""

        def note(attempt: Attempt) -> None:
            self.observer.attempted(question.registry, question.kind, attempt)

        return note

    def hedged(self, question: Question) -> Hedged:
        """What hears of each host that was asked because another was late."""

        def note(won: bool) -> None:
            self.observer.hedged(question.registry, question.kind, won=won)

        return note

    async def first(
        self,
        question: Question,
        ask: Callable[[Host, Callable[[], None]], Coroutine[Any, Any, Answer]],
        *,
        hosts: Sequence[Host] | None = None,
    ) -> Won[Answer]:
        """The first good answer. Raises AllHostsFailed or NotFound. A short rate limit of all hosts is
        waited for, if the budget has room for the wait and for as long an attempt as the first."""
        began, budget_seconds = self.clock.monotonic(), self.patience.budget_seconds
        try:
            return await self._race(question, ask, hosts, budget_seconds)
        except AllHostsFailed as error:
            took = self.clock.monotonic() - began
            wait = error.retry_after_seconds
            if error.status != 429 or wait is None or wait > self.patience.rate_limit_seconds:
                raise
            if took + wait + took > budget_seconds:
                raise
            limited = error.attempts
        await asyncio.sleep(wait)
        won = await self._race(question, ask, hosts, budget_seconds - took - wait)
        return replace(won, attempts=(*limited, *won.attempts))

    async def _race(
        self,
        question: Question,
        ask: Callable[[Host, Callable[[], None]], Coroutine[Any, Any, Answer]],
        hosts: Sequence[Host] | None,
        budget_seconds: float,
    ) -> Won[Answer]:
        asked = hosts if hosts is not None else self.hosts(question.registry)
        route = plan_route(asked, question, self.health)
        noted = self.noted(question)
        race = Race(
            question,
            ask,
            health=self.health,
            clock=self.clock,
            noted=noted,
            patience=replace(self.patience, budget_seconds=budget_seconds),
            hedged=self.hedged(question),
            has_spare=self.has_spare,
        )
        won = await race.run(route)
        if won.answer is not None:  # None: the host was not asked, or has not said
            self.health.succeed(won.host, question.repository, question.kind)
            noted(Attempt(won.host.name, "ok", self.clock.monotonic() - won.asked_at, 200))
        return won
