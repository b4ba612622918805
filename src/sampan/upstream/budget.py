"""How often each operator has refused us, and when one more refusal could be the one that bans us.

Public mirrors ban addresses that are refused too often; DaoCloud, the strictest that says so, those with more
than 100 answers of 403, 404, 429 or 50x in two days, and every request after that renews the ban. The one
guarantee: within any two days no operator gives more than ``max_refusals`` refusals (90), and a tenth of that
(9) for what was in flight by then, to requests that are announced with :meth:`Budget.asking`, however many
clients there are. Hosts for which it does not matter are not counted: see ``Host.refusals_max``.

It belongs to the operator and not to the machine, because whoever bans does so on all its machines. An answer
that we did not wait for is no refusal: the servers that stand in front write 499 for it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sampan.errors import Attempt, OverBudget
from sampan.upstream.limits import waiting
from sampan.upstream.url import parse_url, registrable_domain

if TYPE_CHECKING:
    from sampan.clock import Clock
    from sampan.upstream.host import Host

DAY_SECONDS = 86_400.0
WINDOW_SECONDS = 2 * DAY_SECONDS
SOFT_SHARE = 3  # a third of what two days allow, within one: asked after the others from then on
MARGIN_SHARE = 10  # for what is in flight when the budget ends: a tenth of it, or 9 of the 10 that are left
OPERATORS_MAX = 10_000  # strangers may choose the hosts
NO_REFUSALS = frozenset({401})  # to be asked for a login is how every token begins


@dataclass(frozen=True, slots=True)
class Refusals:
    """What outlives a restart: when an operator refused us, in seconds since the epoch, oldest first."""

    operator: str
    at: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Left:
    """For metrics: how many refusals more until the operator's hosts are not asked."""

    operator: str
    refusals: int


@dataclass(slots=True)
class _Record:
    """``at``: on the monotonic clock; ``machines``: the operator's, as far as they were asked, as URLs;
    ``allowed``: what the one that was asked last may give."""

    at: deque[float] = field(default_factory=deque)
    machines: set[str] = field(default_factory=set)
    in_flight: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    allowed: int = 0

    def forget(self, now: float) -> None:
        while self.at and now - self.at[0] >= WINDOW_SECONDS:
            self.at.popleft()

    def is_full(self, allowed: int) -> bool:
        """Whether those under way could be all that may still refuse."""
        return len(self.at) < allowed <= len(self.at) + self.in_flight - allowed // MARGIN_SHARE


