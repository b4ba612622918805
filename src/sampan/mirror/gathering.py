"""The bytes that are missing of one blob, from one host or from several at once, into its ingest.

One worker, the lead, takes whichever host gives first, leaves it when it fails, and goes on elsewhere from
the last byte. Where that takes long, others join it, each with one host of its own, for pieces of the rest
(:mod:`sampan.mirror.board`), as long as that helps (:mod:`sampan.mirror.widening`). The one guarantee:
:meth:`Gathering.fill` ends with every byte on disk and in the ledger of who gave it, or with an error, and
leaves no worker behind. Whether the bytes are right is not its business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress

from sampan.clock import Clock
from sampan.errors import AllHostsFailed, HostError, NotARegistry, NotFound, StoreError, StoreFull, TimedOut
from sampan.mirror.arrival import VERIFIED_FIRST_BYTES, Arrival
from sampan.mirror.board import Board, Claim
from sampan.mirror.events import Observer
from sampan.mirror.fetch import BlobSource, OpenStream
from sampan.mirror.pace import Pace
from sampan.mirror.pulse import Pulse
from sampan.mirror.race import Won
from sampan.mirror.rate import Rate
from sampan.mirror.room import Room
from sampan.mirror.stride import StrideWriter
from sampan.mirror.tries import Tries
from sampan.mirror.widening import Advice, Widening
from sampan.store.content import Ingest
from sampan.upstream.host import Host

MIB = 1024 * 1024
LOOK_SECONDS = 0.25  # between two looks at how things go
WIDE_BYTES_MIN = 8 * MIB  # less than this is missing: not worth a second connection
DROPPED_BELOW = 8  # a worker this many times slower than the best is given nothing more
COME_BACKS_MAX = 3  # all hosts rest in mid-blob: how often they are waited for, in a row
UNTOLD_BYTES_MAX = 16 * 1024 * MIB  # of a blob whose size nobody tells: no layer is as large


class BeginAnew(Exception):
    """What there is of the blob is of no use: it must begin at zero."""


class _Worker:
    """One connection at a time; ``host`` None: the lead, which takes any."""

    def __init__(self, host: Host | None, clock: Clock) -> None:
        self.host = host
        self.rate = Rate(clock)
        self.gave_at: float | None = None
        self.is_retired = False


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
        check: Callable[[], None],
    ) -> None:
        self.is_alone = False
        self._source = source
        self._arrival = arrival
        self._tries = tries
        self._room = room
        self._clock = clock
        self._observer = observer
        self._check = check
        self._pulse = Pulse()
        self._lead_worker = _Worker(None, clock)
        self._wings: dict[asyncio.Task[None], _Worker] = {}
        self._dropped: set[Host] = set()  # too slow, or of no use for pieces
        self._avoided: Collection[Host] = ()

    @property
    def hosts(self) -> tuple[str, ...]:
        """Who gives now."""
        working = (self._lead_worker, *self._wings.values())
        return tuple(worker.host.name for worker in working if worker.host is not None)

    async def fill(self, ingest: Ingest, *, avoid: Collection[Host] = ()) -> None:
        """Until nothing is missing of ``ingest``; ``avoid``: hosts that must not give any of it.

        Raises AllHostsFailed, NotFound, StoreError, :class:`BeginAnew`, and what ``check`` raises.
        """
        self._ingest, self._avoided, self._dropped = ingest, avoid, set()
        self._board = Board(self._clock, self._arrival.size, ingest.spans)
        self._widening = Widening(self._clock)
        self._lead_worker = _Worker(None, self._clock)
        lead = asyncio.create_task(self._lead())
        try:
            while not (lead.done() or self._board.is_whole):
                await asyncio.wait(
                    [lead, *self._wings],
                    timeout=LOOK_SECONDS if self._may_widen() else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                self._dismiss()
                self._look()
        finally:
            await _end([lead, *self._wings])
            self._wings.clear()
        if not self._board.is_whole:
            lead.result()

    # -- the lead ------------------------------------------------------------------------------------

    async def _lead(self) -> None:
        worker, board = self._lead_worker, self._board
        while not board.is_whole:
            claim = board.next(worker.rate) if self._wings else board.gap(worker.rate)
            if claim is None or not await self._lead_on(worker, claim):
                await self._pulse.next(LOOK_SECONDS)

    async def _lead_on(self, worker: _Worker, claim: Claim) -> bool:
        """False: nobody can be asked for ``claim`` but those who are at work: it is left to them."""
        try:
            won = await self._open_next(claim)
            if won is not None:
                await self._take(worker, won, claim)
                self._drop_if_slow(worker)
        except StoreFull:
            if not await self._room.make(self._board.missing or VERIFIED_FIRST_BYTES):
                raise
            return True
        finally:
            self._board.end(claim)
            worker.host = None
            self._pulse.beat()
        return won is not None

    async def _open_next(self, claim: Claim) -> Won[OpenStream] | None:
        """The next host, for ``claim``; waits a little when all rest. None: nobody but those who are at
        work."""
        waits = COME_BACKS_MAX
        while True:
            only = self._arrival.host if self.is_alone else None
            busy = {worker.host for worker in self._wings.values() if worker.host is not None}
            avoid = {*self._tries.exhausted(), *self._avoided, *self._dropped, *busy}
            try:
                won = await self._source.open(
                    claim.position,
                    self._arrival.declared_size,
                    stop=claim.stop if claim.stop < (self._board.size or 0) else None,
                    avoid=avoid,
                    only=only,
                )
            except AllHostsFailed as error:
                if self._wings:
                    self._tries.add(error.attempts)
                    return None
                if self._dropped:
                    self._dropped.clear()
                    continue
                pause = self._pause_seconds(error, only, waits)
                waits = 0 if error.status == 429 else waits - 1
                await asyncio.sleep(pause)
            else:
                self._tries.attempts.extend(won.attempts)
                return won

    def _pause_seconds(self, error: AllHostsFailed, only: Host | None, waits: int) -> float:
        """How long to wait before asking again. Raises what is to be done instead of waiting."""
        has_some = bool(self._board.spans)
        if isinstance(error, NotFound) and not has_some and not self._tries.attempts:
            raise error
        self._tries.add(error.attempts)
        if only is not None:
            self._tries.exhaust(only)
            raise BeginAnew  # the next one gives the whole alone
        if has_some and any(attempt.status == 416 for attempt in error.attempts):
            raise BeginAnew  # nobody told the size, and what an earlier run left is longer than the blob
        pause = self._come_back_seconds(error, has_some=has_some)
        if pause is None or not waits or self._tries.are_many:
            raise AllHostsFailed(
                str(self._source.question),
                self._tries.attempts or error.attempts,
                retry_after_seconds=error.retry_after_seconds,
                hint=error.hint,
            ) from error
        return pause

    def _come_back_seconds(self, error: AllHostsFailed, *, has_some: bool) -> float | None:
        """None: give up now."""
        if not error.attempts or not (self._arrival.readers or has_some):
            return None
        limit, patience = error.retry_after_seconds, self._source.patience
        if error.status == 429 and limit is not None and limit <= patience.rate_limit_seconds:
            return limit
        return patience.come_back_seconds if has_some else None

    # -- the others ----------------------------------------------------------------------------------

    def _may_widen(self) -> bool:
        return self._arrival.declared_size is not None and not self.is_alone

    def _look(self) -> None:
        """Ask one more host, or one less, where that is good."""
        board, working = self._board, [self._lead_worker, *self._wings.values()]
        if not self._may_widen() or board.is_whole:
            return
        rate = sum(worker.rate.per_second() or 0.0 for worker in working)
        newest = working[-1]
        giving = None if newest.gave_at is None else self._clock.monotonic() - newest.gave_at
        advice = self._widening.look(rate, board.missing, len(working), giving_seconds=giving)
        if advice is Advice.RETIRE:
            newest.is_retired = True
        elif advice is Advice.ADD and board.missing >= WIDE_BYTES_MIN:
            self._add(rate)

    def _add(self, rate: float) -> None:
        busy = {worker.host for worker in (self._lead_worker, *self._wings.values()) if worker.host}
        others = self._tries.failing().union(self._avoided, self._dropped)
        host = self._source.another(busy, avoid=others)
        if host is None:
            self._widening.nobody()
            return
        if not self._wings:
            self._share_the_lead()
        worker = _Worker(host, self._clock)
        self._wings[asyncio.create_task(self._wing(worker, host))] = worker
        self._widening.added(rate)

    def _share_the_lead(self) -> None:
        """The one claim there is covers all: others get a part of it. Not so when each request of its
        host counts; they take over its end then."""
        lead = self._lead_worker.host
        if lead is None or lead.requests_per_minute is None:
            for claim in self._board.claims:
                self._board.narrow(claim)

    def _dismiss(self) -> None:
        """Those that ended. Raises StoreError when the disk ended one."""
        newest = next(reversed(self._wings), None)
        for task in [task for task in self._wings if task.done()]:
            del self._wings[task]
            if task is newest:
                self._widening.gone()
            self._pulse.beat()
            task.result()

    async def _wing(self, worker: _Worker, host: Host) -> None:
        """Pieces of the rest from ``host``, until there are none, or it fails or is of no more use."""
        while not (self._board.is_whole or worker.is_retired or self._drop_if_slow(worker)):
            claim = self._board.next(worker.rate)
            if claim is None:
                await self._pulse.next(LOOK_SECONDS)
                continue
            try:
                if not await self._take_piece(worker, host, claim):
                    return
            except StoreFull:
                return  # the lead meets it too, and makes room
            finally:
                self._board.end(claim)
                self._pulse.beat()

    async def _take_piece(self, worker: _Worker, host: Host, claim: Claim) -> bool:
        """Whether ``host`` may be asked for another."""
        try:
            won = await self._source.open(
                claim.start, self._arrival.declared_size, stop=claim.stop, avoid=(), only=host
            )
        except AllHostsFailed as error:
            self._tries.add(error.attempts)
            self._tries.blame(host)
            return False
        if won.answer.stream.offset != claim.start:  # it gives whole blobs only
            self._dropped.add(host)
            await won.answer.close()
            return False
        return await self._take(worker, won, claim)

    def _drop_if_slow(self, worker: _Worker) -> bool:
        """Whether the host of ``worker`` is so much slower than another that it gets nothing more."""
        rates = [w.rate.per_second() or 0.0 for w in (self._lead_worker, *self._wings.values())]
        mine = worker.rate.per_second()
        if worker.host is None or worker.gave_at is None or mine is None:
            return False
        is_slow = mine * DROPPED_BELOW < max(rates)
        if is_slow:
            self._dropped.add(worker.host)
        return is_slow

    # -- one body ------------------------------------------------------------------------------------

    async def _take(self, worker: _Worker, won: Won[OpenStream], claim: Claim) -> bool:
        """One body of one host, as far as it gets; whether it came as far as it should."""
        worker.host = won.host
        began, start = self._clock.monotonic(), claim.position
        try:
            self._agree_on_size(won)
            await self._receive(worker, won, claim)
        except HostError as error:
            self._tries.failed(won.host, error, claim.position - start, self._clock.monotonic() - began)
            return False
        finally:
            self._tries.spent(won.host, self._clock.monotonic() - began)
            await won.answer.close()
        return True

    def _agree_on_size(self, won: Won[OpenStream]) -> None:
        """No manifest told the size, and hosts tell different ones: what came before is dropped, and
        its giver believed less."""
        told, arrival = won.answer.stream.size, self._arrival
        if told is not None and self._board.spans and arrival.size not in (None, told):
            for host in filter(None, arrival.ledger.givers):
                self._tries.blame(host)
            raise BeginAnew
        if told is not None:
            self._size_is(told)

    def _size_is(self, size: int) -> None:
        self._arrival.size = self._ingest.size = self._board.size = size
        for claim in self._board.claims:
            claim.stop = min(claim.stop, size)

    async def _receive(self, worker: _Worker, won: Won[OpenStream], claim: Claim) -> None:
        stream, host = won.answer.stream, won.host
        self._arrival.comes_from(host)
        writer = StrideWriter(self._ingest, claim.position, self._wrote)
        skip = claim.position - stream.offset  # the host ignored the Range and began at zero
        pace = Pace(self._clock)
        try:
            async for chunk in stream:
                self._observer.received(host.name, len(chunk))
                pace.received(len(chunk))
                worker.rate.count(len(chunk))
                worker.gave_at = worker.gave_at or self._clock.monotonic()
                start = claim.position
                fresh = claim.take(chunk[skip:] if skip else chunk)
                skip = max(skip - len(chunk), 0)
                if fresh:
                    self._arrival.ledger.gave(host, start, claim.position)
                    await writer.put(fresh)
                self._check_pace(pace, host)
                if not claim.missing and claim.stop != stream.stop:
                    break  # the rest is somebody else's
        except BaseException:
            with suppress(StoreError):  # it must not take the place of what happened: a cancellation, say
                await writer.drain()
            raise
        await writer.drain()
        if self._board.size is None:
            self._size_is(self._board.spans.prefix)

    def _wrote(self, start: int, stop: int) -> None:
        self._board.spans.add(start, stop)
        self._arrival.wrote(self._ingest.offset, self._board.spans.total)
        if self._wings:
            self._pulse.beat()

    def _check_pace(self, pace: Pace, host: Host) -> None:
        if pace.is_too_slow(lambda: self._source.alternative(host, self._tries.exhausted())):
            raise TimedOut(f"{host.name} sends too slowly", outcome="slow")
        if self._board.size is None and self._board.spans.total > UNTOLD_BYTES_MAX:
            raise NotARegistry(f"{host.name} sends without an end", outcome="protocol")
        self._check()


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
