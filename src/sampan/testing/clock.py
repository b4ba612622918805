"""A clock that stands still until a test moves it."""

from __future__ import annotations


class ManualClock:
    """Both clocks start at ``start`` seconds and move only by :meth:`advance`."""

    def __init__(self, start: float = 1_000_000.0) -> None:
        self._now = start
        self.wall_offset_seconds = 0.0

    def monotonic(self) -> float:
        return self._now

    def time(self) -> float:
        return self._now + self.wall_offset_seconds

    def advance(self, seconds: float) -> None:
        self._now += seconds
