"""Blobs for clients: from the store, or from the one download that brings it.

However many ask for an absent blob, it is downloaded once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from math import inf
from typing import Protocol

from sampan.clock import Clock
from sampan.errors import Attempt, SampanError, StoreError
from sampan.mirror.arrival import Window
from sampan.mirror.download import Download
from sampan.mirror.events import Observer
from sampan.mirror.fetch import BlobSource
from sampan.mirror.passing import PassingBlob
from sampan.mirror.room import Room
from sampan.mirror.spread import Spread
from sampan.oci import Digest
from sampan.store.content import Ingest, Store

TOLD_SECONDS = 0.2  # between two words about a download: a display moves, a log does not drown

Told = Callable[[int, tuple[str, ...]], None]

log = logging.getLogger(__name__)


class BlobAnswer(Protocol):
    """``size`` in bytes; ``source``: ``store`` or a host's name."""

    @property
    def size(self) -> int: ...

    @property
    def source(self) -> str: ...

    @property
    def attempts(self) -> tuple[Attempt, ...]: ...

    def windows(self, start: int, stop: int) -> AsyncIterator[Window]:
        """The bytes from ``start`` to ``stop`` as they may be sent."""

    def close(self) -> None:
        """Let go of the file."""


class ComingBlob:
    """A blob that is on its way. Should the disk fail it, the rest passes through, in the same answer."""

    def __init__(self, download: Download, size: int) -> None:
        self.size = size
        self.source = download.host or "store"
        self._download = download
        self._passing: PassingBlob | None = None

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        passing = self._passing.attempts if self._passing is not None else ()
        return (*self._download.attempts, *passing)

    async def windows(self, start: int, stop: int) -> AsyncIterator[Window]:
        position = start
        try:
            async for window in self._download.arrival.windows(start, stop, size=self.size):
                yield window
                position += window.count
        except StoreError as error:
            log.warning("the rest of a blob passes through without being stored: %s", error.message)
            self._passing = PassingBlob(self._download.source, self.size, self.source)
            async for window in self._passing.windows(position, stop):
                yield window

    def close(self) -> None:
        """The download belongs to nobody: it goes on."""


@dataclass(frozen=True, slots=True)
class Brought:
    """A blob that is in the store. ``already``: it was before. ``resumed_bytes``: what an earlier run had
    left of it; ``attempts``: who gave how much of the rest, and who failed."""

    size: int
    already: bool = False
    resumed_bytes: int = 0
    attempts: tuple[Attempt, ...] = ()

    @classmethod
    def by(cls, download: Download, size: int) -> Brought:
        """What ``download`` came to."""
        if download.was_found:
            return cls(size, already=True)
        given = sum(attempt.bytes for attempt in download.attempts if attempt.outcome == "ok")
        return cls(size, resumed_bytes=max(size - given, 0), attempts=tuple(download.attempts))


class Downloads:
    """The downloads in flight, one a digest. Owns their tasks."""

    def __init__(self, store: Store, room: Room, clock: Clock, observer: Observer, spread: Spread) -> None:
        self._store = store
        self._room = room
        self._clock = clock
        self._observer = observer
        self._spread = spread
        self._running: dict[asyncio.Task[None], Download] = {}

    def __len__(self) -> int:
        return len(self._running)

    async def follow(self, digest: Digest, size: int | None, source: Callable[[], BlobSource]) -> BlobAnswer:
        """Join the download of ``digest``, begun if there is none. Returns when it may be answered.

        What was begun for another repository, or is just being given up, may fail where ours need
        not: then ours is begun. Raises AllHostsFailed or NotFound when that fails before its first byte.
        """
        joined = self._joinable(digest, size)
        if joined is not None:
            try:
                return await self._ready(joined)
            except StoreError as error:
                return await self._pass_through(joined.source, size, error)
            except SampanError:
                pass
        own = self._begin(size, source())
        try:
            return await self._ready(own)
        except StoreError as error:
            return await self._pass_through(own.source, size, error)

    async def bring(
        self,
        digest: Digest,
        size: int | None,
        source: Callable[[], BlobSource],
        told: Told,
        into: Callable[[], Ingest] | None = None,
    ) -> Brought:
        """Until ``digest`` is committed; ``told`` hears now and then how much of it is on disk, and by
        whom. ``into``: what opens the place for it, where that is not the store. Raises what ended the
        download: a disk that cannot hold it, too."""
        if into is not None:
            return await self._ended_alone(self._begin(size, source(), into), told)
        joined = self._joinable(digest, size)
        if joined is not None:
            try:
                return await self._ended(joined, told)
            except StoreError:
                raise
            except SampanError:
                pass
        return await self._ended(self._begin(size, source(), waits_seconds=inf), told)

    async def _ended_alone(self, download: Download, told: Told) -> Brought:
        """As :meth:`_ended`; whoever gives up on it ends it, for nobody else can want it."""
        task = self._task_of(download)
        try:
            return await self._ended(download, told)
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _ended(self, download: Download, told: Told) -> Brought:
        task = self._task_of(download)
        download.arrival.readers += 1
        try:
            while not task.done():
                await asyncio.wait([task], timeout=TOLD_SECONDS)
                told(download.arrived, download.hosts)
        finally:
            download.arrival.readers -= 1
        return Brought.by(download, await download.arrival.ready())

    def _task_of(self, download: Download) -> asyncio.Task[None]:
        return next(task for task, running in self._running.items() if running is download)

    def _joinable(self, digest: Digest, size: int | None) -> Download | None:
        """One in flight for the same content; a stranger's manifest does not decide its size for us."""
        return next(
            (
                download
                for download in self._running.values()
                if download.source.digest == digest
                and not download.ended
                and not download.is_elsewhere
                and (size is None or download.arrival.size in (None, size))
            ),
            None,
        )

    async def _ready(self, download: Download) -> BlobAnswer:
        download.arrival.readers += 1  # while waiting, too: it is wanted
        try:
            return ComingBlob(download, await download.arrival.ready())
        finally:
            download.arrival.readers -= 1

    async def _pass_through(self, source: BlobSource, size: int | None, error: StoreError) -> BlobAnswer:
        log.warning("a blob passes through without being stored: %s", error.message)
        return await PassingBlob.begin(source, size)

    def _begin(
        self,
        size: int | None,
        source: BlobSource,
        into: Callable[[], Ingest] | None = None,
        *,
        waits_seconds: float | None = None,
    ) -> Download:
        """``waits_seconds``: for another process; None: as long as a client can. For another download of
        our own nobody waits: what it was begun for may be wrong where ours is right."""
        if any(each.source.digest == source.digest and not each.ended for each in self._running.values()):
            waits_seconds = 0.0
        elif waits_seconds is None:
            waits_seconds = source.patience.another_seconds
        download = Download(
            source,
            size,
            store=self._store,
            room=self._room,
            clock=self._clock,
            observer=self._observer,
            spread=self._spread,
            into=into,
            waits_seconds=waits_seconds,
        )
        task = asyncio.create_task(download.run(), name=f"download {source.digest}")
        self._running[task] = download
        task.add_done_callback(self._running.pop)
        return download

    async def close(self) -> None:
        """Stop them all; what arrived is kept for the next run."""
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
