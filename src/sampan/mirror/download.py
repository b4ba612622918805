"""One blob on its way into the store.

The download owns the connections to the hosts: one that dies, stalls, slows, lies or ends early is left,
and others go on from the last byte that was written (:mod:`sampan.mirror.gathering`). Readers follow the
:class:`~sampan.mirror.arrival.Arrival`; a slow or vanished one changes nothing for the others. The one
guarantee: it ends, with the blob committed or with an error that its readers are told.

It does not choose hosts (:mod:`sampan.mirror.fetch`) nor know who asks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from sampan.clock import Clock
from sampan.errors import Attempt, SampanError, StoreError, StoreFull
from sampan.mirror.arrival import Arrival
from sampan.mirror.dispute import Dispute
from sampan.mirror.events import Observer
from sampan.mirror.fetch import BlobSource
from sampan.mirror.gathering import BeginAnew, Gathering
from sampan.mirror.opening import opened
from sampan.mirror.room import Room
from sampan.mirror.spread import Spread
from sampan.mirror.tries import Tries
from sampan.mirror.waiting import Committed, Limits, turn
from sampan.store.content import BeingWritten, Ingest, Store

MIB = 1024 * 1024
ABANDONED_SECONDS = 30.0  # nobody reads any more ...
ABANDONED_BYTES = 256 * MIB  # ... and more than this is missing: stop, keep what there is
ANOTHER = "another process"  # in the place of a host's name

log = logging.getLogger(__name__)


class Abandoned(SampanError):
    """All readers left early, or the mirror stops; what arrived is kept."""

    oci_code, http_status, exit_code = "UNAVAILABLE", 503, 5


class Download:
    """Brings what ``source`` is about into ``store``, or into what ``into`` opens instead; ``size`` is in
    bytes, as a manifest declares it. ``waits_seconds``: for how long another process may go on with the same
    blob in our place."""

    def __init__(
        self,
        source: BlobSource,
        size: int | None,
        *,
        store: Store,
        room: Room,
        clock: Clock,
        observer: Observer,
        spread: Spread,
        into: Callable[[], Ingest] | None = None,
        waits_seconds: float,
    ) -> None:
        self.source = source
        self.arrival = Arrival(
            source.digest, size, is_trusted=source.is_trusted, patience=source.patience, clock=clock
        )
        self.ended = False
        self.was_found = False
        self._another: BeingWritten | None = None
        self._limits = Limits(waits_seconds, source.patience.another_still_seconds)
        self._tries = Tries(source)
        self._gathering = Gathering(
            source,
            self.arrival,
            self._tries,
            room=room,
            clock=clock,
            observer=observer,
            spread=spread,
            check=self._check_wanted,
        )
        self._dispute = Dispute(self.arrival, self._gathering)
        self._store = store
        self._into = into
        self._room = room
        self._clock = clock
        self._observer = observer

    @property
    def attempts(self) -> list[Attempt]:
        """Who failed, and at the end who gave how much."""
        return self._tries.attempts

    @property
    def is_elsewhere(self) -> bool:
        """Whether it goes somewhere else than into the store, where no reader can follow it."""
        return self._into is not None

    @property
    def host(self) -> str | None:
        """Who began to give last."""
        return self.arrival.host.name if self.arrival.host else None

    @property
    def hosts(self) -> tuple[str, ...]:
        """Who gives now."""
        return self._gathering.hosts if self._another is None else (ANOTHER,)

    @property
    def arrived(self) -> int:
        """How many bytes are on disk, by us or by another process."""
        return self.arrival.arrived if self._another is None else self._another.size

    async def run(self) -> None:
        """Bring the blob into the store. Never raises but when cancelled: readers are told."""
        self._observer.download_started(self.source.question.registry)
        outcome = "abandoned"
        try:
            await self._bring()
            outcome = "found" if self.was_found else "committed"
        except SampanError as error:
            self.arrival.failed(error)
            outcome = _outcome_of(error)
            if outcome == "unstored":
                log.warning("%s is not stored: %s", self.source.digest, error.message)
        except asyncio.CancelledError:
            self.arrival.failed(Abandoned("the mirror is stopping", hint="ask again"))
            raise
        except Exception as error:  # whatever it is, the readers must not wait for ever
            log.exception("unexpected error in the download of %s", self.source.digest)
            self.arrival.failed(SampanError(f"the download of {self.source.digest} failed: {error}"))
            outcome = "failed"
        finally:
            self.ended = True
            self._observer.download_ended(self.source.question.registry, outcome)

    async def _bring(self) -> None:
        ingest = await self._place()
        if isinstance(ingest, Committed):
            self._found(ingest)
            return
        try:
            await self._take_up(ingest)
            while not await self._fill_and_verify(ingest):
                await self._start_over(ingest)
            await asyncio.to_thread(ingest.commit)
            self._room.check()
        except BaseException:
            # What arrived is kept: the next one to ask goes on from there.
            with suppress(StoreError):
                await asyncio.shield(asyncio.to_thread(ingest.suspend))
            raise

    async def _place(self) -> Ingest | Committed:
        """Where it goes, or what another process has committed."""
        if self._into is not None:
            return await opened(self._into, lambda ingest: ingest.suspend())
        size, limit = self.arrival.declared_size, self._room.max_size_bytes
        if size is not None and limit is not None and size > limit:
            raise StoreFull(f"{size} bytes are more than the whole store may hold")
        return await self._turn(size)

    async def _turn(self, size: int | None) -> Ingest | Committed:
        try:
            return await turn(
                self._store,
                self.source.digest,
                size,
                limits=self._limits,
                clock=self._clock,
                told=self._tell_another,
            )
        finally:
            self._another = None

    def _tell_another(self, another: BeingWritten) -> None:
        self._another = another
        self._check_wanted()

    def _found(self, blob: Committed) -> None:
        """Nothing is left to do but to let the readers have it."""
        self.was_found = True
        self.arrival.begins(blob, blob.size)
        self.arrival.size = blob.size
        self.arrival.is_verified()

    async def _take_up(self, ingest: Ingest) -> None:
        """What an earlier run left is gone on from."""
        written = await asyncio.to_thread(ingest.rehash) if ingest.resumed_bytes else 0
        self.arrival.begins(ingest, written)
        if self.arrival.size is not None and written > self.arrival.size:
            await self._start_over(ingest)
        elif self.arrival.size is None and written and await asyncio.to_thread(ingest.matches):
            self.arrival.size = ingest.size = written

    async def _fill_and_verify(self, ingest: Ingest) -> bool:
        """False: what there is is of no use, and must be begun anew."""
        try:
            await self._gathering.fill(ingest)
        except BeginAnew:
            return False
        if not (await asyncio.to_thread(ingest.matches) or await self._dispute.mend(ingest)):
            self._give_up_on_pieces()
            return False
        for liar in await self._dispute.liars(ingest):
            self._tries.lied(liar)
        self._tries.credit(self.arrival.ledger)
        self.arrival.is_verified()
        return True

    def _give_up_on_pieces(self) -> None:
        """One host gave them all: it lied. Several did, and it could not be told who lied: from now on
        each must give the whole alone."""
        givers = self.arrival.ledger.givers
        self._gathering.is_alone = self._gathering.is_alone or len(givers) > 1
        for liar in givers if len(givers) == 1 else ():
            if liar is not None:
                self._tries.lied(liar)

    async def _start_over(self, ingest: Ingest) -> None:
        self.arrival.is_dropped()
        ingest.size = self.arrival.declared_size
        await asyncio.to_thread(ingest.rewind)
        self.arrival.is_dropped()

    def _check_wanted(self) -> None:
        """Raises Abandoned when nobody waits any more, and much is missing."""
        missing = (self.arrival.size or 0) - self.arrival.arrived
        unread_seconds = self._clock.monotonic() - self.arrival.left_at
        if not self.arrival.readers and missing > ABANDONED_BYTES and unread_seconds > ABANDONED_SECONDS:
            self.ended = True  # whoever comes now begins another
            raise Abandoned(f"nobody waits for {self.source.digest} any more")


def _outcome_of(error: SampanError) -> str:
    if isinstance(error, Abandoned):
        return "abandoned"
    return "unstored" if isinstance(error, StoreError) else "failed"
