"""Whole images in a store that two processes share: pulled, cut, damaged, pinned, removed, swept, scrubbed.

Locks belong to open files, so two stores here keep each other out as two processes do. A model says what
must be there; both stores must agree with it, the lists that operators see with both, and a dry run with the
sweep.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from disks import blob_path, image, index, wrong_blobs
from sampan.oci import Digest, Index, Manifest
from sampan.store import BeingWritten, DiskStore, Stock, SweepReport, TagStore, evict, remove, scrub, tidy
from sampan.store.ingest import FileIngest
from sampan.store.manifests import LOOK_AGAIN_SECONDS
from sampan.testing import ManualClock

LAYERS = [bytes([65 + number]) * (100 + number * 50) for number in range(4)]
IMAGES = [image(LAYERS[n], LAYERS[(n + 1) % 4], config=b"%d" % n) for n in range(3)]
SIGNATURE = image(LAYERS[3], config=b"signature", subject=IMAGES[0])
TOP = index(IMAGES[0], IMAGES[1])
MANIFESTS: list[Manifest | Index] = [*IMAGES, SIGNATURE, TOP]
DATA = [*LAYERS, *(b"%d" % n for n in range(3)), b"signature", *(m.raw for m in MANIFESTS)]
CONTENT = {Digest.of(data): data for data in DATA}
NEEDS = {m.digest: {descriptor.digest for descriptor in m.references} for m in MANIFESTS}
DAY = 24 * 3600.0
SECONDS = LOOK_AGAIN_SECONDS + 60  # after each step: whatever is remembered is looked at again

sides = st.integers(0, 1)
numbers = st.integers(0, len(MANIFESTS) - 1)
digests = st.sampled_from(sorted(CONTENT))
blobs = st.sampled_from(sorted(CONTENT.keys() - NEEDS.keys()))  # a manifest comes as one, and is small


class ImagesMachine(RuleBasedStateMachine):
    """``stored``, ``damaged``, ``pinned`` and ``tagged`` are the model. Only sweeps may choose. ``partial``:
    how many bytes of a blob somebody left; ``writing``: an ingest that one of the two has open."""

    @initialize()
    def begin(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="sampan-images-", dir="/dev/shm"))
        self.clock = ManualClock(time.time())  # files have the machine's stamps
        self.stores = [DiskStore(self.root, self.clock) for _ in range(2)]
        self.tags = [TagStore(self.root / "tags", self.clock) for _ in range(2)]
        self.began = self.clock.time()
        self.stored: set[Digest] = set()
        self.damaged: set[Digest] = set()
        self.pinned: set[Digest] = set()
        self.tagged: dict[str, Digest] = {}
        self.partial: dict[Digest, int] = {}
        self.writing: dict[Digest, tuple[int, FileIngest]] = {}

    def teardown(self) -> None:
        if hasattr(self, "root"):
            for side in range(2):
                self._close(side)
            shutil.rmtree(self.root)

    def _close(self, side: int) -> None:
        """As a process dies: its files are closed, and what it had written stays."""
        for digest, (owner, ingest) in list(self.writing.items()):
            if owner == side:
                ingest._file.close()
                self.partial[digest] = ingest.offset
                del self.writing[digest]
        self.stores[side].close()
        self.tags[side].close()

    # -- in ------------------------------------------------------------------------------------------

    @rule(side=sides, number=numbers, leaves_out=st.integers(0, 9))
    def pull(self, side: int, number: int, leaves_out: int) -> None:
        """The manifest first; then its blobs, but for one maybe, of which nothing came. An index brings those
        of its platforms."""
        made = MANIFESTS[number]
        self._put_manifest(side, made)
        self._tag(side, str(number), made)
        for child in (made, *(m for m in MANIFESTS if m.digest in NEEDS[made.digest])):
            if child is not made:
                self._put_manifest(side, child)
            for place, digest in enumerate(sorted(NEEDS[child.digest] - NEEDS.keys())):
                if place != leaves_out:
                    self._bring(side, digest)

    def _put_manifest(self, side: int, made: Manifest | Index) -> None:
        self.stores[side].put_manifest(made)
        self.stored.add(made.digest)
        self.damaged.discard(made.digest)

    def _tag(self, side: int, name: str, made: Manifest | Index) -> None:
        now = self.clock.time()
        self.tags[side].put("r.example", "app", name, made.descriptor, host="h", now=now)
        self.tagged[name] = made.digest

    def _bring(self, side: int, digest: Digest) -> None:
        """As a download does: what another is at is left to him."""
        store, data = self.stores[side], CONTENT[digest]
        if store.stat(digest) is not None and digest not in self.damaged:
            return
        ingest = store.take_up(digest, len(data))
        assert isinstance(ingest, BeingWritten) == (digest in self.writing)
        if isinstance(ingest, BeingWritten):
            return
        assert ingest.resumed_bytes == self.partial.pop(digest, 0)
        ingest.rehash()
        ingest.write(data[ingest.offset :])
        ingest.commit()
        self._is_stored(digest)

    def _is_stored(self, digest: Digest) -> None:
        self.stored.add(digest)
        self.damaged.discard(digest)

    @rule(side=sides, digest=blobs, count=st.integers(1, 200), stays=st.booleans())
    def cut(self, side: int, digest: Digest, count: int, stays: bool) -> None:
        """Some bytes more, and then the line is cut, or the process stays at it."""
        ingest = self.stores[side].take_up(digest, len(CONTENT[digest]))
        assert isinstance(ingest, BeingWritten) == (digest in self.writing)
        if isinstance(ingest, BeingWritten):
            return
        assert ingest.resumed_bytes == self.partial.pop(digest, 0)
        ingest.rehash()
        ingest.write(CONTENT[digest][ingest.offset : ingest.offset + count])
        if stays:
            self.writing[digest] = (side, ingest)
        else:
            self.partial[digest] = ingest.offset
            ingest.suspend()

    @rule()
    @precondition(lambda self: self.writing)
    def finish(self) -> None:
        """Who stayed at it commits."""
        digest = min(self.writing)
        _, ingest = self.writing.pop(digest)
        ingest.write(CONTENT[digest][ingest.offset :])
        ingest.commit()
        self._is_stored(digest)

    @rule(side=sides)
    def restart(self, side: int) -> None:
        """The process dies, and another takes its place."""
        self._close(side)
        self.stores[side] = DiskStore(self.root, self.clock)
        self.tags[side] = TagStore(self.root / "tags", self.clock)

    # -- out -----------------------------------------------------------------------------------------

    @rule(side=sides, digest=digests)
    def read(self, side: int, digest: Digest) -> None:
        found = self.stores[side].read(digest, size_max=10_000)
        assert found == (CONTENT[digest] if digest in self.stored - self.damaged else None)
        self._notice()

    @rule(side=sides)
    def referrers(self, side: int) -> None:
        is_there = SIGNATURE.digest in self.stored - self.damaged
        for digest in self.damaged & NEEDS.keys():
            self.stores[side].peek_manifest(digest)
        self._notice()
        assert self.stores[side].referrers(IMAGES[0].digest) == [SIGNATURE] * is_there

    def _notice(self) -> None:
        """What was read and found damaged is in quarantine."""
        self.damaged = {digest for digest in self.damaged if blob_path(self.root, digest).exists()}
        self.stored = {digest for digest in self.stored if blob_path(self.root, digest).exists()}

    # -- what goes -----------------------------------------------------------------------------------

    @rule(side=sides, digest=digests)
    def pin(self, side: int, digest: Digest) -> None:
        if digest in self.pinned:
            self.stores[side].unpin(digest)
        else:
            self.stores[side].pin(digest)
        self.pinned ^= {digest}

    @rule(side=sides, size=st.integers(0, 1500))
    def evict(self, side: int, size: int) -> None:
        self._look_at_manifests(side)
        dry = evict(self.stores[side], self.tags[side], size, dry_run=True)
        self._swept(evict(self.stores[side], self.tags[side], size), dry)
        used = sum(blob.size for blob in self.stores[side].blobs())
        assert dry.used_bytes <= size or "all that is left" in dry.reason
        assert used <= dry.used_bytes

    @rule(side=sides, number=numbers, by_tag=st.booleans())
    def remove(self, side: int, number: int, by_tag: bool) -> None:
        """By its digest, or by the tag that a pull gave it."""
        self._look_at_manifests(side)
        digest = MANIFESTS[number].digest
        record = self.tags[side].get("r.example", "app", str(number)) if by_tag else None
        wanted = [(digest, record)]
        dry, foretold = remove(self.stores[side], self.tags[side], wanted, dry_run=True)
        report, (outcome,) = remove(self.stores[side], self.tags[side], wanted)
        assert foretold == [outcome]
        others = {m for m in NEEDS if digest in NEEDS[m] and m in self.stored}
        if outcome.is_removed and digest in self.stored:
            assert digest not in self.pinned
            assert not others
        if outcome.is_removed and digest not in self.stored:
            self.tagged = {name: d for name, d in self.tagged.items() if d != digest}
        self._swept(report, dry)
        assert not outcome.is_removed or digest not in self.stored
        if outcome.is_unnamed and by_tag:
            assert self.tags[side].get("r.example", "app", str(number)) is None
            self.tagged.pop(str(number), None)

    def _look_at_manifests(self, side: int) -> None:
        """A sweep reads them: the damaged ones go to quarantine before anything is counted."""
        for digest in self.stores[side].manifest_digests():
            self.stores[side].peek_manifest(digest)
        self._notice()

    def _swept(self, report: SweepReport, dry: SweepReport) -> None:
        assert report == dry, "it was not what the dry run said"
        before = set(self.stored)
        self._notice()
        assert set(report.removed) == before - self.stored
        assert report.freed_bytes == sum(removal.size for removal in report.removals)
        for digest in self.stored & NEEDS.keys():
            assert not NEEDS[digest] & set(report.removed), "a kept manifest lost what it needs"
        kept = {need for pin in self.pinned & before for need in (pin, *NEEDS.get(pin, ()))}
        assert not kept & set(report.removed), "what was pinned went"
        self.tagged = {name: d for name, d in self.tagged.items() if d not in report.removed}
        self._count_partials()

    def _count_partials(self) -> set[Digest]:
        """Those that went."""
        names = {path.name for path in (self.root / "ingest").iterdir()}
        for digest in self.writing:
            assert f"sha256-{digest.hex}" in names, "what is being written went"
        gone = {digest for digest in self.partial if f"sha256-{digest.hex}" not in names}
        self.partial = {digest: n for digest, n in self.partial.items() if digest not in gone}
        return gone

    @rule(side=sides)
    def tidy(self, side: int) -> None:
        self._look_at_manifests(side)
        assert tidy(self.stores[side], self.tags[side]).removed == ()
        gone = self._count_partials()
        assert bool(gone) <= (self.clock.time() - self.began > 7 * DAY), "somebody may still go on with it"

    @rule(days=st.sampled_from([2, 8]))
    def pass_time(self, days: int) -> None:
        self.clock.advance(days * DAY)

    # -- what goes wrong -----------------------------------------------------------------------------

    @rule(digest=digests)
    def damage(self, digest: Digest) -> None:
        if digest in self.stored:
            blob_path(self.root, digest).write_bytes(b"?" * len(CONTENT[digest]))
            self.damaged.add(digest)

    @rule(side=sides)
    def scrub(self, side: int) -> None:
        report = scrub(self.stores[side])
        assert (set(report.damaged), report.checked) == (self.damaged, len(self.stored))
        self._notice()
        assert self.damaged == set()

    # -- always --------------------------------------------------------------------------------------

    @invariant()
    def both_stores_the_disk_and_the_lists_agree_with_the_model(self) -> None:
        if not hasattr(self, "root"):
            return
        self.clock.advance(SECONDS)
        assert {Digest("sha256", path.name) for path in wrong_blobs(self.root)} == self.damaged
        for store, tags in zip(self.stores, self.tags, strict=True):
            assert {blob.digest for blob in store.blobs()} == self.stored
            assert store.pinned() == self.pinned
            assert {record.tag: record.descriptor.digest for record in tags.records()} == self.tagged
            for manifest in MANIFESTS:
                remembered = store.recall_manifest(manifest.digest)
                assert remembered is None or manifest.digest in self.stored

    @rule(side=sides)
    def list(self, side: int) -> None:
        """Each byte once, each name once."""
        self._look_at_manifests(side)
        stock = Stock(self.stores[side], self.tags[side])
        assert {blob.digest for blob in stock.blobs} == self.stored
        assert stock.blob_bytes == sum(len(CONTENT[digest]) for digest in self.stored)
        named = {tag.tag: image.root for image in stock.images for tag in image.tags}
        there = {name: digest for name, digest in self.tagged.items() if digest in self.stored}
        assert named == there
        for each in stock.images:
            needed = {
                need for digest in each.blobs for need in NEEDS.get(digest, set()) if digest != TOP.digest
            }
            assert each.missing == len(needed - self.stored)
        assert sum(each.own_bytes for each in stock.images) <= stock.blob_bytes


ImagesMachine.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestImagesState = ImagesMachine.TestCase
