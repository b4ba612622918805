"""How long each host usually takes, and so: after how many seconds it is later than its own usual.

Pure: whoever measured says what. The one guarantee: what follows from it asks no host for much more than
without it. Who is asked beside a late host is the business of :mod:`sampan.mirror.hedging`.

**Late** is who has taken half as long again as 95 of 100 of its last answers. To ask another host at the
95th percentile cuts nearly all of the long tail for some 5 % more requests (Dean and Barroso, *The Tail at
Scale*, 2013); half as long again, because a host with a narrow spread would be a twentieth of the time "late"
by a few milliseconds: of times that are distributed exponentially 1 % are so late. No host is late within
``LATE_SECONDS_MIN``, for that is what a network's hiccup or a busy machine takes; and each is late at the
constant of :class:`~sampan.mirror.patience.Patience`, whatever it took before. Of whom nothing is known,
only the constant holds.

**A budget** bounds what that costs: each question to a machine pays in a tenth of a hedge, each hedge
because it was late takes one, and a handful may be saved up. So however a host behaves, at most a tenth of
its requests are asked twice for being later than usual. (gRPC's retry throttling has the same shape and
ratio.)

**Who was let go** before it answered would have taken longer than we know. That time counts when the host
was late, as if the answer had come then: so a host that became slow is soon known to be slow, and is waited
for. A time that was cut short before tells nothing, and would make a slow host look fast.

Times are kept by machine, not by the storage that one redirects to: whom it will lead us to nobody knows
when it is asked, and what that adds is part of what it usually takes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil, inf

from sampan.clock import Clock
from sampan.upstream.host import Host
from sampan.upstream.recent import Recent

CONNECT = "connect"  # a connection that was made for a request; one that was kept open says nothing
SAMPLES_MAX = 64  # of one kind of question at one machine: the percentile leaves out the three latest
SAMPLES_MIN = 8  # of fewer, even the latest says too little of what is usual
PERCENTILE = 0.95
LATE_FACTOR = 1.5
LATE_SECONDS_MIN = 0.1
FORGOTTEN_SECONDS = 86_400.0  # what was usual yesterday may have been usual in another network
SERIES_MAX = 2_000  # some 2 KiB each; strangers may choose the hosts
HEDGE_SHARE = 0.1  # of the requests to a machine
HEDGES_SAVED_MAX = 5.0  # what one image's blobs may use at once
LATE_IN_A_ROW_MAX = 3  # one in twenty is late by definition; three in a row are no accident


@dataclass(slots=True)
class Usual:
    """The last answers to one kind of question: ``seconds`` each, the newest at ``heard_at``. ``let_go``: how
    often in a row it was late and no longer waited for."""

    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES_MAX))
    heard_at: float = 0.0
    let_go: int = 0

    def late_seconds(self) -> float:
        """From when on it is later than usual; infinite when there is no usual."""
        if len(self.seconds) < SAMPLES_MIN:
            return inf
        ordered = sorted(self.seconds)
        usual = ordered[ceil(PERCENTILE * len(ordered)) - 1]
        return max(usual * LATE_FACTOR, LATE_SECONDS_MIN)


class Tempo:
    """Of all machines. A *step* is ``connect`` or what kind of question is asked
    (:attr:`~sampan.mirror.route.Question.step`). Not thread-safe: it lives on the event loop.

    ``series``: by machine and step, for whoever writes them down."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.series: Recent[tuple[str, str], Usual] = Recent(SERIES_MAX)
        self._saved: Recent[str, float] = Recent(SERIES_MAX)

    # -- what is known -----------------------------------------------------------------------------

    def late_seconds(self, host: Host, step: str) -> float:
        """After how many seconds ``host`` is later than its own usual; infinite when it has none."""
        usual = self.series.get((host.url, step))
        return inf if usual is None or self._is_old(usual) else usual.late_seconds()

    def usual_seconds(self) -> Iterator[tuple[str, str, float]]:
        """For metrics: (URL of a machine, step, median) of each that has a usual."""
        for (machine, step), usual in self.series.items():
            if len(usual.seconds) >= SAMPLES_MIN and not self._is_old(usual):
                yield machine, step, sorted(usual.seconds)[len(usual.seconds) // 2]

    # -- what happened -----------------------------------------------------------------------------

    def asked(self, host: Host) -> None:
        """A question goes to ``host``."""
        saved = self._saved.get(host.url, HEDGES_SAVED_MAX)
        self._saved.remember(host.url, min(saved + HEDGE_SHARE, HEDGES_SAVED_MAX))

    def may_hedge(self, late: Host) -> bool:
        """Whether one more host may be asked because ``late`` is later than its usual; that is counted."""
        saved = self._saved.get(late.url, HEDGES_SAVED_MAX)
        if saved < 1.0:
            return False
        self._saved.remember(late.url, saved - 1.0)
        return True

    def answered(self, host: Host, step: str, seconds: float) -> None:
        """What ``step`` took at ``host``."""
        usual = self._of(host, step)
        if seconds < usual.late_seconds():
            usual.let_go = 0
        usual.seconds.append(max(seconds, 0.0))

    def let_go(self, host: Host, step: str, seconds: float, *, late_seconds: float) -> bool:
        """``host`` had ``seconds`` for ``step``, has not answered, and is no longer waited for; it was late
        after ``late_seconds``. Whether it was so each of the last few times."""
        if seconds < late_seconds:
            return False
        usual = self._of(host, step)
        usual.seconds.append(seconds)
        usual.let_go += 1
        return usual.let_go >= LATE_IN_A_ROW_MAX

    # -- where it is kept --------------------------------------------------------------------------

    def _of(self, host: Host, step: str) -> Usual:
        now = self._clock.monotonic()
        usual = self.series.of((host.url, step), Usual)
        if self._is_old(usual):
            usual.seconds.clear()
        usual.heard_at = now
        return usual

    def _is_old(self, usual: Usual) -> bool:
        return self._clock.monotonic() - usual.heard_at > FORGOTTEN_SECONDS
