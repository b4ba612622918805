"""The bytes that are missing of one blob, from one host or from several at once, into its ingest.

Sets up what that takes: the board of what is wanted of whom, the intake, and the crew. Whether the bytes are
right is not its business.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from sampan.clock import Clock
from sampan.mirror.arrival import Arrival
from sampan.mirror.board import Board
from sampan.mirror.crew import Crew
from sampan.mirror.events import Observer
from sampan.mirror.fetch import BlobSource
from sampan.mirror.intake import BeginAnew, Intake
from sampan.mirror.pulse import Pulse
from sampan.mirror.room import Room
from sampan.mirror.spread import Spread
from sampan.mirror.tries import Tries
from sampan.store.content import Ingest
from sampan.upstream.host import Host

__all__ = ["BeginAnew", "Gathering"]


class Gathering:
    """``check`` is called as bytes come, and may raise to end it all. ``is_alone``: whether one host must
    give all of it; may be set between two calls of :meth:`fill`."""

    def __init__(
        self,
        source: BlobSource,
        arrival: Arrival,
        tries: Tries,
        *,
        room: Room,
        clock: Clock,
        observer: Observer,
        spread: Spread,
        check: Callable[[], None],
    ) -> None:
        self.is_alone = False
        self._source = source
        self._arrival = arrival
        self._tries = tries
        self._room = room
        self._clock = clock
        self._observer = observer
        self._spread = spread
        self._check = check
        self._crew: Crew | None = None

    @property
    def hosts(self) -> tuple[str, ...]:
        """Who gives now."""
        return () if self._crew is None else tuple(host.name for host in self._crew.hosts)

    async def fill(self, ingest: Ingest, *, avoid: Collection[Host] = ()) -> None:
        """Until nothing is missing of ``ingest``; ``avoid``: hosts that must not give any of it.

        Raises AllHostsFailed, NotFound, StoreError, :class:`BeginAnew`, and what ``check`` raises.
        """
        board, changed = Board(self._clock, self._arrival.size, ingest.spans, self._spread), Pulse()
        intake = Intake(
            self._source,
            self._arrival,
            self._tries,
            board,
            ingest,
            clock=self._clock,
            observer=self._observer,
            check=self._check,
            written=lambda: changed.beat() if board.is_whole else None,
        )
        self._crew = Crew(
            self._source,
            self._arrival,
            self._tries,
            board,
            intake,
            room=self._room,
            clock=self._clock,
            spread=self._spread,
            changed=changed,
            avoid=avoid,
            is_alone=self.is_alone,
        )
        try:
            await self._crew.fill()
        finally:
            self._crew = None
