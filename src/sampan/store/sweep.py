"""Tidying a store: evict to a size, drop what was abandoned, hash everything again.

Guarantees that what a kept manifest needs, what is pinned, what is being served and what is being written
stays; and that a manifest goes before its blobs, with the disk's word for it, so that at no instant, a
crash included, a manifest is kept whose blobs were removed. It does not decide when to sweep.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sampan.store.images import Images, Unit
from sampan.store.leftovers import (
    ABANDONED_SECONDS,
    QUARANTINE_SECONDS,
    drop_idle,
    is_abandoned,
    is_in_flight,
    leftovers,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sampan.oci.digest import Digest
    from sampan.store.disk import DiskStore
    from sampan.store.tags import TagStore

PARTIAL_REST_SECONDS = 24 * 3600.0  # what failed today is likely to be asked for again: it goes last

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What a sweep did. ``used_bytes`` is what is left: blobs, partial files and quarantine.

    ``removed``: blobs, in the order in which they went; ``dropped``: the names of other files.
    ``reason`` says in one sentence why it stopped there.
    """

    used_bytes: int
    freed_bytes: int
    removed: tuple[Digest, ...]
    dropped: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class ScrubReport:
    """What a scrub found. ``damaged`` are in quarantine now."""

    checked: int
    checked_bytes: int
    damaged: tuple[Digest, ...]


def scrub(store: DiskStore) -> ScrubReport:
    """Hash every blob again: reads the whole store. Not counted as a use."""
    checked, checked_bytes, damaged = 0, 0, []
    for blob in store.blobs():
        right = store.check(blob.digest)
        if right is None:
            continue  # evicted since it was listed
        checked, checked_bytes = checked + 1, checked_bytes + blob.size
        if not right:
            damaged.append(blob.digest)
    return ScrubReport(checked, checked_bytes, tuple(damaged))


def tidy(store: DiskStore, tags: TagStore) -> SweepReport:
    """Drop what is of no use though there were room: for a start, and now and then. Raises StoreError."""
    sweep = _Sweep(store, tags, dry_run=False)
    sweep.drop_abandoned()
    return sweep.report("there is room for the rest")


def evict(store: DiskStore, tags: TagStore, max_size_bytes: int, *, dry_run: bool = False) -> SweepReport:
    """Bring the store to ``max_size_bytes``, least recently used first; ``dry_run``: only say how.

    Counts blobs, partial files and quarantine. Each call looks at the whole store, so ask for a little
    less than the limit that made you call. Images go whole, with the records of tags that name
    them. Blocks; run it in a thread. One at a time within a process; two processes at once would both
    free the same room. Raises StoreError.
    """
    return _bring_to(max_size_bytes, _Sweep(store, tags, dry_run=dry_run))


def free(store: DiskStore, tags: TagStore, size_bytes: int) -> SweepReport:
    """As :func:`evict`, down to ``size_bytes`` less than what is used now: for a disk that is full.

    What is larger than all that could go drives nothing out: it would not fit either.
    """
    sweep = _Sweep(store, tags, dry_run=False)
    if size_bytes > sweep.used_bytes - sweep.in_flight_bytes():
        return sweep.report(f"{size_bytes} bytes are more than all that could go")
    return _bring_to(max(0, sweep.used_bytes - size_bytes), sweep)


def _bring_to(max_size_bytes: int, sweep: _Sweep) -> SweepReport:
    sweep.drop_abandoned()
    sweep.drop_quarantine_until(max_size_bytes)
    sweep.drop_partials_until(max_size_bytes, rested_seconds=PARTIAL_REST_SECONDS)
    sweep.drop_images_until(max_size_bytes)
    sweep.drop_partials_until(max_size_bytes, rested_seconds=0.0)
    if sweep.used_bytes <= max_size_bytes:
        return sweep.report(f"fits into {max_size_bytes} bytes")
    return sweep.report(f"more than {max_size_bytes} bytes, but all that is left is {sweep.what_stays()}")


