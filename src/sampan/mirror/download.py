"""One blob on its way into the store, and any number of readers behind it.

The download owns the connection to the host: a host that dies, stalls, slows, lies or ends early is
left, and the next goes on from the last byte that was written. Readers follow the partial file; a
slow or vanished one changes nothing for the others. The one guarantee: no reader is given the last
piece of a blob before the whole hashes to its digest.

It does not choose hosts (:mod:`sampan.mirror.fetch`) nor know who asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from sampan.clock import Clock
from sampan.errors import (
    AllHostsFailed,
    Attempt,
    ContentMismatch,
    HostError,
    NotFound,
    SampanError,
    StoreError,
    StoreFull,
    TimedOut,
    WrongContent,
)
from sampan.mirror.events import Observer
from sampan.mirror.fetch import BlobSource, OpenStream
from sampan.mirror.pace import Pace
from sampan.mirror.pulse import Pulse
from sampan.mirror.race import Won
from sampan.mirror.room import Room
from sampan.mirror.stride import StrideWriter
from sampan.store.content import Ingest, Store
from sampan.upstream.host import Host

MIB = 1024 * 1024
VERIFIED_FIRST_BYTES = 8 * MIB  # up to this size nothing leaves before the digest is right
HELD_BACK_BYTES = 64 * 1024  # of a larger blob, until then
PROGRESS_BYTES = 64 * 1024  # less than this is no progress
FAILURES_WITHOUT_PROGRESS_MAX = 2  # by one host, in one download
MOMENT_SECONDS = 0.01  # at least, so that a wait that is nearly over does not spin
ATTEMPTS_MAX = 200  # of one download: a host that cuts every few bytes must not go on for ever
COME_BACKS_MAX = 3  # all hosts rest in mid-blob: how often they are waited for, in a row
WINDOW_BYTES_MAX = 4 * MIB  # handed to one send, so that a reader notices a failure in between
ABANDONED_SECONDS = 30.0  # nobody reads any more ...
ABANDONED_BYTES = 256 * MIB  # ... and more than this is missing: stop, keep what there is


@dataclass(frozen=True, slots=True)
class Window:
    """Bytes that may be sent now: ``count`` of them at ``offset`` of ``file``."""

    file: BinaryIO
    offset: int
    count: int


@dataclass(frozen=True, slots=True)
class Segment:
    """From ``start`` on, the bytes came from ``host``; None: an earlier run's, its host unknown."""

    start: int
    host: Host | None


class Abandoned(SampanError):
    """All readers left early, or the mirror stops; what arrived is kept."""

    oci_code, http_status, exit_code = "UNAVAILABLE", 503, 5


