"""Two stores on one directory, as two processes have it: neither takes away what the other wants now."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from disks import image, index, put_image, wrong_blobs
from dying import ended, in_child
from sampan.oci import Digest, Index, Manifest
from sampan.store import BeingWritten, DiskStore, TagStore, evict, remove, tidy
from sampan.store.directory import try_lock
from sampan.store.ingest import FileIngest
from sampan.store.manifests import LOOK_AGAIN_SECONDS
from sampan.testing import ManualClock

LAYER, OTHER = b"layer" * 1000, b"other" * 1000


class Pair:
    """``here`` sweeps, ``there`` serves."""

    def __init__(self, path: Path) -> None:
        self.clock = ManualClock()
        self.here, self.there = DiskStore(path, self.clock), DiskStore(path, self.clock)
        self.tags = TagStore(path / "tags", self.clock)

    def put(self, *layers: bytes, config: bytes = b"{}") -> Manifest:
        """By the other process, an hour ago."""
        made = put_image(self.there, *layers, config=config)
        self.clock.advance(3600)
        return made

    def once_listed(self, then: Callable[[], object]) -> None:
        """Do that when a sweep here has listed the blobs, and before it removes any."""
        peek = self.here.peek_manifest

        def late(digest: Digest) -> Manifest | Index | None:
            self.here.peek_manifest = peek  # type: ignore[method-assign]
            then()
            return peek(digest)

        self.here.peek_manifest = late  # type: ignore[method-assign]

    def has(self, *data: bytes) -> list[bool]:
        return [self.here.stat(Digest.of(each)) is not None for each in data]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path / "store")
    yield pair
    for each in (pair.here, pair.there, pair.tags):
        each.close()


# -- what another process wants ----------------------------------------------------------------------


def test_what_another_process_names_in_a_new_manifest_survives_a_sweep_that_has_chosen(pair: Pair) -> None:
    old = pair.put(LAYER)
    new = image(LAYER, config=b"new")
    pair.once_listed(lambda: pair.there.put_manifest(new))
    report = evict(pair.here, pair.tags, 0)
    assert pair.has(LAYER, new.raw, old.raw) == [True, True, False]
    assert "in use" in report.reason


def test_what_another_process_begins_to_serve_survives_a_sweep_that_has_chosen(pair: Pair) -> None:
    pair.put(LAYER)

    def serve() -> None:
        blob = pair.there.open(Digest.of(LAYER))
        assert blob is not None
        blob.close()

    pair.once_listed(serve)
    evict(pair.here, pair.tags, 0)
    assert pair.has(LAYER) == [True]


@pytest.mark.row("P6")
def test_what_another_process_wants_in_the_very_moment_of_its_removal_comes_back(pair: Pair) -> None:
    """Between the look at its stamp and its move."""
    pair.put(LAYER)
    new = image(LAYER, config=b"new")
    blobs = pair.here._blobs["sha256"]
    look = blobs.stat

    def late(name: str) -> os.stat_result | None:
        found = look(name)
        if name == Digest.of(LAYER).hex:
            blobs.stat = look  # type: ignore[method-assign]
            pair.there.put_manifest(new)
        return found

    pair.once_listed(lambda: setattr(blobs, "stat", late))
    evict(pair.here, pair.tags, 0)
    assert pair.has(LAYER, new.raw) == [True, True]
    assert list((pair.here.root / "ingest").iterdir()) == []


def test_what_another_process_pins_survives_a_sweep_that_has_begun(pair: Pair) -> None:
    child = pair.put(LAYER)
    top = index(child)
    pair.there.put_manifest(top)
    pair.clock.advance(3600)
    pair.once_listed(lambda: pair.there.pin(child.digest))
    evict(pair.here, pair.tags, 0)
    assert pair.has(child.raw, LAYER, b"{}", top.raw) == [True, True, True, False]


@pytest.mark.row("P6")
def test_a_blob_that_is_open_elsewhere_is_read_to_its_end_though_it_goes(pair: Pair) -> None:
    pair.put(LAYER)
    blob = pair.there.open(Digest.of(LAYER))
    assert blob is not None
    pair.clock.advance(3600)
    evict(pair.here, pair.tags, 0)
    with blob:
        assert blob.file.read() == LAYER
    assert pair.has(LAYER) == [False]


def test_a_manifest_that_another_process_removes_is_soon_forgotten_here(pair: Pair) -> None:
    made = pair.put(LAYER)
    assert pair.there.recall_manifest(made.digest) == made
    remove(pair.here, pair.tags, [(made.digest, None)])
    assert pair.there.recall_manifest(made.digest) == made, "from memory, and right"
    pair.clock.advance(LOOK_AGAIN_SECONDS)
    assert pair.there.recall_manifest(made.digest) is None
    assert pair.there.get_manifest(made.digest) is None
    pair.there.put_manifest(made)
    assert pair.has(made.raw) == [True]


# -- sweeps ------------------------------------------------------------------------------------------


def test_two_sweeps_at_once_do_not_both_free_the_room(pair: Pair) -> None:
    """The second one looks when the first is done."""
    for number in range(8):
        pair.put(bytes([number]) * 10_000, config=b"%d" % number)
    tags = TagStore(pair.here.root / "tags", pair.clock)
    limit = pair.here.recount() // 2
    reports = []
    work = [
        threading.Thread(target=lambda s=store, t=t: reports.append(evict(s, t, limit)))
        for store, t in ((pair.here, pair.tags), (pair.there, tags))
    ]
    for each in work:
        each.start()
    for each in work:
        each.join()
    assert sorted(bool(report.removals) for report in reports) == [False, True]
    assert limit - 10_600 < pair.here.recount() <= limit
    tags.close()


def test_a_dry_run_counts_no_partial_that_another_process_writes(pair: Pair) -> None:
    ingest = pair.there.ingest(Digest.of(LAYER), len(LAYER))
    ingest.write(LAYER[:100])
    dry = evict(pair.here, pair.tags, 0, dry_run=True)
    assert (dry.removals, dry) == ((), evict(pair.here, pair.tags, 0))
    ingest.suspend()
    dry = evict(pair.here, pair.tags, 0, dry_run=True)
    assert [removal.size for removal in dry.removals] == [100]
    assert evict(pair.here, pair.tags, 0) == dry


def test_a_sweep_that_cannot_lock_is_done_all_the_same(pair: Pair) -> None:
    (pair.here.root / "sweep.lock").mkdir()
    pair.put(LAYER)
    evict(pair.here, pair.tags, 0)
    assert pair.has(LAYER) == [False]


def test_a_sweep_killed_with_the_lock_keeps_nobody_waiting(pair: Pair) -> None:
    """The lock is the open file's: it ends with the process. A minute would be too long for this test."""
    reading, writing = os.pipe()

    def work() -> None:
        file = pair.there.top.open_or_create("sweep.lock")
        os.write(writing, b"locked" if try_lock(file) else b"not locked")
        signal.pause()

    pid = in_child(work)
    try:
        assert os.read(reading, 100) == b"locked"
        with pair.here.top.open_or_create("sweep.lock") as file:
            assert not try_lock(file)
    finally:
        os.kill(pid, signal.SIGKILL)
        assert ended(pid) == -signal.SIGKILL
        os.close(reading)
        os.close(writing)
    tidy(pair.here, pair.tags)


