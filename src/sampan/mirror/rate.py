"""How fast bytes come at this moment. Pure: the clock is passed in."""

from __future__ import annotations

from collections import deque

from sampan.clock import Clock

WINDOW_SECONDS = 0.8  # long enough to smooth bursts, short enough to see a stall within a second
SAMPLE_SECONDS = 0.1


class Rate:
    """Bytes a second over the last window: it falls to zero when nothing more is counted, and stays what it
    is while it rests, for time in which nothing was asked for is nobody's slowness.

    ``request_seconds``: from the last request to its first byte; None before it was measured."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._total = 0
        self._rested_seconds = 0.0
        self._rests_since: float | None = None
        self._first_at: float | None = None
        self._asked_at: float | None = None
        self.request_seconds: float | None = None
        self._samples = deque([(clock.monotonic(), 0)])

    def ask(self) -> None:
        """More is asked for."""
        self.wake()
        self._asked_at = self._now()

    def count(self, count_bytes: int) -> None:
        """So many have arrived."""
        now = self._now()
        if self._first_at is None:
            self._first_at = now
        if self._asked_at is not None:
            self.request_seconds, self._asked_at = now - self._asked_at, None
        if now - self._samples[-1][0] >= SAMPLE_SECONDS:
            self._samples.append((now, self._total))
            self._forget(now)
        self._total += count_bytes

    def per_second(self) -> float | None:
        """None before there was time to measure."""
        now = self._now()
        self._forget(now)
        began, before = self._samples[0]
        if now - began < SAMPLE_SECONDS:
            return None
        return (self._total - before) / (now - began)

    def giving_seconds(self) -> float | None:
        """Since the first byte; None before it."""
        return None if self._first_at is None else self._now() - self._first_at

    @property
    def rests(self) -> bool:
        """Whether nothing is waited for."""
        return self._rests_since is not None

    def rest(self) -> None:
        """Nothing is asked for from now on."""
        self._rests_since = self._clock.monotonic() if self._rests_since is None else self._rests_since

    def wake(self) -> None:
        """Bytes are waited for again."""
        if self._rests_since is not None:
            self._rested_seconds += self._clock.monotonic() - self._rests_since
        self._rests_since = None

    def _now(self) -> float:
        """The clock, but for the time that it rested."""
        now = self._clock.monotonic() if self._rests_since is None else self._rests_since
        return now - self._rested_seconds

    def _forget(self, now: float) -> None:
        """What is older than the window, but for the sample at which the window begins."""
        while len(self._samples) > 1 and self._samples[1][0] <= now - WINDOW_SECONDS:
            self._samples.popleft()
