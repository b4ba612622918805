"""Blobs that the store has, for clients: at once, and never to their end when the disk has forgotten a bit.

A blob is hashed once since the start of the process: a small one before it is answered, a large one while it
leaves. The one guarantee: no answer is completed with bytes of a blob that was found damaged. What is damaged
is set aside, so that the next who asks has it fetched anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from sampan.errors import Attempt, ContentMismatch, StoreError
from sampan.mirror.arrival import HELD_BACK_BYTES, VERIFIED_FIRST_BYTES, Window
from sampan.mirror.looking import Looking
from sampan.oci import Digest
from sampan.store.content import OpenBlob


async def stored_blob(looking: Looking, digest: Digest, size: int | None) -> StoredBlob | None:
    """What is there, and may be answered; ``size`` as a manifest declares it. None: it must be fetched."""
    blob = await looking.blob(digest, size)
    if blob is None:
        return None
    checking = looking.checking(digest)
    if checking is None or blob.size > VERIFIED_FIRST_BYTES:
        return StoredBlob(blob, checking)
    is_right = False
    try:
        is_right = await asyncio.shield(checking)
    except StoreError:
        pass  # what cannot be read is not there
    finally:
        if not is_right:
            blob.close()
    return StoredBlob(blob) if is_right else None


class StoredBlob:
    """The file, held while it is being served. ``checking``: whether the disk still has it right, which is
    not known yet."""

    source = "store"
    attempts: tuple[Attempt, ...] = ()

    def __init__(self, blob: OpenBlob, checking: asyncio.Task[bool] | None = None) -> None:
        self.size = blob.size
        self.blob = blob
        self._checking = checking

    async def windows(self, start: int, stop: int) -> AsyncIterator[Window]:
        """All of it is there; while it is being checked, the end does not leave. Raises ContentMismatch when
        it is damaged."""
        held_from = max(self.size - HELD_BACK_BYTES, 0) if self._checking is not None else stop
        if start < (until := min(stop, held_from)):
            yield Window(self.blob.file, self.blob.offset + start, until - start)
        if self._checking is not None and stop > held_from:
            if not await asyncio.shield(self._checking):
                raise ContentMismatch(
                    f"{self.blob.digest} is damaged in the store", hint="ask again: it is fetched anew"
                )
            first = max(start, held_from)
            yield Window(self.blob.file, self.blob.offset + first, stop - first)

    def close(self) -> None:
        self.blob.close()