@dataclass(slots=True)
class _Sweep:
    store: DiskStore
    tags: TagStore
    dry_run: bool
    used_bytes: int = 0
    freed_bytes: int = 0
    removed: list[Digest] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    kept: dict[str, int] = field(default_factory=dict)
    mark: int = 0
    pinned: frozenset[Digest] = frozenset()

    def __post_init__(self) -> None:
        store = self.store
        self.mark = store.mark()  # before anything is looked at: what is used from now on stays
        self.pinned = store.pinned()
        partial = sum(
            found.size for folder in (store.ingests, store.quarantine) for found in leftovers(folder)
        )
        self.used_bytes = store.recount() + partial

    def report(self, reason: str) -> SweepReport:
        report = SweepReport(
            self.used_bytes, self.freed_bytes, tuple(self.removed), tuple(self.dropped), reason
        )
        if self.freed_bytes and not self.dry_run:
            log.info("freed %d bytes, %d are used: %s", self.freed_bytes, self.used_bytes, reason)
        return report

    def what_stays(self) -> str:
        """The reasons met, most frequent first."""
        reasons = sorted(self.kept.items(), key=lambda item: -item[1])
        return ", ".join(f"{reason} ({count})" for reason, count in reasons) or "being written"

    # -- files that are no blobs -------------------------------------------------------------------

    def in_flight_bytes(self) -> int:
        """What nobody can drop: partials that are being written now."""
        folder = self.store.ingests
        return sum(found.size for found in leftovers(folder) if is_in_flight(folder, found.name))

    def drop_abandoned(self) -> None:
        """Old partials, what a killed process left, old quarantine, notes of blobs that are gone."""
        now = self.store.clock.time()
        for found in leftovers(self.store.ingests):
            if is_abandoned(found, now):
                self._drop_ingest(found.name, found.size)
        for found in leftovers(self.store.quarantine):
            if abs(now - found.touched_at) > QUARANTINE_SECONDS:
                self._drop_quarantined(found.name, found.size)
        if not self.dry_run:
            self.store.drop_stray_notes(now - ABANDONED_SECONDS)
            self.tags.drop_leftovers(now - ABANDONED_SECONDS)

    def drop_quarantine_until(self, max_size_bytes: int) -> None:
        """The oldest first."""
        for found in sorted(leftovers(self.store.quarantine), key=lambda found: found.touched_at):
            if self.used_bytes <= max_size_bytes:
                return
            self._drop_quarantined(found.name, found.size)

    def drop_partials_until(self, max_size_bytes: int, *, rested_seconds: float) -> None:
        """Partials that nobody writes and nobody wrote lately, the oldest first."""
        before = self.store.clock.time() - rested_seconds
        for found in sorted(leftovers(self.store.ingests), key=lambda found: found.touched_at):
            if self.used_bytes <= max_size_bytes:
                return
            if not rested_seconds or found.touched_at < before:
                self._drop_ingest(found.name, found.size)

    def _drop_ingest(self, name: str, size: int) -> None:
        if name not in self.dropped and (self.dry_run or drop_idle(self.store.ingests, name)):
            self._count(size)
            self.dropped.append(name)

    def _drop_quarantined(self, name: str, size: int) -> None:
        if name not in self.dropped and (self.dry_run or self.store.quarantine.unlink(name)):
            self._count(size)
            self.dropped.append(name)

    def _count(self, size: int) -> None:
        self.used_bytes -= size
        self.freed_bytes += size

    # -- images ------------------------------------------------------------------------------------

    def drop_images_until(self, max_size_bytes: int) -> None:
        """The least recently used image or lone blob, and again, until it fits."""
        if self.used_bytes <= max_size_bytes:
            return
        named: dict[Digest, list[tuple[str, str, str]]] = {}
        for record in self.tags.records():
            name = (record.registry, record.repository, record.tag)
            named.setdefault(record.descriptor.digest, []).append(name)
        images = self._images((*named, *self.pinned))
        for unit in images.least_recent_first():
            if self.used_bytes <= max_size_bytes:
                return
            mine = images.exclusive(unit)
            if (reason := self._why_not(unit, mine)) is not None:
                self.kept[reason] = self.kept.get(reason, 0) + 1
            elif self._remove(images, mine, named):
                images.drop(unit)

    def _images(self, roots: Sequence[Digest]) -> Images:
        references = {}
        for digest in self.store.manifest_digests():
            if (manifest := self.store.peek_manifest(digest)) is not None:
                references[digest] = tuple(descriptor.digest for descriptor in manifest.references)
        return Images(self.store.blobs(), references, roots)

    def _why_not(self, unit: Unit, mine: tuple[Digest, ...]) -> str | None:
        if unit.root in self.pinned:
            return "pinned"
        if any(self.store.is_held(digest) for digest in (unit.root, *mine)):
            return "being served"
        return None

    def _remove(
        self, images: Images, digests: tuple[Digest, ...], named: dict[Digest, list[tuple[str, str, str]]]
    ) -> bool:
        """Manifests, then the disk's word that they are gone, then the rest. A manifest that was used
        meanwhile stays, and all that it needs with it; whether all of them went."""
        kept: set[Digest] = set()
        manifests = [digest for digest in digests if images.is_manifest(digest)]
        for digest in manifests:
            if digest in kept or not self._remove_one(images, digest):
                kept.update(images.closure(digest))
                continue
            for name in () if self.dry_run else named.get(digest, ()):
                self.tags.forget(*name, digest=digest)
        if manifests and not self.dry_run:
            self.store.sync_removals()
        for digest in digests:
            if digest not in kept and not images.is_manifest(digest) and not self._remove_one(images, digest):
                kept.add(digest)
        if kept:
            self.kept["in use"] = self.kept.get("in use", 0) + 1
        return not kept

    def _remove_one(self, images: Images, digest: Digest) -> bool:
        if not self.dry_run and not self.store.remove(digest, mark=self.mark):
            return False
        self._count(images.size(digest))
        self.removed.append(digest)
        return True
