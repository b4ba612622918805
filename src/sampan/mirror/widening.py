"""When is one more host asked for pieces of a blob? Pure: the clock is passed in.

It begins with one host and widens only while that helps: each host that joins must make the whole faster,
or it leaves again. Either it is slow, and another is tried; or what it gives is what the others lost, for the
line that all share is full, and more hosts would be asked for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sampan.clock import Clock

FIRST_LOOK_SECONDS = 0.5  # most blobs are done by then
JUDGE_SECONDS = 0.5  # after its first byte a host may have shown that it helps
DOUBT_SECONDS = 2.0  # after that it would have: far away, a connection takes its time to get going
PATIENCE_SECONDS = 5.0  # for that first byte: until then nobody else is added
HELPS = 0.1  # of the rate before is to be gained
HARMS = 0.2  # of it is lost: then another host fails, no reason to part with the one that joined
WORTH_SECONDS = 2.0  # less than this is left: not worth another connection
AGAIN_SECONDS = 10.0  # after a host that did not help, lines may have changed


class Advice(Enum):
    """What to do now. ``RETIRE``: the newest is of no use now; ``DROP``: nor later."""

    STAY = "stay"
    ADD = "add"
    RETIRE = "retire"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class View:
    """How things go: ``received_bytes`` so far; ``rate``: bytes a second from all ``hosts``, ``newest_rate``
    from the one that was added last; ``is_giving``: whether its first byte is there; ``missing``: bytes."""

    received_bytes: int
    rate: float
    newest_rate: float
    hosts: int
    missing: int
    is_giving: bool


class Widening:
    """Looked at now and then, for one blob, which ``hosts_max`` may give at a time."""

    def __init__(self, clock: Clock, hosts_max: int) -> None:
        self._clock = clock
        self._hosts_max = hosts_max
        self._next_look = clock.monotonic() + FIRST_LOOK_SECONDS
        self._added_at: float | None = None
        self._rate_before = 0.0
        self._first: tuple[float, int] | None = (
            None  # when the newest began to give, and what had come by then
        )

    def look(self, view: View) -> Advice:
        """What to do now."""
        now = self._clock.monotonic()
        if now < self._next_look:
            return Advice.STAY
        if self._added_at is not None:
            advice = self._judge(view, now, self._added_at)
            if advice is not None:
                return advice
        is_worth_it = view.hosts < self._hosts_max and view.missing > view.rate * WORTH_SECONDS
        return Advice.ADD if is_worth_it else Advice.STAY

    def _judge(self, view: View, now: float, added_at: float) -> Advice | None:
        """Of the host that was added last; None: it may stay."""
        if self._first is None and view.is_giving:
            self._first = now, view.received_bytes
        if self._first is None:
            return Advice.STAY if now - added_at < PATIENCE_SECONDS else None
        seconds, count = now - self._first[0], view.received_bytes - self._first[1]
        if seconds < JUDGE_SECONDS:
            return Advice.STAY
        # Of the time since it gives, not of the last window: that has some of the time before in it.
        gain = count / seconds - self._rate_before
        helps = gain >= self._rate_before * HELPS
        if not helps and seconds < DOUBT_SECONDS:
            return Advice.STAY
        self.gone()
        if helps or gain < -self._rate_before * HARMS:
            return None
        if view.newest_rate < self._rate_before * HELPS:
            return Advice.DROP
        self._next_look = now + AGAIN_SECONDS
        return Advice.RETIRE

    def added(self, rate: float) -> None:
        """A host was added, when all together gave ``rate``."""
        self._added_at, self._rate_before, self._first = self._clock.monotonic(), rate, None

    def nobody(self) -> None:
        """There is nobody to add now."""
        self._next_look = self._clock.monotonic() + AGAIN_SECONDS

    def gone(self) -> None:
        """The host that was added last ended by itself, or has been judged."""
        self._added_at = self._first = None
