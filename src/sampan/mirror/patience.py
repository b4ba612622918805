"""How long the mirror waits, for whom: all its times in one value, so that a test can be impatient."""

from __future__ import annotations

from dataclasses import dataclass

from sampan.clock import Clock


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds. The defaults follow from what clients endure: containerd waits 30 s for headers (2.3 and
    later) and 300 s for a byte; and from the promise that a request which nobody can serve ends in 40 s.
    """

    connect_seconds: float = 1.0
    """Not connected by then: another host is asked as well."""
    manifest_seconds: float = 2.0
    blob_seconds: float = 5.0
    """Connected, but no answer by then: likewise. Tags and referrers wait as long as blobs. With each
    host that keeps us waiting at that moment the times halve: the last of any list is asked soon."""
    budget_seconds: float = 36.0
    """For one question to all its hosts."""
    turn_seconds: float = 240.0
    """For our own limit on connections to a host, on top of the budget: the two stay below the 300 s."""
    headers_seconds: float = 20.0
    """A blob of known size is answered by then, though its first byte may not leave yet."""
    first_byte_seconds: float = 200.0
    """Bytes that are not verified leave after that: the client would give up with nothing."""
    come_back_seconds: float = 3.0
    """All hosts rest in mid-blob: when they are asked again."""
    rate_limit_seconds: float = 15.0
    """A rate limit of all hosts that ends sooner is waited for within the request."""
    another_seconds: float = 120.0
    """For another process that brings the same blob into the same store, while its file grows: what is left
    of ``first_byte_seconds`` then is for the bytes that we must bring by ourselves."""
    another_still_seconds: float = 30.0
    """And while it does not: it may be hashing or waiting for the disk."""
    stale_seconds: float = 3.0
    """A known tag is not kept waiting longer than a dead host's connection takes."""

    def answer_seconds(self, kind: str) -> float:
        """Of a connected host, for ``kind`` of question."""
        return self.manifest_seconds if kind == "manifest" else self.blob_seconds


class Budget:
    """What is left of the time for one question. While we only wait for our own connections nobody is
    asked, and the budget stands still; but for ``turn_seconds`` at the most."""

    def __init__(self, clock: Clock, patience: Patience) -> None:
        self._clock = clock
        self._counted_at = clock.monotonic()
        self._asked_seconds = patience.budget_seconds
        self._turn_seconds = patience.turn_seconds
        self._turn_only = False

    def left_seconds(self, *, turn_only: bool) -> float:
        """From now on; ``turn_only``: whether from now on nobody is asked."""
        now = self._clock.monotonic()
        passed = now - self._counted_at
        self._counted_at = now
        if self._turn_only:
            passed, self._turn_seconds = passed - self._turn_seconds, max(self._turn_seconds - passed, 0.0)
        self._asked_seconds -= max(passed, 0.0)
        self._turn_only = turn_only
        return self._asked_seconds + (self._turn_seconds if turn_only else 0.0)
