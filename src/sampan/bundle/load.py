"""The load: images out of archives, into the store and from there or at once into a sink.

Guarantees that an image is given to the sink, or named in the store, only when all of it is here and has been
verified; that nobody is asked over a network but the sink; and that what has arrived of an image that is
still incomplete is kept, so that other volumes of its bundle may come in any order, on any day. It decides
the order of things; archives are the business of :mod:`sampan.bundle.carried`, the disk that of
:mod:`sampan.bundle.staging`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from threading import Event as Flag
from typing import Any, TypeVar

from sampan.bundle.archive import Archive
from sampan.bundle.carried import Carried, CarriedImage, Told
from sampan.bundle.staging import stage, unpack
from sampan.clock import Clock
from sampan.errors import BundleIncomplete, SampanError
from sampan.oci.digest import Digest
from sampan.oci.manifest import MANIFEST_BYTES_MAX, Descriptor
from sampan.oci.platform import Platform
from sampan.oci.reference import Reference
from sampan.pull import events
from sampan.pull.closure import Wanted
from sampan.pull.events import Listener
from sampan.pull.sink import Content, Sink
from sampan.pull.sinks.files import Stopped, in_thread
from sampan.store.content import OpenBlob, Store
from sampan.store.tags import TagStore

BLOBS_AT_ONCE = 2  # one is hashed while the other waits for its disk; more would make a medium seek
TOLD_SECONDS = 0.2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Report:
    """How one image ended: its digest, or the error, or the ``volumes`` that it waits for."""

    reference: Reference
    digest: Digest | None = None
    error: SampanError | None = None
    volumes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """Where images go. ``sink``; ``tags``: when it is the store itself, what tags mean there, else None.

    ``store``: where blobs are kept that cannot be read where they lie. ``takes_attached``: whether what is
    attached to images goes there too; ``platforms``: None for all that are carried; ``one_platform``: when
    several are and none was asked for, the one to take."""

    sink: Sink
    store: Store
    clock: Clock
    tags: TagStore | None = None
    takes_attached: bool = True
    platforms: Sequence[Platform] | None = None
    own_platform: Platform | None = None


async def load(carried: Carried, target: Target, listener: Listener) -> list[Report]:
    """Load all images of ``carried``, one after the other. The sink is closed at the end.

    Raises SinkError for what concerns the sink as a whole, StoreError; an error of one image is in its
    report.
    """
    images = [image for image in carried.images if target.takes_attached or not image.named.attached]
    try:
        await target.sink.check()
        listener(events.Started(target.sink.name, len(images)))
        work = [_One(carried, target, image, listener) for image in images]
        await _unpack(carried, target.store, work)
        reports = [await _load_one(one, listener) for one in work]
        if all(report.digest is not None for report in reports):
            await target.sink.finish()
        return reports
    finally:
        await target.sink.close()


async def _load_one(one: _One, listener: Listener) -> Report:
    name = str(one.image.reference)
    try:
        report = await one.run()
    except SampanError as error:
        listener(events.Failed(name, error))
        return Report(one.image.reference, error=error)
    finally:
        one.content.close()
    if report.digest is None:
        listener(events.Waiting(name, one.image.title, report.volumes))
    else:
        listener(events.ImageDone(name, report.digest, one.sink.name))
    return report


@dataclass(frozen=True, slots=True)
class _Either:
    """Verified content: where it lies in an archive, else in the store."""

    carried: Carried
    store: Store

    def open(self, digest: Digest, /) -> OpenBlob | None:
        return self.carried.open(digest) or self.store.open(digest)


@dataclass(frozen=True, slots=True)
class _Plan:
    """``wanted``: None when not all manifests are here. ``present``: layers that the sink has."""

    wanted: Wanted | None
    lacking: tuple[Digest, ...] = ()
    present: frozenset[Digest] = frozenset()


class _One:
    """One image on its way."""

    def __init__(self, carried: Carried, target: Target, image: CarriedImage, listener: Listener) -> None:
        self.image = image
        self.sink = target.sink
        self.content = Content(_Either(carried, target.store))
        self._carried = carried
        self._target = target
        self._store = target.store
        self._listener = listener
        self._room = asyncio.Semaphore(BLOBS_AT_ONCE)

    async def run(self) -> Report:
        """All of it, to the sink; or what there is of it, into the store, when volumes are missing."""
        plan = await self._plan()
        if plan.lacking and self._volumes(plan):
            await self._keep(plan)
            plan = await self._plan()  # the last part of a blob may have been among it
        if plan.lacking and (volumes := self._volumes(plan)):
            return Report(self.image.reference, volumes=volumes)
        if plan.lacking or plan.wanted is None:
            raise self._incomplete(plan)
        self._tell_resolved(plan.wanted)
        await self._bring_layers(plan.wanted, plan.present)
        await self._give(plan.wanted)
        return Report(self.image.reference, plan.wanted.root.digest)

    async def _plan(self) -> _Plan:
        """What of it is here, and what is not."""
        try:
            wanted = await self.wanted()
        except BundleIncomplete:
            lacking = self._lacking(self.image.named.manifests or ())
            if not lacking:
                raise
            return _Plan(None, lacking)
        lacking = self._lacking([part.digest for part in (*wanted.manifests, *wanted.configs)])
        if lacking:
            return _Plan(wanted, lacking)
        for config in wanted.configs:
            await self._bring(config.digest)
        present = await self.sink.present(wanted, self.content)
        layers = [layer.digest for layer in wanted.layers if layer.digest not in present]
        return _Plan(wanted, self._lacking(layers), present)

    def _volumes(self, plan: _Plan) -> tuple[int, ...]:
        return self._carried.volumes_with(self.image, frozenset(plan.lacking))

    async def wanted(self) -> Wanted:
        """What it needs, by the manifests that are here, or that earlier volumes have left in the store."""
        return await asyncio.to_thread(self._wanted)

    def _wanted(self) -> Wanted:
        def kept(digest: Digest) -> bytes | None:
            return self._store.read(digest, size_max=MANIFEST_BYTES_MAX)

        own, platforms = self._target.own_platform, self._target.platforms
        wanted = self._carried.wanted(self.image, platforms, kept)
        if platforms is None and own is not None and len(wanted.platforms) > 1:
            suited = any(own.preference(platform) is not None for platform in wanted.platforms)
            return self._carried.wanted(self.image, [own], kept) if suited else wanted
        return wanted

    def _tell_resolved(self, wanted: Wanted) -> None:
        self._listener(
            events.Resolved(
                str(self.image.reference),
                wanted.root.digest,
                wanted.root.media_type,
                self.image.title,
                stale=False,
                platforms=wanted.platforms,
                blobs=len(wanted.blobs),
                size_bytes=wanted.size_bytes,
            )
        )

    # -- what there is -----------------------------------------------------------------------------

    def _lacking(self, digests: Iterable[Digest]) -> tuple[Digest, ...]:
        """Those that are neither in the archives nor in the store."""
        return tuple(digest for digest in digests if not self._is_here(digest))

    def _is_here(self, digest: Digest) -> bool:
        return self._carried.size_of(digest) is not None or self._store.stat(digest) is not None

    def _incomplete(self, plan: _Plan) -> BundleIncomplete:
        more = f" and {len(plan.lacking) - 1} more" if len(plan.lacking) > 1 else ""
        is_delta = bool(self.image.named.needs)
        return BundleIncomplete(
            f"{self.image.reference} cannot be loaded: {plan.lacking[0]}{more} is neither in "
            f"{self.image.title} nor in {self.sink.name}",
            hint="the bundle leaves out what an inventory had: take a new one here, and create it again"
            if is_delta
            else "the archive is not whole: get it anew from whoever made it",
        )

    async def _keep(self, plan: _Plan) -> None:
        """What is here of it into the store, until the other volumes come."""
        digests = self.image.named.needs
        if plan.wanted is not None:
            digests = tuple(part.digest for part in (*plan.wanted.manifests, *plan.wanted.blobs))
        for digest in digests:
            if self._carried.whole_size_of(digest) is not None:
                await self._bring(digest, into_store=True)

    # -- bringing ----------------------------------------------------------------------------------

    async def _bring_layers(self, wanted: Wanted, present: frozenset[Digest]) -> None:
        for layer in wanted.layers:
            if layer.digest in present:
                self._tell_done(layer, already="sink")
        layers = [layer for layer in wanted.layers if layer.digest not in present]
        await _together([self._bring(layer.digest) for layer in layers])

    async def _bring(self, digest: Digest, *, into_store: bool = False) -> None:
        name, title = str(self.image.reference), self.image.title
        size = self._carried.whole_size_of(digest)
        # Not to_thread: one that is cancelled would leave a file open behind what closes them.
        stored = await in_thread(lambda _: self._hold_stored(digest, size))
        if stored is not None:
            self._listener(events.BlobDone(name, digest, stored, "store"))
            return
        assert size is not None
        self._carried.check_packed(digest)
        async with self._room:
            began = time.monotonic()
            self._listener(events.BlobStarted(name, digest, size))
            told = self._telling(digest, size)
            is_whole = True
            if into_store or self._target.tags is not None or len(self._carried.parts(digest)) != 1:
                is_whole = await in_thread(lambda stop: stage(self._carried, digest, self._store, told(stop)))
            else:
                await in_thread(lambda stop: self._carried.verify(digest, told(stop)))
            if is_whole:
                self.content.hold(digest)
        seconds = time.monotonic() - began
        self._listener(events.BlobDone(name, digest, size, hosts={title: size}, seconds=seconds))

    def _hold_stored(self, digest: Digest, size: int | None) -> int | None:
        """Its size in bytes, when the store has it; it is held then."""
        stored = self._store.open(digest, size)
        if stored is None:
            return None
        with stored:
            self.content.hold(digest)
            return stored.size

    def _telling(self, digest: Digest, size: int) -> Callable[[Flag], Told]:
        """What tells the listener now and then, from within a thread, and ends the work that is to stop."""
        loop, name, title = asyncio.get_running_loop(), str(self.image.reference), self.image.title
        last = time.monotonic()

        def telling(stop: Flag) -> Told:
            def told(count: int) -> None:
                nonlocal last
                if stop.is_set():
                    raise Stopped
                if time.monotonic() - last >= TOLD_SECONDS:
                    last = time.monotonic()
                    progress = events.BlobProgress(name, digest, size, count, (title,))
                    loop.call_soon_threadsafe(self._listener, progress)

            return told

        return telling

    def _tell_done(self, blob: Descriptor, *, already: str) -> None:
        self._listener(events.BlobDone(str(self.image.reference), blob.digest, blob.size, already))

    # -- giving ------------------------------------------------------------------------------------

    async def _give(self, wanted: Wanted) -> None:
        self._listener(events.Giving(str(self.image.reference), wanted.root.digest, self.sink.name))
        await self.sink.put(wanted, self.content)
        if self._target.tags is not None:
            await asyncio.to_thread(self._name, wanted, self._target.tags)

    def _name(self, wanted: Wanted, tags: TagStore) -> None:
        """Visible in the store: manifests from the leaves up, the tag last."""
        for manifest in reversed(wanted.manifests):
            self._store.put_manifest(manifest)
        reference = self.image.reference
        if reference.tag is not None and reference.digest is None:
            tags.put(
                reference.registry,
                reference.repository,
                reference.tag,
                wanted.root.descriptor,
                host=self.image.title,
                now=self._target.clock.time(),
            )


async def _unpack(carried: Carried, store: Store, work: Sequence[_One]) -> None:
    """What the images need of packed archives, in one more pass over each, into the store."""
    needed: dict[str, tuple[Archive, dict[str, Digest]]] = {}
    for one in work:
        try:
            blobs = (await one.wanted()).blobs
        except SampanError:
            continue  # told when its turn comes
        for blob in blobs:
            found = carried.packed(blob.digest)
            if found is not None and store.stat(blob.digest) is None:
                archive, member = found
                there = archive.resolve(member)
                if there is not None and archive.digests.get(there.name) == blob.digest:
                    needed.setdefault(archive.name, (archive, {}))[1][there.name] = blob.digest
    for archive, members in needed.values():

        def work_on(stop: Flag, archive: Archive = archive, members: dict[str, Digest] = members) -> None:
            def told(_: int) -> None:
                if stop.is_set():
                    raise Stopped

            unpack(archive, members, store, told)

        await in_thread(work_on)


async def _together(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All of ``work`` side by side; the first error cancels the rest and is raised alone."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    return [task.result() for task in tasks]
