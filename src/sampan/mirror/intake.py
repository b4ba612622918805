"""The body of one answer into an ingest, as far as it is wanted and as far as it gets.

Several run at a time, each for a claim of its own on the same :class:`~sampan.mirror.board.Board`. Guarantees
that each byte that is written is in the ledger of who gave it. It opens nothing, and does not decide what
comes next.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from sampan.clock import Clock
from sampan.errors import HostError, Interrupted, NotARegistry, StoreError, TimedOut
from sampan.mirror.arrival import Arrival
from sampan.mirror.board import Board, Claim
from sampan.mirror.events import Observer
from sampan.mirror.fetch import BlobSource, OpenStream
from sampan.mirror.pace import Pace
from sampan.mirror.race import Won
from sampan.mirror.stride import StrideWriter
from sampan.mirror.tries import Tries
from sampan.store.content import Ingest
from sampan.upstream.host import Host

MIB = 1024 * 1024
UNTOLD_BYTES_MAX = 16 * 1024 * MIB  # of a blob whose size nobody tells: no layer is as large


class BeginAnew(Exception):
    """What there is of the blob is of no use: it must begin at zero."""


class Intake:
    """``check`` is called as bytes come, and may raise to end it all; ``written`` when some are on disk.
    ``received_bytes``: of all bodies."""

    def __init__(
        self,
        source: BlobSource,
        arrival: Arrival,
        tries: Tries,
        board: Board,
        ingest: Ingest,
        *,
        clock: Clock,
        observer: Observer,
        check: Callable[[], None],
        written: Callable[[], None],
    ) -> None:
        self._source = source
        self._arrival = arrival
        self._tries = tries
        self._board = board
        self._ingest = ingest
        self._clock = clock
        self._observer = observer
        self._check = check
        self._written = written
        self.received_bytes = 0

    async def take(self, won: Won[OpenStream], claim: Claim) -> bool:
        """The body that ``won`` opened, for ``claim``; whether it came as far as it should. Closes it.

        Raises StoreError, :class:`BeginAnew`, and what ``check`` raises.
        """
        began, start = self._clock.monotonic(), claim.position
        try:
            self._agree_on_size(won.answer.stream.size)
            await self._receive(won, claim)
        except HostError as error:
            self._tries.failed(won.host, error, claim.position - start, self._clock.monotonic() - began)
            return False
        finally:
            self._tries.spent(won.host, self._clock.monotonic() - began)
            await won.answer.close()
        return True

    def _agree_on_size(self, told: int | None) -> None:
        """No manifest told the size, and hosts tell different ones: what came before is dropped, and
        its giver believed less."""
        if told is None:
            return
        if self._board.spans and self._arrival.size not in (None, told):
            for host in filter(None, self._arrival.ledger.givers):
                self._tries.blame(host)
            raise BeginAnew
        self._size_is(told)

    def _size_is(self, size: int) -> None:
        if not self._board.is_told(size):
            raise BeginAnew
        self._arrival.size = self._ingest.size = size

    async def _receive(self, won: Won[OpenStream], claim: Claim) -> None:
        writer = StrideWriter(self._ingest, claim.position, partial(self._wrote, won.host))
        self._arrival.comes_from(won.host)
        try:
            end = await self._read(won, claim, writer)
        except BaseException:
            with suppress(StoreError):  # it must not take the place of what happened: a cancellation, say
                await writer.drain()
            raise
        await writer.drain()
        if end is not None and self._board.size is None:
            self._size_is(end)
        elif end is not None and claim.missing:
            raise Interrupted(
                f"{won.host.name}: the body ended {claim.missing} bytes early", outcome="truncated"
            )

    async def _read(self, won: Won[OpenStream], claim: Claim, writer: StrideWriter) -> int | None:
        """As far as it is wanted. Where the body ended; None when the rest of it was not looked at."""
        stream, host = won.answer.stream, won.host
        position, pace = stream.offset, Pace(self._clock)
        async for chunk in stream:
            self._observer.received(host.name, len(chunk))
            pace.received(len(chunk))
            claim.rate.count(len(chunk))
            self.received_bytes += len(chunk)
            skip = max(claim.position - position, 0)  # the host ignored the Range and began at zero
            position += len(chunk)
            if fresh := claim.take(chunk[skip:] if skip else chunk):
                await writer.put(fresh)
            self._check_pace(pace, host)
            if self._is_somebody_elses(claim, stream.stop):
                return None
        return position

    def _is_somebody_elses(self, claim: Claim, stop: int | None) -> bool:
        """Whether the rest of a body that ends at ``stop`` is. Where nothing is left of it, its end is still
        read: then the connection can serve again."""
        return not claim.missing and claim.stop != stop

    def _wrote(self, host: Host, start: int, stop: int) -> None:
        """Not sooner: what came and was never written must not count as given in place of what is there."""
        spans = self._board.spans
        spans.add(start, stop)
        self._arrival.ledger.gave(host, start, stop)
        self._arrival.wrote(spans.prefix, spans.total)
        self._written()

    def _check_pace(self, pace: Pace, host: Host) -> None:
        if pace.is_too_slow(lambda: self._source.alternative(host, self._tries.exhausted())):
            raise TimedOut(f"{host.name} sends too slowly", outcome="slow")
        if self._board.size is None and self._board.spans.total > UNTOLD_BYTES_MAX:
            raise NotARegistry(f"{host.name} sends without an end", outcome="protocol")
        self._check()
