"""One connection at a time to a host: one of those who fetch a blob."""

from __future__ import annotations

from sampan.clock import Clock
from sampan.mirror.rate import Rate
from sampan.upstream.host import Host


class Worker:
    """``host``: whom it asks now, None: nobody. ``rate``: of the host that it asked last. ``is_retired``: it
    is to end after its piece."""

    def __init__(self, clock: Clock, host: Host | None = None) -> None:
        self.host = host
        self.rate = Rate(clock)
        self.is_retired = False
        self._clock = clock
        self._measured = host

    def turn_to(self, host: Host) -> Rate:
        """It asks ``host`` from now on: its rate, which says nothing of another."""
        if host != self._measured:
            self.rate = Rate(self._clock)
        self.host = self._measured = host
        return self.rate

    def leave(self, *, failed: bool = False) -> None:
        """It asks nobody; ``failed``: what was measured says nothing of the next try either."""
        self.host = None
        if failed:
            self._measured = None

    @property
    def gives_per_second(self) -> float:
        """Bytes a second that come now."""
        return 0.0 if self.host is None or self.rate.rests else self.rate.per_second() or 0.0
