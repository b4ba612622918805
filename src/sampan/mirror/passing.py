"""A blob that passes through because the disk has no room for it: to one client, from one host after another.

It takes the place of a download and can do less: nothing is kept, and each client costs a fetch of its
own. The guarantee is the same: the last piece does not leave before the whole hashes to its digest.
Memory is bounded, for the next bytes are fetched only when the last ones were sent.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from io import FileIO

from sampan.errors import AllHostsFailed, Attempt, ContentMismatch, HostError
from sampan.mirror.download import (
    FAILURES_WITHOUT_PROGRESS_MAX,
    HELD_BACK_BYTES,
    VERIFIED_FIRST_BYTES,
    Window,
)
from sampan.mirror.fetch import BlobSource
from sampan.oci import Digest, new_hasher
from sampan.upstream.host import Host


class PassingBlob:
    """``size`` in bytes. ``source``: the host that began it."""

    def __init__(self, blobs: BlobSource, size: int, source: str) -> None:
        self.size = size
        self.source = source
        self.attempts: tuple[Attempt, ...] = ()
        self._blobs = blobs
        self._failures: dict[Host, int] = {}

    @classmethod
    async def begin(cls, blobs: BlobSource, size: int | None) -> PassingBlob:
        """Find out the size where no manifest told it. Raises AllHostsFailed or NotFound."""
        won = await blobs.open(0, size, avoid=())
        await won.answer.close()
        known = size if size is not None else won.answer.stream.size
        if known is None:
            raise AllHostsFailed(
                str(blobs.question), won.attempts, hint="the disk is full, and no host tells how large it is"
            )
        return cls(blobs, known, won.host.name)

    def close(self) -> None:
        """There is nothing to let go of: the windows own their memory."""

    async def windows(self, start: int, stop: int) -> AsyncIterator[Window]:
        """The bytes from ``start`` to ``stop``; those before are fetched and hashed, for the digest's sake.

        Raises AllHostsFailed, or ContentMismatch when what came is not the blob.
        """
        with FileIO(os.memfd_create("sampan"), "r+b") as memory:
            sent, pending = 0, bytearray()
            async for released, chunk in self._released():
                pending += chunk
                count = released - sent
                data, pending = pending[:count], pending[count:]
                wanted = data[max(start - sent, 0) : max(stop - sent, 0)]
                sent = released
                if wanted:
                    os.pwrite(memory.fileno(), wanted, 0)  # what stood there has been sent
                    yield Window(memory, 0, len(wanted))

    async def _released(self) -> AsyncIterator[tuple[int, bytes]]:
        """Each chunk with how many bytes, from the start, may have left after it."""
        position, hasher = 0, new_hasher(self._blobs.digest.algorithm)
        async for chunk in self._chunks():
            hasher.update(chunk)
            position += len(chunk)
            if position < self.size:
                held = self.size <= VERIFIED_FIRST_BYTES
                yield 0 if held else min(position, self.size - HELD_BACK_BYTES), chunk
            elif Digest.from_hasher(hasher) == self._blobs.digest:
                yield self.size, chunk
            else:
                raise ContentMismatch(f"what came is not {self._blobs.digest}", hint="ask again")

    async def _chunks(self) -> AsyncIterator[bytes]:
        """Every byte in order, whoever gives it."""
        position = 0
        while position < self.size:
            avoid = [h for h, n in self._failures.items() if n >= FAILURES_WITHOUT_PROGRESS_MAX]
            won = await self._blobs.open(position, self.size, avoid=avoid)
            skip = position - won.answer.stream.offset
            try:
                async for chunk in won.answer.stream:
                    fresh = chunk[skip:] if skip else chunk
                    skip -= len(chunk) - len(fresh)
                    if fresh:
                        position += len(fresh)
                        yield fresh
            except HostError as error:
                self._failures[won.host] = self._failures.get(won.host, 0) + 1
                self._blobs.failed(won.host, error, seconds=0.0, count_bytes=0)
            finally:
                await won.answer.close()
