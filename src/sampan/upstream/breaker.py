"""Failures in a row, and how long something rests for them.

Pure: whoever asks says what time it is. What a breaker is about (a machine, a repository there, one object)
is the business of :mod:`sampan.upstream.health`, which has one for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from sampan.errors import Attempt

REST_SECONDS = 10.0  # after the first failure; doubled with each further one
REST_SECONDS_MAX = 600.0
BREAKER_FAILURES = 3  # cheap failures in a row before a host is not asked at all
PROBE_SECONDS = 5.0  # while one request tries a rested host, the others leave it alone


class Standing(IntEnum):
    """How good a candidate is, best first; ``OPEN`` and ``DENIED`` are not asked."""

    READY = 0
    DEMOTED = 1
    STRUCK = 2
    OPEN = 3
    DENIED = 4


@dataclass(slots=True)
class Breaker:
    """Failures in a row and what they cost. ``firm``: the host named the time, so it is kept to.
    ``probing``: the rest is over, and one request finds out."""

    failures: int = 0
    rest_until: float = 0.0
    failed_at: float = 0.0
    opened: bool = False
    firm: bool = False
    probing: bool = False
    last: Attempt | None = None

    def fail(
        self,
        now: float,
        attempt: Attempt,
        *,
        open_at: int,
        rest_seconds: float | None = None,
        firm: bool = False,
    ) -> None:
        self.failures += 1
        self.failed_at = now
        if self.holds(now) and rest_seconds is None:
            return  # whatever else fails does not shorten the time that the host named
        backoff = min(REST_SECONDS * 2 ** min(self.failures - 1, 10), REST_SECONDS_MAX)
        self.rest_until = now + (rest_seconds if rest_seconds is not None else backoff)
        self.firm, self.probing = firm, False
        self.opened = firm or self.failures >= open_at
        self.last = attempt

    def fail_once(self, now: float, attempt: Attempt) -> None:
        """A failure that many requests meet at the same time: those in flight are told nothing new."""
        if self.probing or now >= self.rest_until:
            self.fail(now, attempt, open_at=BREAKER_FAILURES)

    def holds(self, now: float) -> bool:
        """Whether a time that the host named is not over yet: no success ends it either."""
        return self.firm and not self.probing and now < self.rest_until

    def succeed(self, now: float) -> None:
        if not self.holds(now):
            self.failures, self.rest_until, self.last = 0, 0.0, None
            self.opened = self.firm = self.probing = False

    def probe(self, now: float) -> None:
        if self.failures and now >= self.rest_until:
            self.rest_until, self.probing = now + PROBE_SECONDS, True

    def excuse(self, now: float) -> None:
        if self.probing:
            self.rest_until, self.probing = now, False

    def standing(self, now: float) -> Standing:
        if self.failures == 0 or now >= self.rest_until:
            return Standing.READY  # rested: the next request is the probe (see Health.begin)
        return Standing.OPEN if self.opened else Standing.DEMOTED
