"""When one more host is asked beside those that keep us waiting, and which.

Pure, but for the clock. Two measures: the constants of :class:`~sampan.mirror.patience.Patience`, after which
another host is asked whatever that costs; and before, what is usual of the very host that is waited for
(:mod:`sampan.upstream.tempo`), as long as that stays cheap. The one guarantee: nobody is waited for longer
than by the constants alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

from sampan.clock import Clock
from sampan.mirror.asked import Asked, Hedge
from sampan.mirror.patience import Patience
from sampan.mirror.route import Question
from sampan.upstream.health import Health, Standing
from sampan.upstream.host import Host
from sampan.upstream.quota import Supply

SLOWER_MAX = 4.0  # of a host that is asked early, the speed of bodies

HasSpare = Callable[[Host], bool]


def anybody(_host: Host) -> bool:
    """The :data:`HasSpare` of those who know nothing of limits."""
    return True


class Hedging:
    """For one ``question``. ``has_spare``: whether a host can take a request that may prove needless."""

    def __init__(
        self, question: Question, patience: Patience, health: Health, clock: Clock, has_spare: HasSpare
    ) -> None:
        self._question = question
        self._patience = patience
        self._health = health
        self._clock = clock
        self._has_spare = has_spare

    def late_at(self, one: Asked[Any]) -> float:
        """When ``one`` is later than its own usual, at the latest when it is by the constant."""
        usual = inf
        if not one.waits:
            usual = self._health.tempo.late_seconds(one.host, one.step(self._question.step))
        return min(one.step_at + usual, self.overdue_at(one))

    def overdue_at(self, one: Asked[Any]) -> float:
        """When ``one`` should have come as far as the next step, whoever it is."""
        return one.asked_at + self._constant_seconds(one)

    def due_at(self, one: Asked[Any], others: int) -> float:
        """When another host is to be asked beside ``one``, the newest, and ``others``. The more keep us
        waiting the sooner: however many there are, the last one's turn comes within twice the constant."""
        constant_at = self._constant_at(one, others)
        return constant_at if one.is_indulged else min(constant_at, self.late_at(one))

    def next(self, one: Asked[Any], others: int, due: Sequence[Host]) -> tuple[Host, Hedge] | None:
        """Whom of ``due`` to ask now beside ``one`` and ``others``. When the constant is over somebody is;
        before, only one who is well and has requests to spare, and not for every late answer."""
        now = self._clock.monotonic()
        if now < self.due_at(one, others):
            return None
        if now >= self._constant_at(one, others):
            return next((host for host in due if self._can_spare(host)), due[0]), Hedge.OVERDUE
        one.is_indulged = True
        host = next((host for host in due if self._is_welcome(host, beside=one.host)), None)
        if host is None or not self._health.tempo.may_hedge(one.host):
            return None
        return host, Hedge.EARLY

    def _constant_at(self, one: Asked[Any], others: int) -> float:
        return one.asked_at + self._constant_seconds(one) * 0.5**others

    def _constant_seconds(self, one: Asked[Any]) -> float:
        if one.is_connected:
            return self._patience.answer_seconds(self._question.kind)
        return self._patience.connect_seconds

    def _is_welcome(self, host: Host, *, beside: Host) -> bool:
        q = self._question
        if self._health.judge(host, q.repository, q.kind, str(q.object)).standing is not Standing.READY:
            return False
        return host.url != beside.url and not self._is_slow(host, beside) and self._can_spare(host)

    def _can_spare(self, host: Host) -> bool:
        """Nor does a question that may prove needless cost one of the last pulls."""
        few = self._question.is_pull and self._health.quota.supply(host) is not Supply.ENOUGH
        return self._has_spare(host) and not few

    def _is_slow(self, host: Host, beside: Host) -> bool:
        """Whether the body of a blob would take so long that to begin a moment earlier is no gain."""
        mine, other = self._health.bytes_per_second(host), self._health.bytes_per_second(beside)
        if mine is None or other is None or self._question.kind != "blob":
            return False
        return mine * SLOWER_MAX < other