class Download:
    """``size`` is the blob's in bytes, None until a manifest or a host has said it."""

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
        self.size = size
        self.attempts: list[Attempt] = []
        self.readers = 0
        self.source = source
        self._patience = source.patience
        self._store = store
        self._room = room
        self._clock = clock
        self._observer = observer
        self._pulse = Pulse()
        self._ingest: Ingest | None = None
        self._written = 0
        self._segments: list[Segment] = []
        self._generation = 0
        self._verified = False
        self._alone = False
        self._error: SampanError | None = None
        self._left_at = clock.monotonic()
        self._failures: dict[Host, int] = {}

    # -- readers -----------------------------------------------------------------------------------

    @property
    def host(self) -> str | None:
        """Who gives it now."""
        last = self._segments[-1].host if self._segments else None
        return last.name if last else None

    async def ready(self) -> int:
        """The size, once the first byte may leave; or, with a known size, once a client would give
        up waiting for headers. Raises what ended the download before that."""
        began = self._clock.monotonic()
        while not (self.size == 0 and self._verified):
            self._raise_error()
            waited = self._clock.monotonic() - began
            headers_seconds = self._patience.headers_seconds
            if self.size is not None and (self._released(waited) > 0 or waited >= headers_seconds):
                break
            await self._pulse.next(max(headers_seconds - waited, MOMENT_SECONDS))
        assert self.size is not None
        return self.size

    async def windows(self, start: int, stop: int) -> AsyncIterator[Window]:
        """The bytes from ``start`` to ``stop``, as they are released. Raises the download's error,
        or ContentMismatch when bytes that already left turned out to be wrong."""
        self.readers += 1
        file: BinaryIO | None = None
        generation, position, began = -1, start, self._clock.monotonic()
        try:
            while position < stop:
                limit = await self._released_beyond(position, began)
                if generation != self._generation or file is None:
                    self._check_unchanged(position == start)
                    if file is not None:
                        file.close()
                    file, generation = await self._open_partial(), self._generation
                count = min(limit, stop, position + WINDOW_BYTES_MAX) - position
                yield Window(file, position, count)
                position += count
        finally:
            self.readers -= 1
            self._left_at = self._clock.monotonic()
            if file is not None:
                file.close()

    def _check_unchanged(self, nothing_left: bool) -> None:
        if not nothing_left:
            raise ContentMismatch(
                f"bytes of {self.source.digest} that were already sent turned out to be wrong",
                hint="ask again: it is being fetched from another host",
            )

    async def _open_partial(self) -> BinaryIO:
        assert self._ingest is not None
        return await asyncio.to_thread(self._ingest.open_reader)

    async def _released_beyond(self, position: int, began: float) -> int:
        while True:
            self._raise_error()
            waited = self._clock.monotonic() - began
            if (limit := self._released(waited)) > position:
                return limit
            await self._pulse.next(max(self._patience.first_byte_seconds - waited, MOMENT_SECONDS))

    def _released(self, waited_seconds: float) -> int:
        """How many bytes, from the start, a reader that has waited so long may have."""
        if self._verified:
            return self._written
        if waited_seconds >= self._patience.first_byte_seconds:
            limit = self._written  # it would leave with nothing: better bytes that are held to account
        elif self.size is None or self.size <= VERIFIED_FIRST_BYTES:
            return 0
        else:
            limit = self._trusted_prefix()
        return max(min(limit, (self.size or 0) - HELD_BACK_BYTES), 0)

    def _trusted_prefix(self) -> int:
        for segment in self._segments:
            if segment.host is None or not self.source.is_trusted(segment.host):
                return segment.start
        return self._written

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    # -- the work ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Bring the blob into the store. Never raises but when cancelled: readers are told."""
        self._observer.download_started(self.source.question.registry)
        outcome = "abandoned"
        try:
            await self._bring()
            outcome = "committed"
        except SampanError as error:
            self._error = error
            outcome = "abandoned" if isinstance(error, Abandoned) else "failed"
        except asyncio.CancelledError:
            self._error = Abandoned("the mirror is stopping", hint="ask again")
            raise
        finally:
            self._observer.download_ended(self.source.question.registry, outcome)
            self._pulse.beat()

    async def _bring(self) -> None:
        ingest = await asyncio.to_thread(self._store.ingest, self.source.digest, self.size)
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
        if ingest.resumed_bytes:
            self._written = await asyncio.to_thread(ingest.rehash)
            self._segments = [Segment(0, None)]
        self._ingest = ingest
        if self.size is not None and self._written > self.size:
            await self._start_over(ingest)

    async def _fill_and_verify(self, ingest: Ingest) -> bool:
        began = self._clock.monotonic()
        while self._written != self.size:
            await self._fetch_once(ingest)
        if not await asyncio.to_thread(ingest.matches):
            return False
        self._verified = True
        self._credit(self._clock.monotonic() - began)
        self._pulse.beat()
        return True

    async def _fetch_once(self, ingest: Ingest) -> None:
        """One body from one host: as far as it gets."""
        won = await self._open_next()
        began, start = self._clock.monotonic(), self._written
        try:
            if self._alone and start:
                await self._start_over(ingest)
                start = 0
            await self._receive(won, ingest)
        except HostError as error:
            self._note_failure(won.host, error, self._written - start, self._clock.monotonic() - began)
        except StoreFull:
            missing = (self.size or self._written + VERIFIED_FIRST_BYTES) - self._written
            if not await self._room.make(missing):
                raise
        finally:
            await won.answer.close()

    async def _open_next(self) -> Won[OpenStream]:
        """The next host. When all rest, and it is worth it, waits a little for one to come back."""
        avoid = [h for h, n in self._failures.items() if n >= FAILURES_WITHOUT_PROGRESS_MAX]
        offset = 0 if self._alone else self._written
        for come_back in range(COME_BACKS_MAX + 1):
            try:
                won = await self.source.open(offset, self.size, avoid=avoid)
            except NotFound as error:
                raise error if not self._written else self._failed(error) from error
            except AllHostsFailed as error:
                pause = self._pause_seconds(error)
                self.attempts.extend(a for a in error.attempts if a not in self.attempts)
                if pause is None or come_back == COME_BACKS_MAX or len(self.attempts) >= ATTEMPTS_MAX:
                    raise self._failed(error) from error
                await asyncio.sleep(pause)
            else:
                self.attempts.extend(won.attempts)
                return won
        raise AssertionError  # the last round returns or raises

    def _pause_seconds(self, error: AllHostsFailed) -> float | None:
        """How long to wait before asking again; None: give up now."""
        if not self.readers and not self._written:
            return None
        limit = error.retry_after_seconds
        if error.status == 429 and limit is not None and limit <= self._patience.rate_limit_seconds:
            return limit
        return self._patience.come_back_seconds if self._written else None

    def _failed(self, error: AllHostsFailed) -> AllHostsFailed:
        return AllHostsFailed(
            str(self.source.question),
            self.attempts or error.attempts,
            retry_after_seconds=error.retry_after_seconds,
            hint=error.hint,
        )

    async def _receive(self, won: Won[OpenStream], ingest: Ingest) -> None:
        stream = won.answer.stream
        if self.size is None:
            self.size = ingest.size = stream.size
        self._segments.append(Segment(self._written, won.host))
        self._pulse.beat()
        writer = StrideWriter(ingest, self._wrote)
        skip = self._written - stream.offset  # the host ignored the Range and began at zero
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
        finally:
            await writer.drain()
        if self.size is None:
            self.size = ingest.size = self._written

    def _check_pace(self, pace: Pace, host: Host) -> None:
        if pace.is_too_slow(lambda: self.source.alternative(host)):
            raise TimedOut(f"{host.name} sends too slowly", outcome="slow")
        missing = (self.size or 0) - self._written
        unread_seconds = self._clock.monotonic() - self._left_at
        if not self.readers and missing > ABANDONED_BYTES and unread_seconds > ABANDONED_SECONDS:
            raise Abandoned(f"nobody waits for {self.source.digest} any more")

    def _wrote(self, offset: int) -> None:
        self._written = offset
        self._pulse.beat()

    def _note_failure(self, host: Host, error: HostError, count_bytes: int, seconds: float) -> None:
        if count_bytes >= PROGRESS_BYTES:
            self._failures.pop(host, None)
        self._failures[host] = self._failures.get(host, 0) + 1
        self.attempts.append(self.source.failed(host, error, seconds=seconds, count_bytes=count_bytes))

    async def _start_over(self, ingest: Ingest) -> None:
        """The bytes are not the blob's. One host gave them all: it lied. Several did: from now on
        each must give the whole alone, so that a liar is known."""
        hosts = {segment.host for segment in self._segments}
        if self._written == self.size and len(hosts) == 1 and (liar := next(iter(hosts))) is not None:
            lie = WrongContent(
                f"{liar.name} sent bytes that are not {self.source.digest}", outcome="wrong-content"
            )
            self._note_failure(liar, lie, 0, 0.0)
            self._failures[liar] = FAILURES_WITHOUT_PROGRESS_MAX
        elif len(hosts) > 1:
            self._alone = True
        await asyncio.to_thread(ingest.rewind)
        self._written, self._segments = 0, []
        self._generation += 1
        self._pulse.beat()

    def _credit(self, seconds: float) -> None:
        """Each host that gave a part is credited with it."""
        ends = [*(segment.start for segment in self._segments[1:]), self._written]
        for segment, end in zip(self._segments, ends, strict=True):
            if segment.host is not None and end > segment.start:
                count = end - segment.start
                self.attempts.append(self.source.delivered(segment.host, seconds=seconds, count_bytes=count))
