"""Is this host too slow to stay with? Pure: bytes and times in, a judgement out."""

from __future__ import annotations

from collections.abc import Callable

from sampan.clock import Clock

WINDOW_SECONDS = 15.0
RATE_MIN_BYTES_PER_SECOND = 16 * 1024  # below this a host only pretends to send
HOPED_BYTES_PER_SECOND = 1024 * 1024  # of a host not yet measured: what public mirrors allow a blob
SLOWER_BY = 8  # another host is worth a new connection when it promises this many times the rate


class Pace:
    """The rate of one body, window after window.

    A crawl is left only for something better: ``alternative`` tells the rate that the best other
    host promises, in bytes a second, or None when there is no other.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._window_began = clock.monotonic()
        self._window_bytes = 0

    def received(self, count_bytes: int) -> None:
        """Count what has arrived."""
        self._window_bytes += count_bytes

    def is_too_slow(self, alternative: Callable[[], float | None]) -> bool:
        """Whether the last window was a crawl; begins a new window when one is over."""
        seconds = self._clock.monotonic() - self._window_began
        if seconds < WINDOW_SECONDS:
            return False
        rate = self._window_bytes / seconds
        self._window_began, self._window_bytes = self._clock.monotonic(), 0
        promised = alternative()
        return promised is not None and rate < max(RATE_MIN_BYTES_PER_SECOND, promised / SLOWER_BY)
