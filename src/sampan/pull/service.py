"""The pull: each reference resolved, what is missing brought into the store, and given to the sink.

Guarantees that a sink is given an image only when all of it is verified and held; that one reference which
fails keeps no other from being pulled; and that whatever arrived stays in the store, so that the next pull
goes on from there. It decides the order of things; hosts are the mirror's business, formats the sink's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sampan.errors import Attempt, SampanError
from sampan.mirror.service import ManifestAnswer, Mirror
from sampan.oci.digest import Digest
from sampan.oci.manifest import Descriptor, Index, Manifest
from sampan.oci.platform import Platform
from sampan.oci.reference import Reference
from sampan.pull import events
from sampan.pull.closure import Steps, Wanted, closure, platform_missing
from sampan.pull.events import Listener
from sampan.pull.image import CONFIG_TYPES, platform_of_config
from sampan.pull.referrers import attached
from sampan.pull.sink import Content, Sink
from sampan.upstream.behind import Behind

BLOBS_AT_ONCE = 3  # as containerd and Docker do it: more only makes each of them slower to finish
MANIFESTS_AT_ONCE = 4

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Report:
    """How one reference ended: its digest, or the error."""

    reference: Reference
    digest: Digest | None = None
    error: SampanError | None = None


async def pull(
    mirror: Mirror,
    references: Sequence[Reference],
    *,
    sink: Sink,
    platforms: Sequence[Platform] | None,
    listener: Listener,
    with_referrers: bool = False,
    behind: Behind | None = None,
) -> list[Report]:
    """Pull ``references``, one after the other, into ``sink``; ``platforms`` None: all there are;
    ``with_referrers``: and what is attached to them, signatures for instance. ``behind``: what the hosts
    of ``mirror`` said of their own sources.

    The sink is closed at the end. Raises SinkError for what concerns the sink as a whole (it is checked
    before anything is fetched); an error of one reference is in its report.
    """
    try:
        await sink.check()
        listener(events.Started(sink.name, len(references)))
        behind = behind or Behind()
        work = [_One(mirror, r, sink, platforms, listener, with_referrers, behind) for r in references]
        reports = [await _pull_one(one, sink, listener) for one in work]
        if all(report.error is None for report in reports):
            await sink.finish()
        return reports
    finally:
        await sink.close()


async def _pull_one(one: _One, sink: Sink, listener: Listener) -> Report:
    reference = one.reference
    try:
        digest = await one.run()
    except SampanError as error:
        listener(events.failed(reference, error))
        return Report(reference, error=error)
    finally:
        one.content.close()
    listener(events.ImageDone(str(reference), digest, sink.name))
    return Report(reference, digest)


class _One:
    """One reference on its way. Its ``content`` holds what has arrived, until it is closed."""

    def __init__(
        self,
        mirror: Mirror,
        reference: Reference,
        sink: Sink,
        platforms: Sequence[Platform] | None,
        listener: Listener,
        with_referrers: bool,
        behind: Behind,
    ) -> None:
        self.content = Content(mirror.store)
        self.reference = reference
        self._mirror = mirror
        self._with_referrers = with_referrers
        self._sink = sink
        self._platforms = platforms
        self._listener = listener
        self._behind = behind
        self._attempts: list[Attempt] = []  # that failed, at manifests
        self._blobs = asyncio.Semaphore(BLOBS_AT_ONCE)
        self._manifests = asyncio.Semaphore(MANIFESTS_AT_ONCE)

    async def run(self) -> Digest:
        """All of it, to the sink; the digest that the reference means."""
        wanted = await self._resolve()
        await self._hold(wanted)
        await self._bring_all(wanted.configs)
        await self._check_platform(wanted)
        await self._bring_layers(wanted)
        self._listener(events.Giving(str(self.reference), wanted.root.digest, self._sink.name))
        await self._sink.put(wanted, self.content)
        for extra in await attached(self._mirror, wanted) if self._with_referrers else ():
            await self._hold(extra)
            await self._bring_all(extra.blobs)
            await self._sink.put(extra, self.content)
        return wanted.root.digest

    async def _resolve(self) -> Wanted:
        """The closure, with all its manifests fetched."""
        root = await self._manifest(self.reference.digest or self.reference.object)
        steps = closure(self.reference, root.manifest, self._platforms)
        wanted = await self._walk(steps)
        self._tell_resolved(wanted, root)
        return wanted

    async def _walk(self, steps: Steps) -> Wanted:
        try:
            needed = next(steps)
            while True:
                answers = await _together([self._manifest(entry.digest) for entry in needed])
                needed = steps.send([answer.manifest for answer in answers])
        except StopIteration as stop:
            wanted: Wanted = stop.value
            return wanted

    async def _manifest(self, wanted: str | Digest) -> ManifestAnswer:
        async with self._manifests:
            name = self.reference
            answer = await self._mirror.manifest(name.registry, name.repository, wanted)
        self._attempts += [attempt for attempt in answer.attempts if attempt.outcome != "ok"]
        return answer

    def _tell_resolved(self, wanted: Wanted, root: ManifestAnswer) -> None:
        told = self._behind.of(root.source, wanted.root.digest)
        self._listener(
            events.Resolved(
                str(self.reference),
                wanted.root.digest,
                wanted.root.media_type,
                root.source,
                root.stale or (told is not None and told.stale),
                wanted.platforms,
                len(wanted.blobs),
                wanted.size_bytes,
                tuple(self._attempts),
                told.source if told else "",
            )
        )

    async def _hold(self, wanted: Wanted) -> None:
        """The manifests into the store, where the mirror has not put them because the disk was full."""

        def keep(manifest: Manifest | Index) -> None:
            self._mirror.store.put_manifest(manifest)
            self.content.hold(manifest.digest)

        for manifest in wanted.manifests:
            await asyncio.to_thread(keep, manifest)

    async def _check_platform(self, wanted: Wanted) -> None:
        """An image without an index tells its platform in its config alone."""
        root = wanted.root
        if self._platforms is None or isinstance(root, Index) or root.config.media_type not in CONFIG_TYPES:
            return
        made_for = platform_of_config(await asyncio.to_thread(self.content.read, root.config.digest))
        if made_for is None:
            return
        missing = [platform for platform in self._platforms if platform.preference(made_for) is None]
        if missing:
            raise platform_missing(self.reference, missing, [made_for])

    async def _bring_layers(self, wanted: Wanted) -> None:
        present = await self._sink.present(wanted, self.content)
        for layer in wanted.layers:
            if layer.digest in present:
                self._tell_done(layer, already="sink")
        await self._bring_all([layer for layer in wanted.layers if layer.digest not in present])

    async def _bring_all(self, blobs: Sequence[Descriptor]) -> None:
        """Several at once. The first error ends it; what is under way then stays in the store."""
        await _together([self._bring(blob) for blob in blobs])

    async def _bring(self, blob: Descriptor) -> None:
        name = str(self.reference)
        if await asyncio.to_thread(self._is_stored, blob):
            self._tell_done(blob, already="store")
            return
        async with self._blobs:
            began = time.monotonic()
            self._listener(events.BlobStarted(name, blob.digest, blob.size))

            def told(arrived_bytes: int, hosts: tuple[str, ...]) -> None:
                self._listener(events.BlobProgress(name, blob.digest, blob.size, arrived_bytes, hosts))

            with self._mirror.store.hold(blob.digest):
                brought = await self._mirror.bring(
                    self.reference.registry, self.reference.repository, blob.digest, told=told
                )
                self.content.hold(blob.digest)
        given = bytes_by_host(brought.attempts)
        self._listener(
            events.BlobDone(
                name,
                blob.digest,
                blob.size,
                "store" if brought.already else "",
                given,
                brought.resumed_bytes,
                time.monotonic() - began,
                tuple(attempt for attempt in brought.attempts if attempt.outcome != "ok"),
                self._sources(given, blob),
            )
        )

    def _sources(self, hosts: Iterable[str], blob: Descriptor) -> dict[str, str]:
        """By host, where it had the blob from; of those that are mirrors and say so."""
        said = {host: self._behind.of(host, blob.digest) for host in hosts}
        return {host: told.source for host, told in said.items() if told is not None}

    def _is_stored(self, blob: Descriptor) -> bool:
        """Held at once if so. A blob of another size than is told is hashed by the store, and kept if it
        is right: the manifest errs then, and no host could give what it says."""
        stored = self._mirror.store.open(blob.digest, blob.size)
        if stored is None:
            return False
        with stored:
            self.content.hold(blob.digest)
        return True

    def _tell_done(self, blob: Descriptor, *, already: str) -> None:
        self._listener(events.BlobDone(str(self.reference), blob.digest, blob.size, already))


async def _together(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All of ``work`` side by side; the first error cancels the rest and is raised alone."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    return [task.result() for task in tasks]


def bytes_by_host(attempts: Sequence[Attempt]) -> dict[str, int]:
    """What each host gave, of those that gave any."""
    given: dict[str, int] = {}
    for attempt in attempts:
        if attempt.outcome == "ok" and attempt.bytes:
            given[attempt.host] = given.get(attempt.host, 0) + attempt.bytes
    return given
