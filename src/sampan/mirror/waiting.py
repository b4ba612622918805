"""One writer a blob, also among processes: what to do while another brings it into the same store.

The one guarantee: the wait ends. The partial becomes ours, because nobody had it or because the other died
or gave up; or the blob is committed; or, when the other stands still or takes longer than may be waited,
we bring it by ourselves beside him. A crash of the other is noticed at once: his lock on the file ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from io import FileIO

from sampan.clock import Clock
from sampan.errors import StoreError
from sampan.mirror.opening import opened
from sampan.oci import Digest
from sampan.store.content import BeingWritten, Ingest, Store
from sampan.store.spans import Spans

LOOK_SECONDS = 0.2  # what it costs a client that another process was there first

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Committed:
    """A blob that is in the store, read as if it were on its way in."""

    store: Store
    digest: Digest
    size: int

    @property
    def spans(self) -> Spans:
        """All of it."""
        return Spans([(0, self.size)])

    def open_reader(self) -> FileIO:
        """The file, which outlives its name. Raises StoreError when it was evicted meanwhile."""
        blob = self.store.open(self.digest)
        with blob if blob is not None else nullcontext():
            if blob is None or blob.offset:  # in the middle of an archive it is no file of its own
                raise StoreError(f"{self.digest} vanished from the store", hint="ask again")
            return FileIO(os.dup(blob.file.fileno()), "r")


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds: for how long to wait for another process in all, and while it writes nothing."""

    whole_seconds: float
    still_seconds: float


async def turn(
    store: Store,
    digest: Digest,
    size: int | None,
    *,
    limits: Limits,
    clock: Clock,
    told: Callable[[BeingWritten], None],
) -> Ingest | Committed:
    """The blob's ingest once it is ours, or the blob once another committed it; ``told`` hears of each look
    at his file, and may raise. Raises StoreError."""
    began = moved_at = clock.monotonic()
    last: BeingWritten | None = None
    while True:
        found = await opened(lambda: _look(store, digest, size), _let_go)
        if not isinstance(found, BeingWritten):
            return found
        now = clock.monotonic()
        if last is None:
            log.info("%s is being brought by another process: waiting for it", digest)
        if found != last:
            last, moved_at = found, now
        if now - began >= limits.whole_seconds or now - moved_at >= limits.still_seconds:
            log.warning("%s is brought twice: the other process is too slow with it", digest)
            return await opened(lambda: store.ingest(digest, size), lambda ingest: ingest.suspend())
        told(found)
        await asyncio.sleep(LOOK_SECONDS)


def _look(store: Store, digest: Digest, size: int | None) -> Ingest | Committed | BeingWritten:
    """Who has the partial has the say: what is committed by then, nobody needs to bring. Blocks."""
    found = store.take_up(digest, size)
    if isinstance(found, BeingWritten):
        return found
    try:
        stored = store.stat(digest)
    except StoreError:
        found.suspend()
        raise
    if stored is None:
        return found
    found.discard()
    return Committed(store, digest, stored)


def _let_go(found: Ingest | Committed | BeingWritten) -> None:
    if not isinstance(found, BeingWritten | Committed):
        found.suspend()