class Budget:
    """The refusals of all operators. Not thread-safe: it lives on the event loop."""

    def __init__(self, clock: Clock) -> None:
        self.changes = 0  # since the start, for whoever writes it down
        self._clock = clock
        self._records: OrderedDict[str, _Record] = OrderedDict()

    # -- what is known ---------------------------------------------------------------------------

    def is_low(self, host: Host) -> bool:
        """Whether so much was spent within a day that others should be asked first."""
        allowed, record = host.refusals_max, self._known(host)
        if allowed is None or record is None:
            return False
        soft = max(allowed // SOFT_SHARE, 1)
        return len(record.at) >= soft and self._clock.monotonic() - record.at[-soft] < DAY_SECONDS

    def rest_seconds(self, host: Host) -> float:
        """Until ``host`` may be asked; 0: it may be now."""
        allowed, record = host.refusals_max, self._known(host)
        if allowed is None or record is None or len(record.at) < allowed:
            return 0.0
        return max(record.at[len(record.at) - allowed] + WINDOW_SECONDS - self._clock.monotonic(), 0.0)

    def attempt(self, host: Host) -> Attempt:
        """What stands in the place of a request that is not made."""
        error = _over(host, self.rest_seconds(host))
        return Attempt(host.name, error.outcome, 0.0, detail=error.message)

    def left(self) -> list[Left]:
        """Of each operator that refused us within two days, the most spent first."""
        now = self._clock.monotonic()
        found = []
        for operator, record in self._records.items():
            record.forget(now)
            if record.at and record.allowed:
                found.append(Left(operator, max(record.allowed - len(record.at), 0)))
        return sorted(found, key=lambda left: left.refusals)

    def spent(self) -> frozenset[str]:
        """The machines, as URLs, that are not asked."""
        over = {left.operator for left in self.left() if left.refusals == 0}
        return frozenset(url for name in over for url in self._records[name].machines)

    # -- what happened ---------------------------------------------------------------------------

    @asynccontextmanager
    async def asking(self, host: Host) -> AsyncIterator[None]:
        """A request is under way until it is known whether it was refused. Waits while as many are as may be,
        which :data:`~sampan.upstream.limits.WAITING` is told: it is entered before anything is held or timed.
        Raises OverBudget when it could be one refusal too many."""
        if (allowed := host.refusals_max) is None:
            yield
            return
        record = self._record(host)
        with waiting() if record.is_full(allowed) else nullcontext():
            while record.is_full(allowed):
                record.ended.clear()
                await record.ended.wait()
        self.check(host)
        record.in_flight += 1
        try:
            yield
        finally:
            record.in_flight -= 1
            record.ended.set()

    def check(self, host: Host) -> None:
        """Raises OverBudget when one request to ``host`` could be one refusal too many."""
        if rest_seconds := self.rest_seconds(host):
            raise _over(host, rest_seconds)

    def answered(self, host: Host, status: int, behind: str | None = None) -> None:
        """``host`` itself, or whoever gives its tokens, answered with ``status``; ``behind``: or a machine
        that it led to, which counts where it is the operator's, too."""
        if host.refusals_max is None or status < 400 or status in NO_REFUSALS:
            return
        if behind is None or _domain(behind) == registrable_domain(host.base.host):
            self._record(host).at.append(self._clock.monotonic())
            self.changes += 1

    # -- over a restart --------------------------------------------------------------------------

    def remembered(self) -> list[Refusals]:
        """All of it, to be written down."""
        since = self._clock.time() - self._clock.monotonic()
        self.left()  # forgets what is over
        return [
            Refusals(operator, tuple(at + since for at in record.at))
            for operator, record in self._records.items()
            if record.at
        ]

    def recall(self, written: Iterable[Refusals], hosts: Iterable[Host]) -> None:
        """What an earlier process wrote down, before any of ``hosts`` is asked. What it knew of a time that
        is yet to come (a clock was wrong) happened now: to be cautious costs less than a ban."""
        now, since = self._clock.monotonic(), self._clock.time() - self._clock.monotonic()
        for refusals in written:
            record = self._records.setdefault(refusals.operator, _Record())
            record.at = deque(sorted([*record.at, *(min(at - since, now) for at in refusals.at)]))
            record.forget(now)
        for host in hosts:
            if host.refusals_max is not None and self._known(host) is not None:
                self._record(host)  # what is left is told at once: those that rest are not asked first

    # -- where it is kept ------------------------------------------------------------------------

    def _known(self, host: Host) -> _Record | None:
        record = self._records.get(host.operator)
        if record is not None:
            record.forget(self._clock.monotonic())
        return record

    def _record(self, host: Host) -> _Record:
        record = self._known(host)
        if record is None:
            record = self._records[host.operator] = _Record()
            self._make_room()
        record.allowed = host.refusals_max or 0
        record.machines.add(host.url)
        return record

    def _make_room(self) -> None:
        """Forget who has not refused anything for the longest; what could end in a ban is kept longer."""
        if len(self._records) > OPERATORS_MAX:
            harmless = (name for name, record in self._records.items() if not (record.at or record.in_flight))
            self._records.pop(next(harmless, next(iter(self._records))))


def _domain(netloc: str) -> str:
    return registrable_domain(parse_url(f"https://{netloc}").host)


def _over(host: Host, seconds: float) -> OverBudget:
    return OverBudget(
        f"{host.name}: not asked, for {host.operator} has refused {host.refusals_max} requests in two days, "
        f"and one more could mean a ban",
        outcome="over-budget",
        retry_after_seconds=seconds,
        hint="name another mirror, or what this one gives (allow)",
    )
