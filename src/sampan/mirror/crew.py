"""Those who fetch what is missing of a blob, each with one host at a time.

One of them, the lead, begins: it takes all that is missing from whichever host gives first, leaves that
host when it fails, and goes on elsewhere from the last byte. Where that takes long, others join it, the
wings, each for pieces of the rest from a host of its own (:mod:`sampan.mirror.board`), as long as that helps
(:mod:`sampan.mirror.widening`); then the lead takes pieces, too. The one guarantee: :meth:`Crew.fill` ends
with every byte on disk, or with an error, and leaves nobody at work behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from sampan.clock import Clock
from sampan.errors import AllHostsFailed, StoreFull
from sampan.mirror.arrival import VERIFIED_FIRST_BYTES, Arrival
from sampan.mirror.board import BEYOND, Board, Claim
from sampan.mirror.comeback import ComeBack
from sampan.mirror.fetch import BlobSource, OpenStream
from sampan.mirror.intake import BeginAnew, Intake
from sampan.mirror.pulse import Pulse
from sampan.mirror.race import Won
from sampan.mirror.room import Room
from sampan.mirror.spread import Spread
from sampan.mirror.tries import Tries
from sampan.mirror.widening import Advice, View, Widening
from sampan.mirror.worker import Worker
from sampan.upstream.health import Standing
from sampan.upstream.host import Host

DROPPED_BELOW = 8  # a worker this many times slower than the best is given nothing more


class Crew:
    """``avoid``: hosts that must not give any of it; ``is_alone``: one host must give all of it. ``changed``
    is to beat when something is on disk that others wait for."""

    def __init__(
        self,
        source: BlobSource,
        arrival: Arrival,
        tries: Tries,
        board: Board,
        intake: Intake,
        *,
        room: Room,
        clock: Clock,
        spread: Spread,
        changed: Pulse,
        avoid: Collection[Host],
        is_alone: bool,
    ) -> None:
        self._source = source
        self._arrival = arrival
        self._tries = tries
        self._board = board
        self._intake = intake
        self._room = room
        self._clock = clock
        self._spread = spread
        self._changed = changed
        self._avoid = avoid
        self._is_alone = is_alone
        self._widening = Widening(clock, spread.hosts_max)
        self._lead = Worker(clock)
        self._wings: dict[asyncio.Task[None], Worker] = {}
        self._dropped: set[Host] = set()  # too slow, or of no use for pieces
        self._began_at = clock.monotonic()

    @property
    def hosts(self) -> tuple[Host, ...]:
        """Who is asked now."""
        return tuple(worker.host for worker in self._workers() if worker.host is not None)

    def _workers(self) -> tuple[Worker, ...]:
        return self._lead, *self._wings.values()

    async def fill(self) -> None:
        """Until nothing is missing. Raises AllHostsFailed, NotFound, StoreError, :class:`BeginAnew`, and what
        ends the intake."""
        lead = asyncio.create_task(self._run_lead())
        look_seconds = self._spread.look_seconds if self._may_widen() else None
        try:
            while not (lead.done() or self._board.is_whole):
                everybody = [lead, *self._wings]
                await asyncio.wait(everybody, timeout=look_seconds, return_when=asyncio.FIRST_COMPLETED)
                self._dismiss()
                if look_seconds is not None and not lead.done():
                    self._look()
            if self._board.is_whole:
                self._blame_the_left()
        finally:
            await _end([lead, *self._wings])
        if not self._board.is_whole:
            lead.result()

    # -- the lead ------------------------------------------------------------------------------------

    async def _run_lead(self) -> None:
        while not self._board.is_whole:
            try:
                await self._go_on(self._lead)
            except StoreFull:
                if not await self._room.make(self._board.missing or VERIFIED_FIRST_BYTES):
                    raise

    async def _go_on(self, lead: Worker) -> None:
        """All of the rest when nobody else is at work. Otherwise a piece, from a host that no wing has; where
        there is none, the rest is left to them."""
        if not self._wings:
            await self._take_the_rest(lead)
            return
        host = self._another(self._tries.exhausted(), at_worst=Standing.DEMOTED)
        claim = None if host is None else self._board.next(lead.turn_to(host))
        if host is None or claim is None:
            lead.leave()
            await self._idle(lead)
        else:
            is_well = await self._take_piece(lead, host, claim)
            lead.leave(failed=not is_well)

    async def _take_the_rest(self, lead: Worker) -> None:
        claim = self._board.gap(lead.rate)
        if claim is None:
            raise BeginAnew  # more is there than the blob has
        is_well = False
        try:
            won = await self._open_any(claim)
            claim.rate = lead.turn_to(won.host)
            is_well = await self._intake.take(won, claim)
            self._drop_if_slow(lead)
        finally:
            self._done_with(claim)
            lead.leave(failed=not is_well)

    async def _open_any(self, claim: Claim) -> Won[OpenStream]:
        """Whoever gives first; waits a little when all rest."""
        come_back = ComeBack(self._source, self._arrival, self._tries)
        while True:
            only = self._arrival.host if self._is_alone else None
            try:
                won = await self._source.open(
                    claim.position,
                    self._arrival.declared_size,
                    stop=None if claim.stop in (BEYOND, self._board.size) else claim.stop,
                    avoid=self._tries.exhausted().union(self._avoid, self._dropped),
                    # Its rest may be over by now: still, one that has not failed in this blob goes first.
                    last=self._tries.failing(),
                    only=only,
                )
            except AllHostsFailed as error:
                if self._dropped:
                    self._dropped.clear()
                    continue
                await asyncio.sleep(come_back.pause_seconds(error, only=only))
            else:
                self._tries.add(won.attempts)
                return won

    # -- the wings -----------------------------------------------------------------------------------

    def _may_widen(self) -> bool:
        return self._arrival.declared_size is not None and not self._is_alone

    def _look(self) -> None:
        """Ask one more host, or one less, where that is good. Not while the lead alone looks for somebody who
        gives: it may be asking any of them."""
        if self._board.is_whole or not self.hosts:
            return
        workers, missing = self._workers(), self._board.missing
        rate, newest = sum(worker.gives_per_second for worker in workers), workers[-1]
        advice = self._widening.look(
            View(
                received_bytes=self._intake.received_bytes,
                rate=rate,
                newest_rate=newest.gives_per_second,
                hosts=len(workers),
                missing=missing,
                is_giving=newest.rate.is_giving,
            )
        )
        if advice in (Advice.RETIRE, Advice.DROP):
            newest.is_retired = True
            if advice is Advice.DROP and newest.host is not None:
                self._dropped.add(newest.host)
        elif advice is Advice.ADD and missing >= self._spread.wide_bytes:
            self._add(rate)

    def _add(self, rate: float) -> None:
        host = self._another(self._tries.failing())
        if host is None:
            self._widening.nobody()
            return
        if not self._wings:
            self._share_the_rest()
        worker = Worker(self._clock, host)
        self._wings[asyncio.create_task(self._run_wing(worker, host))] = worker
        self._widening.added(rate)

    def _share_the_rest(self) -> None:
        """The one claim there is covers all: others get a part of it. Not so when each request of its
        host counts; they take over its end then."""
        if self._lead.host is not None and self._lead.host.requests_per_minute is None:
            for claim in self._board.claims:
                self._board.narrow(claim)

    def _dismiss(self) -> None:
        """Those that ended. Raises what ended one: an error of the disk, say."""
        newest = next(reversed(self._wings), None)
        for task in [task for task in self._wings if task.done()]:
            del self._wings[task]
            if task is newest:
                self._widening.gone()
            self._changed.beat()
            task.result()
        for claim in () if self._wings else self._board.claims:
            self._board.take_back(claim)  # the lead's: it keeps its connection

    async def _run_wing(self, worker: Worker, host: Host) -> None:
        """Pieces of the rest from ``host``, until there are none, or it fails or is of no more use."""
        while not (self._board.is_whole or worker.is_retired):
            claim = self._board.next(worker.rate)
            if claim is None:
                await self._idle(worker)
                continue
            try:
                if not await self._take_piece(worker, host, claim):
                    return
            except StoreFull:
                return  # the lead meets it too, and makes room

    # -- both ----------------------------------------------------------------------------------------

    def _another(self, avoid: Collection[Host], at_worst: Standing = Standing.READY) -> Host | None:
        """A host for pieces that nobody has, and that is none of ``avoid``."""
        return self._source.another(
            self.hosts, avoid={*avoid, *self._avoid, *self._dropped}, at_worst=at_worst
        )

    async def _take_piece(self, worker: Worker, host: Host, claim: Claim) -> bool:
        """The bytes of ``claim`` from ``host``; whether it may be asked for more."""
        try:
            won = await self._open_piece(host, claim)
            return won is not None and await self._intake.take(won, claim) and not self._drop_if_slow(worker)
        finally:
            self._done_with(claim)

    async def _open_piece(self, host: Host, claim: Claim) -> Won[OpenStream] | None:
        start, stop = claim.position, claim.stop
        try:
            won = await self._source.open(start, self._arrival.declared_size, stop=stop, avoid=(), only=host)
        except AllHostsFailed as error:
            self._tries.add(error.attempts)
            self._tries.blame(host)
            return None
        self._tries.add(won.attempts)
        if (won.answer.stream.offset, won.answer.stream.stop) != (start, stop):  # it gives whole blobs only
            self._dropped.add(host)
            await won.answer.close()
            return None
        return won

    def _done_with(self, claim: Claim) -> None:
        self._board.end(claim)
        self._changed.beat()

    def _drop_if_slow(self, worker: Worker) -> bool:
        """Whether the host of ``worker`` is so much slower than another that it gets nothing more."""
        mine = worker.rate.per_second()
        rates = [other.rate.per_second() or 0.0 for other in self._workers() if other.host is not None]
        if worker.host is None or mine is None or mine * DROPPED_BELOW >= max(rates):
            return False
        self._dropped.add(worker.host)
        self._is_left(worker, worker.host)
        return True

    def _blame_the_left(self) -> None:
        """All is there, and others gave the end of what was asked of a host that stalled or crawled."""
        seconds = self._clock.monotonic() - self._began_at
        for worker in self._workers():
            claim = self._claim_of(worker)
            is_late = worker.gives_per_second * DROPPED_BELOW * seconds < self._intake.received_bytes
            if worker.host is not None and claim is not None and claim.position < claim.reach and is_late:
                self._is_left(worker, worker.host)

    def _is_left(self, worker: Worker, host: Host) -> None:
        claim = self._claim_of(worker)
        self._tries.left(host, 0.0 if claim is None else self._clock.monotonic() - claim.began_at)

    def _claim_of(self, worker: Worker) -> Claim | None:
        return next((claim for claim in self._board.claims if claim.rate is worker.rate), None)

    async def _idle(self, worker: Worker) -> None:
        """There is nothing to do for it now."""
        worker.rate.rest()
        await self._changed.next(self._spread.look_seconds)
        worker.rate.wake()


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
