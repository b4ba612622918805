"""Anything in any order: ingests, pieces, commits, readers, images, evictions, damage, crashes.

A model says what must be true after each step; the store must agree with it, and the disk with both."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from disks import blob_path, image, index, wrong_blobs
from sampan.errors import ContentMismatch
from sampan.oci import Digest, Index, Manifest
from sampan.store import DiskStore, OpenBlob, TagStore, evict, scrub
from sampan.store.ingest import FileIngest
from sampan.store.leftovers import leftovers
from sampan.testing import ManualClock

LAYERS = [bytes([number]) * (number * 100) for number in range(6)]
IMAGES = [image(*LAYERS[first : first + 2], config=LAYERS[0]) for first in range(1, 5)]
INDEXES = [index(*IMAGES[:2]), index(*IMAGES[1:3])]
MANIFESTS: list[Manifest | Index] = [*IMAGES, *INDEXES]
CONTENT = {Digest.of(data): data for data in [*LAYERS, *(manifest.raw for manifest in MANIFESTS)]}
NEEDS = {m.digest: {descriptor.digest for descriptor in m.references} for m in MANIFESTS}

Bytes = dict[int, int]
"""By position."""

digests = st.sampled_from(sorted(CONTENT))
manifests = st.integers(0, len(MANIFESTS) - 1).map(MANIFESTS.__getitem__)


class StoreMachine(RuleBasedStateMachine):
    """``stored`` is the model: what the store must have. Eviction alone may choose. ``written``: the bytes
    of each ingest; ``left``: those of ingests that ended and may be taken up again."""

    ingests = Bundle("ingests")
    readers = Bundle("readers")

    @initialize()
    def begin(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="sampan-state-", dir="/dev/shm"))
        self.clock = ManualClock()
        self.stored: set[Digest] = set()
        self.damaged: set[Digest] = set()
        self.pinned: set[Digest] = set()
        self.held: list[Digest] = []
        self.live: list[FileIngest] = []
        self.written: dict[FileIngest, Bytes] = {}
        self.left: dict[Digest, Bytes] = {}
        self.open_blobs: list[OpenBlob] = []
        self._start()

    def _start(self) -> None:
        self.store = DiskStore(self.root, self.clock)
        self.tags = TagStore(self.root / "tags", self.clock)

    def teardown(self) -> None:
        if hasattr(self, "root"):
            self._drop_all()
            shutil.rmtree(self.root)

    def _drop_all(self) -> None:
        """All that a dying process lets go of: its files, and the locks on them."""
        for ingest in self.live:
            ingest._file.close()
            if ingest._note is not None:
                ingest._note.close()
            if ingest.resumable:
                self.left[ingest.digest] = self.written[ingest]
        for blob in self.open_blobs:
            blob.close()
        self.live, self.open_blobs, self.held = [], [], []
        self.store.close()
        self.tags.close()

    # -- in ------------------------------------------------------------------------------------------

    @rule(target=ingests, digest=digests, told=st.booleans())
    def ingest(self, digest: Digest, told: bool) -> FileIngest:
        ingest = self.store.ingest(digest, len(CONTENT[digest]) if told else None)
        self.live.append(ingest)
        self.written[ingest] = self.left.pop(digest, {}) if ingest.resumable else {}
        assert ingest.resumed_bytes == len(self.written[ingest])
        self._check_bytes(ingest)
        return ingest

    def _check_bytes(self, ingest: FileIngest) -> None:
        """What is said to be there is there, all of it and nothing else."""
        data, written = ingest.path.read_bytes(), self.written[ingest]
        there = [position for start, stop in ingest.spans for position in range(start, stop)]
        assert {position: data[position] for position in there} == written
        assert ingest.offset == next(n for n in range(len(written) + 1) if n not in written)

    @rule(ingest=ingests, count=st.integers(1, 300), honest=st.integers(0, 9))
    def write(self, ingest: FileIngest, count: int, honest: int) -> None:
        if ingest in self.live:
            start = ingest.offset
            data = CONTENT[ingest.digest][start : start + count]
            self._place(ingest, start, data if honest else data[:-1] + b"?" * bool(data), write=True)

    @rule(ingest=ingests, place=st.integers(0, 500), count=st.integers(1, 300), honest=st.integers(0, 9))
    def place(self, ingest: FileIngest, place: int, count: int, honest: int) -> None:
        if ingest in self.live:
            start = min(max(place, ingest.offset), len(CONTENT[ingest.digest]))
            data = CONTENT[ingest.digest][start : start + count]
            self._place(ingest, start, data if honest else data[:-1] + b"?" * bool(data), write=False)

    def _place(self, ingest: FileIngest, start: int, data: bytes, *, write: bool) -> None:
        ingest.write(data) if write else ingest.place(start, data)
        self.written[ingest] |= dict(enumerate(data, start))
        self._check_bytes(ingest)

    @rule(ingest=ingests, start=st.integers(0, 500), count=st.integers(1, 300))
    def forget(self, ingest: FileIngest, start: int, count: int) -> None:
        if ingest in self.live:
            ingest.forget(start, start + count)
            written = self.written[ingest]
            self.written[ingest] = {p: b for p, b in written.items() if not start <= p < start + count}
            self._check_bytes(ingest)

    @rule(ingest=ingests, stop=st.integers(0, 300))
    def rewind(self, ingest: FileIngest, stop: int) -> None:
        if ingest in self.live:
            stop = min(stop, ingest.offset)
            ingest.rewind(stop)
            self.written[ingest] = {p: b for p, b in self.written[ingest].items() if p < stop}
            self._check_bytes(ingest)

    @rule(ingest=consumes(ingests))
    def commit(self, ingest: FileIngest) -> None:
        if ingest not in self.live:
            return
        self.live.remove(ingest)
        whole = self.written[ingest] == dict(enumerate(CONTENT[ingest.digest]))
        assert ingest.matches() == whole
        try:
            ingest.commit()
        except ContentMismatch:
            assert not whole
        else:
            assert whole
            self._is_stored(ingest.digest)

    @rule(ingest=ingests)
    def finish(self, ingest: FileIngest) -> None:
        """Go on to the end, as a good download does: on good bytes it must succeed."""
        if ingest not in self.live:
            return
        content = CONTENT[ingest.digest]
        for position, byte in self.written[ingest].items():
            if byte != content[position]:
                ingest.forget(position, position + 1)
        for start, stop in reversed(ingest.spans.gaps(len(content))):
            ingest.place(start, content[start:stop])
        self.live.remove(ingest)
        assert ingest.commit() == len(content)
        self._is_stored(ingest.digest)

    @rule(ingest=consumes(ingests), keep=st.booleans())
    def leave(self, ingest: FileIngest, keep: bool) -> None:
        if ingest in self.live:
            self.live.remove(ingest)
            ingest.suspend() if keep else ingest.discard()
            if keep and ingest.resumable:
                self.left[ingest.digest] = self.written[ingest]

    @rule(target=ingests, ingest=consumes(ingests), told=st.booleans(), killed=st.booleans())
    def come_back(self, ingest: FileIngest, told: bool, killed: bool) -> Any:
        """One is left, or its process is killed, and the next takes it up."""
        if ingest not in self.live:
            return multiple()
        if killed:
            self._drop_all()
            self._start()
        else:
            self.leave(ingest, keep=True)
        return self.ingest(ingest.digest, told)

    @rule(digest=digests)
    def put(self, digest: Digest) -> None:
        self.store.put(digest, CONTENT[digest])
        self._is_stored(digest)

    @rule(manifest=manifests, tag=st.sampled_from(["", "1", "2"]))
    def put_manifest(self, manifest: Manifest | Index, tag: str) -> None:
        self.store.put_manifest(manifest)
        self._is_stored(manifest.digest)
        if tag:
            self.tags.put("r.example", "app", tag, manifest.descriptor, host="h", now=self.clock.time())

    def _is_stored(self, digest: Digest) -> None:
        self.stored.add(digest)
        self.damaged.discard(digest)

    # -- out -----------------------------------------------------------------------------------------

    @rule(digest=digests)
    def read(self, digest: Digest) -> None:
        found = self.store.read(digest, size_max=10_000)
        assert found == (CONTENT[digest] if digest in self.stored - self.damaged else None)
        self._notice(digest)

    @rule(digest=digests)
    def verify(self, digest: Digest) -> None:
        assert self.store.verify(digest) == (digest in self.stored - self.damaged)
        self._notice(digest)

    @rule(manifest=manifests)
    def get_manifest(self, manifest: Manifest | Index) -> None:
        found = self.store.get_manifest(manifest.digest)
        assert found is None or (found == manifest and found.raw == manifest.raw)
        if self.store.stat(manifest.digest) is None:
            self._notice(manifest.digest)

    @rule(target=readers, digest=digests)
    def open(self, digest: Digest) -> Any:
        blob = self.store.open(digest, len(CONTENT[digest]))
        if blob is None:
            assert digest not in self.stored - self.damaged
            self._notice(digest)
            return multiple()
        assert digest in self.stored
        self.open_blobs.append(blob)
        return blob

    @rule(blob=consumes(readers))
    def close(self, blob: OpenBlob) -> None:
        if blob in self.open_blobs:
            self.open_blobs.remove(blob)
            if blob.digest not in self.damaged:
                assert os.pread(blob.file.fileno(), 10_000, 0) in (
                    CONTENT[blob.digest],
                    _damaged(blob.digest),
                )
            blob.close()

    def _notice(self, digest: Digest) -> None:
        """The damage has been seen: the blob is in quarantine."""
        if digest in self.damaged:
            self.damaged.discard(digest)
            self.stored.discard(digest)

    # -- what may go ---------------------------------------------------------------------------------

    @rule(digest=digests, seconds=st.integers(0, 200))
    def pin(self, digest: Digest, seconds: int) -> None:
        self.clock.advance(seconds)
        if digest in self.pinned:
            self.store.unpin(digest)
        else:
            self.store.pin(digest)
        self.pinned ^= {digest}

    @rule(digest=digests)
    def remove(self, digest: Digest) -> None:
        kept = digest in self.pinned or digest in {blob.digest for blob in self.open_blobs}
        assert self.store.remove(digest) == (digest in self.stored and not kept)
        if not kept:
            self.stored.discard(digest)
            self.damaged.discard(digest)

    @rule(size=st.integers(0, 3000))
    def evict(self, size: int) -> None:
        before, known = set(self.stored), set(self.store.manifest_digests())
        in_use = {blob.digest for blob in self.open_blobs} | self.pinned
        report = evict(self.store, self.tags, size)
        for digest in known:
            self.store.peek_manifest(digest)  # a damaged one goes to quarantine, if not by the sweep
        left = {blob.digest for blob in self.store.blobs()}
        self.damaged = {digest for digest in self.damaged if digest in left}
        self.stored = left
        assert set(report.removed) <= before - left
        assert not (before - left) & in_use - self._damaged_manifests(before)
        for digest in left & known:
            assert not NEEDS[digest] & set(report.removed), "a kept manifest lost what it needs"
        assert report.used_bytes <= size or "all that is left" in report.reason
        order = {digest: place for place, digest in enumerate(report.removed)}
        for manifest in order.keys() & known:
            for need in NEEDS[manifest] & order.keys():
                assert order[manifest] < order[need], "a blob went before its manifest"
        for ingest in self.live:
            assert ingest.path.exists()
        partials = {leftover.name for leftover in leftovers(self.store.ingests)}
        self.left = {d: b for d, b in self.left.items() if f"{d.algorithm}-{d.hex}" in partials}

    def _damaged_manifests(self, among: set[Digest]) -> set[Digest]:
        return {digest for digest in among & NEEDS.keys() if self.store.stat(digest) is None}

    @rule()
    def scrub(self) -> None:
        assert set(scrub(self.store).damaged) == self.damaged
        for digest in set(self.damaged):
            self._notice(digest)

    # -- what goes wrong -----------------------------------------------------------------------------

    @rule(digest=digests)
    def damage(self, digest: Digest) -> None:
        # Of the same size: another would be found sooner, and is tested elsewhere.
        if digest in self.stored and CONTENT[digest]:
            blob_path(self.root, digest).write_bytes(_damaged(digest))
            self.damaged.add(digest)

    @rule()
    def crash(self) -> None:
        """The process dies, and another takes over the directory."""
        self._drop_all()
        self._start()

    @rule()
    @precondition(lambda self: len(self.live) < 4)
    def second_process(self) -> None:
        """Another process uses the directory for a moment."""
        other = DiskStore(self.root, self.clock)
        ingest = other.ingest(Digest.of(LAYERS[5]))
        in_flight = any(each.digest == ingest.digest and each.resumable for each in self.live)
        assert ingest.resumable != in_flight
        if ingest.resumable:
            self.left.pop(ingest.digest, None)
        ingest.rewind()
        ingest.write(LAYERS[5])
        ingest.commit()
        other.close()
        self.store.recount()
        self._is_stored(Digest.of(LAYERS[5]))

    # -- always --------------------------------------------------------------------------------------

    @invariant()
    def disk_and_model_agree(self) -> None:
        if not hasattr(self, "root"):
            return
        found = {blob.digest: blob.size for blob in self.store.blobs()}
        assert found.keys() == self.stored
        assert {Digest("sha256", path.name) for path in wrong_blobs(self.root)} == self.damaged
        for digest in CONTENT:
            assert self.store.stat(digest) == found.get(digest)
        assert self.store.usage() == sum(found.values())
        assert self.store.pinned() == self.pinned
        notes = set((self.root / "pieces").iterdir())
        files = {self.root / "pieces" / path.name for path in (self.root / "ingest").iterdir()}
        assert notes <= files, "a note outlived its partial"


def _damaged(digest: Digest) -> bytes:
    return b"?" * len(CONTENT[digest])


StoreMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestStoreState = StoreMachine.TestCase
