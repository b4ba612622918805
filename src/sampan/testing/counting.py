"""Registries that count: the pulls that they give to an address, and the refusals after which they ban it.

Faults with a memory, to be given to ``script`` like all others. They count by the clock that they are given.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sampan.testing.fault import Fault
from sampan.testing.match import Match
from sampan.testing.wire import Reply, Request, error_reply, reply

if TYPE_CHECKING:
    from sampan.clock import Clock

PULL_LIMIT_MESSAGE = (
    "You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit"
)
SOURCE = "203.0.113.7"  # whom Docker Hub counts for: nobody may meet it in a log
ABUSE_TEXT = b"<html><body><h1>429 Too Many Requests</h1></body></html>\n"


@dataclass
class PullCount:
    """``limit`` pulls within any ``window_seconds``, as Docker Hub counts them: a GET of a manifest is one,
    HEAD and blobs are free. ``pulls``: when they were."""

    clock: Clock
    limit: int = 100
    window_seconds: int = 21_600
    retry_after: str | None = None
    pulls: deque[float] = field(default_factory=deque)

    @property
    def left(self) -> int:
        """How many there are now."""
        while self.pulls and self.clock.monotonic() - self.pulls[0] >= self.window_seconds:
            self.pulls.popleft()
        return self.limit - len(self.pulls)

    def spend(self, count: int) -> None:
        """Somebody else at the same address pulls."""
        self.pulls.extend([self.clock.monotonic()] * count)

    def fault(self) -> Fault:
        """What a registry does that counts so."""
        return Fault(f"{self.limit} pulls", self._change, Match(kind="manifest"))

    def _change(self, request: Request, right: Reply) -> Reply:
        if request.method == "GET" and self.left <= 0:
            right = error_reply(429, "TOOMANYREQUESTS", PULL_LIMIT_MESSAGE)
            if self.retry_after is not None:
                right = right.with_header("Retry-After", self.retry_after)
        elif request.method == "GET" and right.status == 200:
            self.spend(1)
        for name, count in (("ratelimit-limit", self.limit), ("ratelimit-remaining", self.left)):
            right = right.with_header(name, f"{count};w={self.window_seconds}")
        return right.with_header("docker-ratelimit-source", SOURCE)


def abuse_limit() -> Fault:
    """429 as Docker Hub says it to whoever asks thousands of times a minute: no JSON, no Retry-After."""
    return Fault("abuse limit", lambda _request, _reply: reply(429, ABUSE_TEXT, "text/html"))


@dataclass
class Bans:
    """Whoever is refused more than ``refusals_max`` times within ``window_seconds`` is refused everything
    from then on, and everything that it asks for begins the time anew. ``refusals``: when they were."""

    clock: Clock
    refusals_max: int = 100
    window_seconds: float = 172_800.0
    refusals: deque[float] = field(default_factory=deque)
    bans: int = 0
    worst: int = 0

    def fault(self) -> Fault:
        """What a registry does that bans so; to be joined to a fault that refuses."""
        return Fault("bans", self._change, Match())

    def _change(self, _request: Request, right: Reply) -> Reply:
        now = self.clock.monotonic()
        while self.refusals and now - self.refusals[0] >= self.window_seconds:
            self.refusals.popleft()
        is_banned = len(self.refusals) > self.refusals_max
        if is_banned or right.status in (403, 404, 429) or 500 <= right.status < 510:
            self.refusals.append(now)
        self.worst = max(self.worst, len(self.refusals))
        if not is_banned:
            return right
        self.bans += 1
        return error_reply(403, "DENIED", json.dumps({"banned": True}))
