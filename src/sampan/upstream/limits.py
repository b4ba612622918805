"""How much one host is asked at a time: requests a minute, connections at once.

Guarantee: neither configured number is ever exceeded. A request over the minute's number is refused
at once, so that the next host is tried; one over the connections waits for its turn, in order,
because with a single host there is nothing else to do. That wait is our own doing and says nothing of
the host: whoever asks is told of it (:data:`WAITING`), and asks another host beside it.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from sampan.errors import RateLimited

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from sampan.clock import Clock
    from sampan.upstream.host import Host

PLENTY = 0.5  # of a minute's requests: the other half is for those that nobody else can answer
CONNECTIONS_DEFAULT = 8  # at one host; DaoCloud, the strictest that says so, allows 10

# Called in the task that asks: True when it begins to wait for its turn, False when that has come. A
# variable of the task, since every kind of request takes turns and few have anybody who listens.
WAITING: ContextVar[Callable[[bool], None] | None] = ContextVar("WAITING", default=None)


@contextmanager
def waiting() -> Iterator[None]:
    """Within it our own limits are waited for, and :data:`WAITING` is told. Whoever is cancelled meanwhile
    waited to its end."""
    tell = WAITING.get() or (lambda _waits: None)
    tell(True)
    yield
    tell(False)


class Limits:
    """The limits of every machine: hosts that differ in their prefix only share them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, int], _Bucket] = {}
        # Weak: what nobody holds or waits for is as good as new, and strangers may choose the hosts.
        self._slots: WeakValueDictionary[tuple[str, int], asyncio.Semaphore] = WeakValueDictionary()

    def slots(self, host: Host) -> asyncio.Semaphore:
        """One slot is held while a request to ``host`` is in flight, its body included."""
        key = (host.url, host.max_connections or CONNECTIONS_DEFAULT)
        slots = self._slots.get(key)
        if slots is None:
            slots = self._slots[key] = asyncio.Semaphore(key[1])
        return slots

    @asynccontextmanager
    async def turn(self, host: Host) -> AsyncIterator[None]:
        """One of :meth:`slots`, waited for in order."""
        slots = self.slots(host)
        with waiting() if slots.locked() else nullcontext():
            await slots.acquire()
        try:
            yield
        finally:
            slots.release()

    def count(self, host: Host) -> None:
        """One more request goes to ``host``; RateLimited when that is one too many this minute."""
        if host.requests_per_minute is None:
            return
        wait_seconds = self._bucket(host.url, host.requests_per_minute).take()
        if wait_seconds > 0:
            raise RateLimited(
                f"{host.name}: requests_per_minute = {host.requests_per_minute} is used up",
                outcome="rate-limited",
                retry_after_seconds=wait_seconds,
            )

    def has_plenty(self, host: Host) -> bool:
        """Whether a request to ``host`` that may prove needless leaves enough of the minute's."""
        per_minute = host.requests_per_minute
        return per_minute is None or self._bucket(host.url, per_minute).left_after_one() >= PLENTY

    def _bucket(self, url: str, per_minute: int) -> _Bucket:
        bucket = self._buckets.get((url, per_minute))
        if bucket is None:
            bucket = self._buckets[url, per_minute] = _Bucket(per_minute, self._clock)
        return bucket


class _Bucket:
    """Tokens that come back evenly over the minute; a full bucket is one minute's worth."""

    def __init__(self, per_minute: int, clock: Clock) -> None:
        self._per_second = per_minute / 60.0
        self._capacity = float(per_minute)
        self._clock = clock
        self._tokens = self._capacity
        self._counted_at = clock.monotonic()

    def take(self) -> float:
        """0: taken. More: nothing was taken, one comes back in so many seconds."""
        self._refill()
        if self._tokens < 1:
            return (1 - self._tokens) / self._per_second
        self._tokens -= 1
        return 0.0

    def left_after_one(self) -> float:
        """The share of a minute's worth that one more request would leave."""
        self._refill()
        return (self._tokens - 1) / self._capacity

    def _refill(self) -> None:
        now = self._clock.monotonic()
        self._tokens = min(self._capacity, self._tokens + (now - self._counted_at) * self._per_second)
        self._counted_at = now
