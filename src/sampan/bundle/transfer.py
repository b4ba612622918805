"""Blobs brought to their places in a bundle that is being made.

Guarantees that a blob which is there already, from an earlier run, is hashed and not fetched; that one which
the store has is copied and hashed on the way, and fetched instead when it is damaged there; and that one
which fails keeps no other from coming, so that the next run has less to do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Event as Flag
from typing import Protocol

from sampan.bundle.contents import Blob, Contents, Image
from sampan.bundle.partial import Partial
from sampan.errors import AllHostsFailed, BundleError, ContentMismatch, SampanError, StoreError
from sampan.mirror.blobs import Brought
from sampan.mirror.opening import opened
from sampan.mirror.service import Mirror
from sampan.oci.digest import Digest
from sampan.pull.events import BlobDone, BlobProgress, BlobStarted, Listener
from sampan.pull.service import BLOBS_AT_ONCE, bytes_by_host
from sampan.pull.sinks.files import Stopped, in_thread
from sampan.store.content import OpenBlob
from sampan.upstream.behind import Behind

COPY_BYTES = 4 * 1024 * 1024  # read, hashed and written at a time
ERRORS_MAX = 10  # then it is no longer single blobs that are the trouble
TRIES = 2  # the store may get a blob, or lose it, between a look and the next


class Pours(Protocol):
    """Who may have a blob, and gives all of it to ``take``; False when it has not."""

    @property
    def name(self) -> str: ...

    async def pour(self, digest: Digest, take: Callable[[bytes], None]) -> bool: ...


@dataclass(frozen=True, slots=True)
class Supply:
    """Where blobs come from, and who hears of it. ``behind``: what hosts said of their own sources; ``keep``:
    what hosts give goes into the store, too; ``nodes``: runtimes that are asked before any host."""

    mirror: Mirror
    listener: Listener
    behind: Behind = field(default_factory=Behind)
    keep: bool = False
    nodes: Sequence[Pours] = ()


class Transfer:
    """All blobs of ``contents`` into ``partial``."""

    def __init__(self, supply: Supply, partial: Partial, contents: Contents) -> None:
        self._supply = supply
        self._mirror, self._listener = supply.mirror, supply.listener
        self._partial = partial
        self._contents = contents
        self._image_of = {d: image for image in reversed(contents.images) for d in image.needs}
        self._sized: set[Digest] = set()
        self._errors: dict[Digest, SampanError] = {}

    async def run(self) -> dict[Digest, SampanError]:
        """Until all is there; the errors of those that could not be had. Raises what the disk says."""
        waiting = iter(self._contents.blobs)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(BLOBS_AT_ONCE):
                    group.create_task(self._work(waiting))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        return self._errors

    async def _work(self, waiting: Iterator[Blob]) -> None:
        for blob in waiting:
            if len(self._errors) >= ERRORS_MAX:
                return
            try:
                await self._bring(blob)
            except (StoreError, BundleError):
                raise  # of the disk: the next blob would meet it as well
            except SampanError as error:
                self._errors[blob.digest] = error

    async def _bring(self, blob: Blob) -> None:
        if await asyncio.to_thread(self._is_there, blob):
            if not blob.media_type:
                self._tell_already(blob, "sink")
        elif blob.media_type:
            image = self._image_of[blob.digest].reference
            answer = await self._mirror.manifest(image.registry, image.repository, blob.digest)
            await asyncio.to_thread(self._partial.put, blob, answer.manifest.raw)
        elif await self._from_store(blob):
            self._tell_already(blob, "store")
        elif not await self._from_node(blob):
            await self._from_hosts(blob)

    def _is_there(self, blob: Blob) -> bool:
        """Whether an earlier run brought it, and the disk still has it."""
        arriving = self._partial.arriving(blob)
        try:
            if not arriving.is_noted_whole:
                return False
            if not (right := arriving.matches()):
                arriving.rewind()
            return right
        finally:
            arriving.suspend()

    # -- from the store ----------------------------------------------------------------------------

    async def _from_store(self, blob: Blob) -> bool:
        """Whether the store had it."""
        store = self._mirror.store
        stored = await asyncio.to_thread(store.open, blob.digest, blob.size)
        if stored is None:
            return False
        try:
            with stored:
                await in_thread(lambda stop: self._copy(blob, stored, stop))
        except ContentMismatch:
            await asyncio.to_thread(store.verify, blob.digest)  # it sets aside what is damaged
            return False
        return True

    def _copy(self, blob: Blob, stored: OpenBlob, stop: Flag) -> None:
        arriving = self._partial.arriving(blob)
        buffer = memoryview(bytearray(COPY_BYTES))
        try:
            arriving.rewind()
            while count := stored.file.readinto(buffer):
                if stop.is_set():
                    raise Stopped
                arriving.write(buffer[:count])
            arriving.commit()
        finally:
            arriving.suspend()

    # -- from this machine's runtimes ----------------------------------------------------------------

    async def _from_node(self, blob: Blob) -> bool:
        """Whether a runtime had it, whole and right."""
        for node in self._supply.nodes:
            began = time.monotonic()
            arriving = await opened(lambda: self._partial.arriving(blob), lambda one: one.suspend())
            try:
                await asyncio.to_thread(arriving.rewind)
                if not await node.pour(blob.digest, arriving.write):
                    continue
                await asyncio.to_thread(arriving.commit)
            except ContentMismatch:
                continue
            finally:
                await asyncio.to_thread(arriving.suspend)
            image = str(self._image_of[blob.digest].reference)
            seconds = time.monotonic() - began
            self._listener(BlobDone(image, blob.digest, blob.size, "", {node.name: blob.size}, 0, seconds))
            return True
        return False

    # -- from hosts --------------------------------------------------------------------------------

    async def _from_hosts(self, blob: Blob) -> None:
        image = self._image_of[blob.digest]
        await self._learn_sizes(image)
        began = time.monotonic()
        self._listener(BlobStarted(str(image.reference), blob.digest, blob.size))
        for _ in range(TRIES):
            brought = await self._brought(blob, image)
            if not (brought.already or self._supply.keep) or await self._from_store(blob):
                self._tell_brought(blob, image, brought, time.monotonic() - began)
                return
        raise AllHostsFailed(f"{blob.digest} of {image.reference}", ())

    async def _brought(self, blob: Blob, image: Image) -> Brought:
        name = str(image.reference)

        def told(arrived_bytes: int, hosts: tuple[str, ...]) -> None:
            self._listener(BlobProgress(name, blob.digest, blob.size, arrived_bytes, hosts))

        with self._mirror.store.hold(blob.digest):
            return await self._mirror.bring(
                image.reference.registry,
                image.reference.repository,
                blob.digest,
                told=told,
                into=None if self._supply.keep else lambda: self._partial.arriving(blob),
            )

    async def _learn_sizes(self, image: Image) -> None:
        """What its manifests tell of sizes, which an earlier run has read and this one has not."""
        if image.root not in self._sized:
            for digest in image.manifests:
                await self._mirror.manifest(image.reference.registry, image.reference.repository, digest)
            self._sized.add(image.root)

    # -- words -------------------------------------------------------------------------------------

    def _tell_already(self, blob: Blob, where: str) -> None:
        image = self._image_of[blob.digest]
        self._listener(BlobDone(str(image.reference), blob.digest, blob.size, where))

    def _tell_brought(self, blob: Blob, image: Image, brought: Brought, seconds: float) -> None:
        given = bytes_by_host(brought.attempts)
        told = {host: self._supply.behind.of(host, blob.digest) for host in given}
        self._listener(
            BlobDone(
                str(image.reference),
                blob.digest,
                blob.size,
                "store" if brought.already else "",
                given,
                brought.resumed_bytes,
                seconds,
                tuple(attempt for attempt in brought.attempts if attempt.outcome != "ok"),
                {host: said.source for host, said in told.items() if said is not None},
            )
        )
