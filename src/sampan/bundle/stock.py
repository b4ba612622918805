"""What bundles hold, ready to be served from where it lies.

Guarantees that no byte of a blob leaves before the whole blob has been read once and found right by this
process, however many ask for it at a time; and that what cannot be served whole is known before anybody asks.
It writes nothing but, where it is told to, manifests and what tags mean into a store.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from sampan.bundle.archive import Archive
from sampan.bundle.carried import Carried, CarriedImage
from sampan.bundle.extent import Extent
from sampan.bundle.tape import reading
from sampan.clock import Clock
from sampan.errors import Attempt, BundleDamaged, BundleError, ContentMismatch, StoreError
from sampan.mirror.arrival import Window
from sampan.mirror.single import SingleFlight
from sampan.oci import Digest
from sampan.pull.closure import AnyManifest
from sampan.store.disk import DiskStore
from sampan.store.tags import TagStore

VERIFIED_AT_ONCE = 2  # more would only make a medium seek
MANIFESTS_MAX = 100_000  # of all bundles that one process serves

Name = tuple[str, str, str]  # registry, repository, tag

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Stock:
    """What bundles hold, ready to be served; it outlives a reload of the configuration.

    ``tags``: by name, the digest and what it comes from; ``manifests``: the media type of each;
    ``attached``: what refers to a manifest, by repository."""

    carried: Carried
    clock: Clock
    tags: dict[Name, tuple[Digest, str]] = field(default_factory=dict)
    manifests: dict[Digest, str] = field(default_factory=dict)
    repositories: set[tuple[str, str]] = field(default_factory=set)
    attached: dict[tuple[str, str, Digest], list[Digest]] = field(default_factory=dict)
    verifying: SingleFlight[int] = field(default_factory=SingleFlight)
    room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(VERIFIED_AT_ONCE))
    closing: threading.Event = field(default_factory=threading.Event)
    made_at: tuple[float, ...] = ()

    @classmethod
    def of(cls, carried: Carried, clock: Clock) -> Stock:
        """What ``carried`` holds. Raises BundleError for packed archives, images that are not whole, and more
        manifests than anybody serves."""
        stock = cls(carried, clock)
        stock.made_at = tuple(map(_made_at, carried.archives))
        for archive in carried.archives:
            if archive.is_packed:
                raise BundleError(
                    f"{archive.name} is packed, and cannot be served where it lies",
                    hint="unpack it (zstd -d, gunzip), or load it: sampan bundle load --to store",
                )
        for image in carried.images:
            stock._add(image)
        return stock

    def _add(self, image: CarriedImage) -> None:
        wanted = self.carried.wanted(image, None)
        for blob in wanted.blobs:
            if self.carried.size_of(blob.digest) is None or not self._lies_here(blob.digest):
                raise BundleError(
                    f"{image.reference} cannot be served: {blob.digest} is not in {image.title}",
                    hint="name all volumes of the bundle, or load it where the rest is: sampan bundle load",
                )
        reference = image.reference
        self.repositories.add((reference.registry, reference.repository))
        if reference.tag is not None and reference.digest is None:
            name = (reference.registry, reference.repository, reference.tag)
            self.tags[name] = (wanted.root.digest, image.title)
        for manifest in wanted.manifests:
            self.manifests[manifest.digest] = manifest.media_type
            if manifest.subject is not None:
                subject = (reference.registry, reference.repository, manifest.subject.digest)
                self.attached.setdefault(subject, []).append(manifest.digest)
        if len(self.manifests) > MANIFESTS_MAX:
            raise BundleError(f"more than {MANIFESTS_MAX} manifests in the bundles that are to be served")

    def _lies_here(self, digest: Digest) -> bool:
        return all(isinstance(part.extent, Extent) for part in self.carried.parts(digest))

    @property
    def registries(self) -> frozenset[str]:
        """Those that images are named by."""
        return frozenset(registry for registry, _ in self.repositories)

    @property
    def title(self) -> str:
        """All that they come from, for messages."""
        return ", ".join(dict.fromkeys(archive.title for archive in self.carried.archives))

    def age_seconds(self) -> float:
        """Since the youngest of them was made: so long nobody has confirmed what its tags mean."""
        return max(self.clock.time() - max(self.made_at, default=0.0), 0.0)

    def manifest(self, digest: Digest) -> AnyManifest | None:
        """The manifest, verified. Raises ContentMismatch for one that is damaged."""
        if digest not in self.manifests:
            return None
        try:
            return self.carried.manifest(digest, self.manifests[digest])
        except BundleDamaged as error:
            raise ContentMismatch(error.message, hint=error.hint) from error

    def referrers(self, registry: str, repository: str, subject: Digest) -> list[AnyManifest]:
        """What is attached to ``subject``, as far as it is here."""
        digests = self.attached.get((registry, repository, subject), [])
        return [found for digest in digests if (found := self.manifest(digest)) is not None]

    def extents(self, digest: Digest) -> list[tuple[int, Extent]]:
        """Where a verified blob lies. Raises StoreError when only recovery volumes have it."""
        parts = [(part.start, part.extent) for part in self.carried.parts(digest)]
        plain = [(start, extent) for start, extent in parts if isinstance(extent, Extent)]
        if len(plain) != len(parts):
            raise StoreError(
                f"{digest} is lost or damaged, and only the recovery volumes have it",
                hint="mend the bundle first: sampan bundle repair; or load it: sampan bundle load",
            )
        return plain

    async def verified(self, digest: Digest) -> int:
        """Until the blob has been read and found right; its size in bytes. However many ask, it is read once,
        and to its end whoever leaves.

        Raises ContentMismatch for one that is damaged, StoreError for one that cannot be read.
        """
        if self.carried.is_verified(digest):
            size = self.carried.size_of(digest)
            assert size is not None
            return size
        return await self.verifying.run(digest, lambda: self._verify(digest))

    async def _verify(self, digest: Digest) -> int:
        async with self.room:
            try:
                return await asyncio.to_thread(self.carried.verify, digest, self._go_on)
            except BundleDamaged as error:
                log.warning("%s", error.message)
                raise ContentMismatch(error.message, hint=error.hint) from error
            except BundleError as error:
                raise StoreError(error.message, hint=error.hint) from error

    def _go_on(self, _: int) -> None:
        """In a thread, which nobody can cancel."""
        if self.closing.is_set():
            raise StoreError("the server is stopping")

    async def close(self) -> None:
        """Let go of the files."""
        self.closing.set()
        await self.verifying.close()
        self.carried.close()


def _made_at(archive: Archive) -> float:
    """When it was made, in seconds since the epoch: as a bundle says, else by its file."""
    if archive.head is not None:
        with suppress(ValueError):
            return datetime.fromisoformat(archive.head.contents.created_at).timestamp()
    with reading(archive.name):
        return archive.path.stat().st_mtime


class CarriedBlob:
    """A blob of a bundle, verified: its bytes where they lie, one piece or several."""

    attempts: tuple[Attempt, ...] = ()

    def __init__(self, size: int, source: str, extents: Sequence[tuple[int, Extent]]) -> None:
        """``extents``: where its bytes lie, and from which one on each of them has."""
        self.size = size
        self.source = source
        self._parts = [(start, extent, extent.open()) for start, extent in extents]

    async def windows(self, start: int, stop: int) -> AsyncIterator[Window]:
        """One window a piece: all of it is there."""
        for begun, extent, file in self._parts:
            first, last = max(start, begun), min(stop, begun + extent.size)
            if first < last:
                yield Window(file, extent.offset + first - begun, last - first)

    def close(self) -> None:
        """Let go of the files."""
        for _, _, file in self._parts:
            file.close()


def teach(stock: Stock, store: DiskStore, tags: TagStore) -> None:
    """What the tags of the bundles mean, into a store: a mirror on it believes them as it would a host. Where
    a host has said so, the host's word stays. Raises StoreError, ContentMismatch. Blocks."""
    for name, (digest, title) in stock.tags.items():
        known = tags.get(*name)
        if known is not None and not known.host.startswith("bundle "):
            continue
        manifest = stock.manifest(digest)
        assert manifest is not None
        store.put_manifest(manifest)
        tags.put(*name, manifest.descriptor, host=title, now=stock.clock.time())