# -- a blob that both lack ---------------------------------------------------------------------------


def test_a_partial_that_another_writes_is_not_taken_up_but_seen_to_grow(pair: Pair) -> None:
    ingest = pair.there.ingest(Digest.of(LAYER), len(LAYER))
    seen = [pair.here.take_up(Digest.of(LAYER))]
    for _ in range(2):
        ingest.write(LAYER[:1000])
        seen.append(pair.here.take_up(Digest.of(LAYER)))
    assert all(isinstance(each, BeingWritten) for each in seen)
    assert len(set(map(repr, seen))) == 3
    assert len(list((pair.here.root / "ingest").iterdir())) == 1, "none of its own is begun beside it"
    ingest.suspend()
    mine = pair.here.take_up(Digest.of(LAYER))
    assert isinstance(mine, FileIngest)
    assert mine.resumed_bytes == 2000
    mine.discard()


def test_a_blob_whose_pieces_cannot_be_noted_is_begun_at_once(pair: Pair) -> None:
    name = f"sha256-{Digest.of(LAYER).hex}"
    (pair.here.root / "pieces" / name).mkdir()
    (pair.here.root / "pieces" / name / "x").touch()
    mine = pair.here.take_up(Digest.of(LAYER), len(LAYER))
    assert isinstance(mine, FileIngest)
    assert not mine.resumable
    mine.write(LAYER)
    mine.commit()
    assert wrong_blobs(pair.here.root) == []


# -- what refers to what -----------------------------------------------------------------------------


def test_referrers_are_found_whoever_stored_them_and_whenever(pair: Pair) -> None:
    subject = pair.put(LAYER)
    assert pair.here.referrers(subject.digest) == []
    first, second = referring(subject, b"1"), referring(subject, b"2")
    pair.there.put_manifest(first)
    assert pair.here.referrers(subject.digest) == [first]
    pair.here.put_manifest(second)
    found = sorted([first, second], key=lambda each: each.digest)
    assert pair.here.referrers(subject.digest) == pair.there.referrers(subject.digest) == found
    assert pair.there.remove(first.digest)
    assert pair.here.referrers(subject.digest) == [second]
    assert pair.here.referrers(second.digest) == []


def referring(subject: Manifest, config: bytes) -> Manifest:
    made = image(OTHER, config=config, subject=subject)
    assert made.subject is not None
    return made
