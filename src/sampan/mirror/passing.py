"""A blob that passes through because the disk has no room for it: to one client, from one host after another.

It takes the place of a download and can do less: nothing is kept, and each client costs a fetch of its
own. The guarantee is the same: the last piece does not leave before the whole hashes to its digest.
Memory is bounded, for the next bytes are fetched only when the last ones were sent.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from io import FileIO

from sampan.errors import AllHostsFailed, Attempt, ContentMismatch, HostError, WrongContent
from sampan.mirror.arrival import HELD_BACK_BYTES, VERIFIED_FIRST_BYTES, Window
from sampan.mirror.fetch import BlobSource
from sampan.mirror.tries import FAILURES_WITHOUT_PROGRESS_MAX
from sampan.oci import Digest, new_hasher
from sampan.upstream.host import Host


class PassingBlob:
    """``size`` in bytes. ``source``: the host that is asked first."""

    def __init__(self, blobs: BlobSource, size: int, source: str) -> None:
        self.size = size
        self.source = source
        self._blobs = blobs
        self._failures: dict[Host, int] = {}
        self._attempts: list[Attempt] = []

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Who failed, so far."""
        return tuple(self._attempts)

    @classmethod
    async def begin(cls, blobs: BlobSource, size: int | None) -> PassingBlob:
        """Find out the size where no manifest told it. Raises AllHostsFailed or NotFound."""
        if size is not None:
            return cls(blobs, size, blobs.first())
        won = await blobs.open(0, None, avoid=())
        await won.answer.close()
        if (told := won.answer.stream.size) is None:
            raise AllHostsFailed(
                str(blobs.question), won.attempts, hint="the disk is full, and no host tells how large it is"
            )
        return cls(blobs, told, won.host.name)

    def close(self) -> None:
        """There is nothing to let go of: the windows own their memory."""

    async def windows(self, start: int, stop: int) -> AsyncIterator[Window]:
        """The bytes from ``start`` to ``stop``; those before are fetched and hashed, for the digest's sake.

        Raises AllHostsFailed, or ContentMismatch when what came is not the blob and some of it has left.
        """
        sent = 0
        while True:
            pending = bytearray()
            try:
                async for released, chunk in self._released():
                    pending += chunk
                    data, pending = pending[: released - sent], pending[released - sent :]
                    wanted = data[max(start - sent, 0) : max(stop - sent, 0)]
                    sent = released
                    if wanted:
                        with _in_memory(wanted) as file:
                            yield Window(file, 0, len(wanted))
            except ContentMismatch:
                if sent:
                    raise
            else:
                return

    async def _released(self) -> AsyncIterator[tuple[int, bytes]]:
        """Each chunk with how many bytes, from the start, may have left after it."""
        position, hasher = 0, new_hasher(self._blobs.digest.algorithm)
        givers: set[Host] = set()
        async for host, chunk in self._chunks():
            givers.add(host)
            hasher.update(chunk)
            position += len(chunk)
            if position < self.size:
                held = self.size <= VERIFIED_FIRST_BYTES
                yield 0 if held else min(position, self.size - HELD_BACK_BYTES), chunk
            elif Digest.from_hasher(hasher) == self._blobs.digest:
                yield self.size, chunk
            else:
                self._blame(givers)
                raise ContentMismatch(f"what came is not {self._blobs.digest}", hint="ask again")

    def _blame(self, givers: set[Host]) -> None:
        """Who gave all of it lied; of several, one did, and none is asked for this blob again."""
        for host in givers:
            self._failures[host] = FAILURES_WITHOUT_PROGRESS_MAX
        if len(givers) == 1:
            lie = WrongContent(f"what came is not {self._blobs.digest}", outcome="wrong-content")
            self._failed(next(iter(givers)), lie)

    def _failed(self, host: Host, error: HostError) -> None:
        self._attempts.append(self._blobs.failed(host, error, seconds=0.0, count_bytes=0))

    async def _chunks(self) -> AsyncIterator[tuple[Host, bytes]]:
        """Every byte in order, with who gave it."""
        position = 0
        while position < self.size:
            avoid = [h for h, n in self._failures.items() if n >= FAILURES_WITHOUT_PROGRESS_MAX]
            won = await self._blobs.open(position, self.size, avoid=avoid)
            self._attempts += won.attempts
            skip = position - won.answer.stream.offset
            try:
                async for chunk in won.answer.stream:
                    fresh = chunk[skip:] if skip else chunk
                    skip -= len(chunk) - len(fresh)
                    if fresh:
                        position += len(fresh)
                        yield won.host, fresh
            except HostError as error:
                self._failures[won.host] = self._failures.get(won.host, 0) + 1
                self._failed(won.host, error)
            finally:
                await won.answer.close()


@contextmanager
def _in_memory(data: bytes | bytearray) -> Iterator[FileIO]:
    """A file of its own for each piece: sendfile hands over pages, not copies, and they may wait in a
    client's socket long after this one is done with them."""
    with FileIO(os.memfd_create("sampan"), "r+b") as file:
        os.pwrite(file.fileno(), data, 0)
        yield file
