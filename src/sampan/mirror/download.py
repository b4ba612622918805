"""One blob on its way into the store.

The download owns the connection to the host: a host that dies, stalls, slows, lies or ends early is
left, and the next goes on from the last byte that was written. Readers follow the
:class:`~sampan.mirror.arrival.Arrival`; a slow or vanished one changes nothing for the others. The one
guarantee: it ends, with the blob committed or with an error that its readers are told.

It does not choose hosts (:mod:`sampan.mirror.fetch`) nor know who asks.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from sampan.clock import Clock
from sampan.errors import (
    AllHostsFailed,
    Attempt,
    HostError,
    NotARegistry,
    NotFound,
    SampanError,
    StoreError,
    StoreFull,
    TimedOut,
    WrongContent,
)
from sampan.mirror.arrival import VERIFIED_FIRST_BYTES, Arrival
from sampan.mirror.events import Observer
from sampan.mirror.fetch import BlobSource, OpenStream
from sampan.mirror.opening import opened
from sampan.mirror.pace import Pace
from sampan.mirror.race import Won
from sampan.mirror.room import Room
from sampan.mirror.stride import StrideWriter
from sampan.store.content import Ingest, Store
from sampan.upstream.host import Host

MIB = 1024 * 1024
PROGRESS_BYTES = 64 * 1024  # less than this is no progress
FAILURES_WITHOUT_PROGRESS_MAX = 2  # by one host, in one download
ATTEMPTS_MAX = 200  # of one download: a host that cuts every few bytes must not go on for ever
COME_BACKS_MAX = 3  # all hosts rest in mid-blob: how often they are waited for, in a row
ABANDONED_SECONDS = 30.0  # nobody reads any more ...
ABANDONED_BYTES = 256 * MIB  # ... and more than this is missing: stop, keep what there is

UNTOLD_BYTES_MAX = 16 * 1024 * MIB  # of a blob whose size nobody tells: no layer is as large

log = logging.getLogger(__name__)


class Abandoned(SampanError):
    """All readers left early, or the mirror stops; what arrived is kept."""

    oci_code, http_status, exit_code = "UNAVAILABLE", 503, 5


class Download:
    """Brings what ``source`` is about into ``store``; ``size`` is in bytes, as a manifest declares it."""

    def __init__(
        self,
        source: BlobSource,
        size: int | None,
        *,
        store: Store,
        room: Room,
        clock: Clock,
        observer: Observer,
    ) -> None:
        self.source = source
        self.arrival = Arrival(
            source.digest, size, is_trusted=source.is_trusted, patience=source.patience, clock=clock
        )
        self.attempts: list[Attempt] = []
        self.ended = False
        self._store = store
        self._room = room
        self._clock = clock
        self._observer = observer
        self._alone = False
        self._failures: dict[Host, int] = {}
        self._seconds: dict[Host, float] = {}

    @property
    def host(self) -> str | None:
        """Who gives it now."""
        last = self.arrival.segments[-1].host if self.arrival.segments else None
        return last.name if last else None

    async def run(self) -> None:
        """Bring the blob into the store. Never raises but when cancelled: readers are told."""
        self._observer.download_started(self.source.question.registry)
        outcome = "abandoned"
        try:
            await self._bring()
            outcome = "committed"
        except SampanError as error:
            self.arrival.failed(error)
            outcome = "abandoned" if isinstance(error, Abandoned) else "failed"
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
        size, limit = self.arrival.declared_size, self._room.max_size_bytes
        if size is not None and limit is not None and size > limit:
            raise StoreFull(f"{size} bytes are more than the whole store may hold")
        ingest = await opened(lambda: self._store.ingest(self.source.digest, size), lambda i: i.suspend())
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

    async def _take_up(self, ingest: Ingest) -> None:
        """What an earlier run left is gone on from."""
        written = await asyncio.to_thread(ingest.rehash) if ingest.resumed_bytes else 0
        self.arrival.begins(ingest, written)
        if self.arrival.size is not None and written > self.arrival.size:
            await self._start_over(ingest)
        elif self.arrival.size is None and written and await asyncio.to_thread(ingest.matches):
            self.arrival.size = ingest.size = written

    async def _fill_and_verify(self, ingest: Ingest) -> bool:
        while self.arrival.written != self.arrival.size:
            await self._fetch_once(ingest)
        if not await asyncio.to_thread(ingest.matches):
            return False
        self._credit()
        self.arrival.is_verified()
        return True

    async def _fetch_once(self, ingest: Ingest) -> None:
        """One body from one host: as far as it gets."""
        won = await self._open_next(ingest)
        began, start = self._clock.monotonic(), self.arrival.written
        try:
            await self._agree_on_size(won, ingest)
            if self.arrival.written == start:
                await self._receive(won, ingest)
        except HostError as error:
            self._note_failure(won.host, error, self.arrival.written - start, self._clock.monotonic() - began)
        except StoreFull:
            missing = (
                self.arrival.size or self.arrival.written + VERIFIED_FIRST_BYTES
            ) - self.arrival.written
            if not await self._room.make(missing):
                raise
        finally:
            seconds = self._clock.monotonic() - began
            self._seconds[won.host] = self._seconds.get(won.host, 0.0) + seconds
            await won.answer.close()

    async def _open_next(self, ingest: Ingest) -> Won[OpenStream]:
        """The next host, from the last byte that was written; waits a little when all rest."""
        waits = COME_BACKS_MAX
        while True:
            only = self.arrival.segments[-1].host if self._alone and self.arrival.segments else None
            try:
                won = await self.source.open(
                    self.arrival.written, self.arrival.declared_size, avoid=self._exhausted(), only=only
                )
            except AllHostsFailed as error:
                if isinstance(error, NotFound) and not self.arrival.written and not self.attempts:
                    raise
                self.attempts.extend(a for a in error.attempts if a not in self.attempts)
                if only is not None or self._is_beyond_the_end(error):
                    if only is not None:
                        self._failures[only] = FAILURES_WITHOUT_PROGRESS_MAX
                    await self._start_over(ingest)  # the next one gives the whole alone
                    continue
                pause = self._pause_seconds(error)
                if pause is None or not waits or len(self.attempts) >= ATTEMPTS_MAX:
                    raise self._failed(error) from error
                waits = 0 if error.status == 429 else waits - 1
                await asyncio.sleep(pause)
            else:
                self.attempts.extend(won.attempts)
                return won

    def _is_beyond_the_end(self, error: AllHostsFailed) -> bool:
        """Nobody told the size, and what an earlier run left is longer than the blob."""
        return bool(self.arrival.written) and any(attempt.status == 416 for attempt in error.attempts)

    def _exhausted(self) -> list[Host]:
        """Who has failed too often in this download."""
        return [host for host, n in self._failures.items() if n >= FAILURES_WITHOUT_PROGRESS_MAX]

    async def _agree_on_size(self, won: Won[OpenStream], ingest: Ingest) -> None:
        """No manifest told the size, and hosts tell different ones: what came before is dropped, and
        its giver believed less."""
        told = won.answer.stream.size
        if told is not None and self.arrival.written and self.arrival.size not in (None, told):
            for host in filter(None, self.arrival.givers):
                self._failures[host] = self._failures.get(host, 0) + 1
            await self._start_over(ingest)
        elif told is not None:
            self.arrival.size = ingest.size = told

    def _pause_seconds(self, error: AllHostsFailed) -> float | None:
        """How long to wait before asking again; None: give up now."""
        if not error.attempts or not (self.arrival.readers or self.arrival.written):
            return None
        limit = error.retry_after_seconds
        if error.status == 429 and limit is not None and limit <= self.source.patience.rate_limit_seconds:
            return limit
        return self.source.patience.come_back_seconds if self.arrival.written else None

    def _failed(self, error: AllHostsFailed) -> AllHostsFailed:
        return AllHostsFailed(
            str(self.source.question),
            self.attempts or error.attempts,
            retry_after_seconds=error.retry_after_seconds,
            hint=error.hint,
        )

    async def _receive(self, won: Won[OpenStream], ingest: Ingest) -> None:
        stream = won.answer.stream
        self.arrival.comes_from(won.host)
        writer = StrideWriter(ingest, self.arrival.wrote)
        skip = self.arrival.written - stream.offset  # the host ignored the Range and began at zero
        pace = Pace(self._clock)
        try:
            async for chunk in stream:
                self._observer.received(won.host.name, len(chunk))
                pace.received(len(chunk))
                fresh = chunk[skip:] if skip else chunk
                skip -= len(chunk) - len(fresh)
                if fresh:
                    await writer.put(fresh)
                self._check_pace(pace, won.host)
        except BaseException:
            with suppress(StoreError):  # it must not take the place of what happened: a cancellation, say
                await writer.drain()
            raise
        await writer.drain()
        if self.arrival.size is None:
            self.arrival.size = ingest.size = self.arrival.written

    def _check_pace(self, pace: Pace, host: Host) -> None:
        if pace.is_too_slow(lambda: self.source.alternative(host, self._exhausted())):
            raise TimedOut(f"{host.name} sends too slowly", outcome="slow")
        if self.arrival.size is None and self.arrival.written > UNTOLD_BYTES_MAX:
            raise NotARegistry(f"{host.name} sends without an end", outcome="protocol")
        missing = (self.arrival.size or 0) - self.arrival.written
        unread_seconds = self._clock.monotonic() - self.arrival.left_at
        if not self.arrival.readers and missing > ABANDONED_BYTES and unread_seconds > ABANDONED_SECONDS:
            self.ended = True  # whoever comes now begins another
            raise Abandoned(f"nobody waits for {self.source.digest} any more")

    def _note_failure(self, host: Host, error: HostError, count_bytes: int, seconds: float) -> None:
        if count_bytes >= PROGRESS_BYTES:
            self._failures.pop(host, None)
        self._failures[host] = self._failures.get(host, 0) + 1
        self.attempts.append(self.source.failed(host, error, seconds=seconds, count_bytes=count_bytes))

    async def _start_over(self, ingest: Ingest) -> None:
        """The bytes are not the blob's. One host gave them all: it lied. Several did: from now on
        each must give the whole alone, so that a liar is known."""
        hosts = self.arrival.givers
        liar = next(iter(hosts)) if len(hosts) == 1 and self.arrival.written == self.arrival.size else None
        if liar is not None:
            lie = WrongContent(
                f"{liar.name} sent bytes that are not {self.source.digest}", outcome="wrong-content"
            )
            self._note_failure(liar, lie, 0, 0.0)
            self._failures[liar] = FAILURES_WITHOUT_PROGRESS_MAX
        self._alone = self._alone or len(hosts) > 1
        self.arrival.is_dropped()
        ingest.size = self.arrival.declared_size
        await asyncio.to_thread(ingest.rewind)
        self.arrival.is_dropped()

    def _credit(self) -> None:
        """Each host that gave a part is credited with it, once."""
        segments = self.arrival.segments
        ends = [*(segment.start for segment in segments[1:]), self.arrival.written]
        given: dict[Host, int] = {}
        for segment, end in zip(segments, ends, strict=bool(segments)):
            if segment.host is not None and end > segment.start:
                given[segment.host] = given.get(segment.host, 0) + end - segment.start
        for host, count in given.items():
            seconds = self._seconds[host]
            self.attempts.append(self.source.delivered(host, seconds=seconds, count_bytes=count))
