"""When is one more host asked for pieces of a blob? Pure: the clock is passed in.

It begins with one host and widens only while that helps: each host that joins must make the whole faster,
or it leaves again. Either it is slow, and another is tried; or what it gives is what the others lost, for the
line that all share is full, and more hosts would be asked for nothing.
"""

from __future__ import annotations

from enum import Enum

from sampan.clock import Clock

FIRST_LOOK_SECONDS = 0.5  # most blobs are done by then
JUDGE_SECONDS = 0.4  # after its first byte a host may have shown that it helps
DOUBT_SECONDS = 2.0  # after that it would have: far away, a connection takes its time to get going
PATIENCE_SECONDS = 5.0  # for that first byte: until then nobody else is added
HELPS = 1.1  # times the rate before
HARMS = 0.8  # below this part of it another host fails: no reason to part with the one that joined
WORTH_SECONDS = 2.0  # less than this is left: not worth another connection
AGAIN_SECONDS = 10.0  # after a host that did not help, lines may have changed


class Advice(Enum):
    """What to do now. ``RETIRE``: the newest is of no use now; ``DROP``: nor later."""

    STAY = "stay"
    ADD = "add"
    RETIRE = "retire"
    DROP = "drop"


class Widening:
    """Looked at now and then, for one blob, which ``hosts_max`` may give at a time."""

    def __init__(self, clock: Clock, hosts_max: int) -> None:
        self._clock = clock
        self._hosts_max = hosts_max
        self._next_look = clock.monotonic() + FIRST_LOOK_SECONDS
        self._added_at: float | None = None
        self._rate_before = 0.0

    def look(
        self, rate: float, missing: int, hosts: int, *, newest_rate: float, giving_seconds: float | None
    ) -> Advice:
        """``rate``: bytes a second from all ``hosts``; ``missing``: bytes; ``newest_rate``: from the host
        that was added last; ``giving_seconds``: since its first byte, None before it."""
        now = self._clock.monotonic()
        if now < self._next_look:
            return Advice.STAY
        if self._added_at is not None:
            helps = rate >= self._rate_before * HELPS
            if self._is_new(now, giving_seconds, helps=helps):
                return Advice.STAY
            self._added_at = None
            if giving_seconds is not None and not helps and rate >= self._rate_before * HARMS:
                if rate - self._rate_before > newest_rate / 2:
                    return Advice.DROP
                self._next_look = now + AGAIN_SECONDS
                return Advice.RETIRE
        is_worth_it = hosts < self._hosts_max and missing > rate * WORTH_SECONDS
        return Advice.ADD if is_worth_it else Advice.STAY

    def _is_new(self, now: float, giving_seconds: float | None, *, helps: bool) -> bool:
        """Whether the one that was added has had no time to show what it gives."""
        assert self._added_at is not None
        if giving_seconds is None:
            return now - self._added_at < PATIENCE_SECONDS
        return giving_seconds < (JUDGE_SECONDS if helps else DOUBT_SECONDS)

    def added(self, rate: float) -> None:
        """A host was added, when all together gave ``rate``."""
        self._added_at, self._rate_before = self._clock.monotonic(), rate

    def nobody(self) -> None:
        """There is nobody to add now."""
        self._next_look = self._clock.monotonic() + AGAIN_SECONDS

    def gone(self) -> None:
        """The host that was added last ended by itself."""
        self._added_at = None
