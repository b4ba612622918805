"""Killed at every step: what is visible is right, and work goes on from there."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from disks import image, put_image, wrong_blobs
from dying import killed_at_each_step
from sampan.oci import Digest
from sampan.store import DiskStore, TagStore, evict, tidy
from sampan.testing import ManualClock

LAYERS = [bytes([number]) * (number * 5000) for number in range(1, 5)]
BIG = random.Random(1).randbytes(1024 * 1024)
BIG_DIGEST = Digest.of(BIG)


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """A killed process loses nothing that it gave to the kernel, so the tests need no real disk."""
    with tempfile.TemporaryDirectory(prefix="sampan-crash-", dir="/dev/shm") as path:
        yield Path(path)


def fresh(path: Path) -> tuple[Callable[[], None], list[Path]]:
    """A new directory for each round: (call to make the next, the list of those made)."""
    made: list[Path] = []
    return lambda: made.append(path / f"store-{len(made)}"), made


@pytest.mark.row("X2")
def test_a_commit_killed_at_any_step_leaves_a_partial_or_a_blob(memory_path: Path) -> None:
    prepare, roots = fresh(memory_path)

    def work() -> None:
        store = DiskStore(roots[-1])
        ingest = store.ingest(BIG_DIGEST, len(BIG))
        for start in range(0, len(BIG), 400_000):
            ingest.write(BIG[start : start + 400_000])
        ingest.commit()

    resumed = []
    for _ in killed_at_each_step(prepare, work):
        store = DiskStore(roots[-1])
        assert wrong_blobs(roots[-1]) == []
        if store.stat(BIG_DIGEST) is None:
            ingest = store.ingest(BIG_DIGEST, len(BIG))
            assert ingest.resumable
            resumed.append(ingest.rehash())
            ingest.write(BIG[ingest.offset :])
            ingest.commit()
        assert store.verify(BIG_DIGEST)
        assert store.usage() == len(BIG)
        store.close()
    assert {0, 400_000, 800_000, len(BIG)} <= set(resumed)


@pytest.mark.row("X2")
def test_pieces_killed_at_any_step_are_there_as_far_as_the_note_says(memory_path: Path) -> None:
    """It may say less than is there, by the piece that was being written; never more."""
    prepare, roots = fresh(memory_path)
    order = [(600_000, 700_000), (0, 200_000), (900_000, len(BIG)), (200_000, 600_000), (700_000, 900_000)]

    def work() -> None:
        store = DiskStore(roots[-1])
        ingest = store.ingest(BIG_DIGEST, len(BIG))
        for start, stop in order:
            ingest.place(start, BIG[start:stop])
        ingest.commit()

    resumed = []
    for _ in killed_at_each_step(prepare, work):
        store = DiskStore(roots[-1])
        assert wrong_blobs(roots[-1]) == []
        if store.stat(BIG_DIGEST) is None:
            ingest = store.ingest(BIG_DIGEST, len(BIG))
            assert ingest.resumable
            data = ingest.path.read_bytes()
            assert all(data[start:stop] == BIG[start:stop] for start, stop in ingest.spans)
            assert ingest.resumed_bytes == ingest.spans.total
            resumed.append(ingest.resumed_bytes)
            for start, stop in ingest.spans.gaps(len(BIG)):
                ingest.place(start, BIG[start:stop])
            ingest.commit()
        assert store.verify(BIG_DIGEST)
        assert store.usage() == len(BIG)
        assert list((roots[-1] / "pieces").iterdir()) == []
        store.close()
    assert resumed == sorted(resumed)
    sums = [sum(stop - start for start, stop in order[:count]) for count in range(len(order) + 1)]
    assert set(resumed) == set(sums)


@pytest.mark.row("X2")
def test_wrong_pieces_that_are_replaced_make_no_wrong_blob_whenever_it_is_killed(memory_path: Path) -> None:
    prepare, roots = fresh(memory_path)
    wrong = bytes(100_000)

    def work() -> None:
        store = DiskStore(roots[-1])
        ingest = store.ingest(BIG_DIGEST, len(BIG))
        ingest.place(500_000, wrong)
        ingest.place(600_000, BIG[600_000:])
        ingest.place(0, BIG[:500_000])
        assert not ingest.matches()
        ingest.forget(500_000, 600_000)
        ingest.place(500_000, BIG[500_000:600_000])
        ingest.commit()

    endings = set()
    for _ in killed_at_each_step(prepare, work):
        store = DiskStore(roots[-1])
        assert wrong_blobs(roots[-1]) == []
        if store.stat(BIG_DIGEST) is None:
            ingest = store.ingest(BIG_DIGEST, len(BIG))
            for start, stop in ingest.spans.gaps(len(BIG)):
                ingest.place(start, BIG[start:stop])
            is_right = ingest.matches()
            if not is_right:
                assert wrong in ingest.path.read_bytes()
                ingest.rewind()
                ingest.write(BIG)
            ingest.commit()
            endings.add(is_right)
        assert store.verify(BIG_DIGEST)
        assert list((roots[-1] / "pieces").iterdir()) == []
        store.close()
    assert endings == {True, False}


@pytest.mark.row("X2")
def test_an_ingest_that_begins_afresh_killed_at_any_step_is_taken_up(memory_path: Path) -> None:
    prepare, roots = fresh(memory_path)

    def work() -> None:
        store = DiskStore(roots[-1])
        ingest = store.ingest(BIG_DIGEST, len(BIG))
        ingest.place(500_000, bytes(100_000))
        ingest.rewind()
        ingest.write(BIG[:300_000])
        ingest.place(400_000, BIG[400_000:])
        ingest.rewind(100_000)
        ingest.place(900_000, BIG[900_000:])
        ingest.discard()

    for _ in killed_at_each_step(prepare, work):
        store = DiskStore(roots[-1])
        ingest = store.ingest(BIG_DIGEST, len(BIG))
        data = ingest.path.read_bytes()
        honest = [data[start:stop] == BIG[start:stop] for start, stop in ingest.spans]
        assert all(honest) or list(ingest.spans) == [(500_000, 600_000)]
        ingest.rewind()
        ingest.write(BIG)
        ingest.commit()
        assert store.verify(BIG_DIGEST)
        assert list((roots[-1] / "pieces").iterdir()) == []
        store.close()


@pytest.mark.row("X2")
def test_a_first_start_killed_at_any_step_can_be_repeated(memory_path: Path) -> None:
    prepare, roots = fresh(memory_path)
    for _ in killed_at_each_step(prepare, lambda: DiskStore(roots[-1]).close()):
        store = DiskStore(roots[-1])
        store.put_manifest(image(b"layer"))
        store.close()
        assert (roots[-1] / "oci-layout").read_bytes() == b'{"imageLayoutVersion": "1.0.0"}'


@pytest.mark.row("X2")
def test_a_manifest_and_its_tag_killed_at_any_step_are_whole_or_absent(memory_path: Path) -> None:
    prepare, roots = fresh(memory_path)
    old, new = image(LAYERS[0]), image(LAYERS[1])

    def prepare_old() -> None:
        prepare()
        store, tags = DiskStore(roots[-1]), TagStore(roots[-1] / "tags")
        store.put_manifest(old)
        tags.put("r.example", "app", "1", old.descriptor, host="h", now=1.0)
        store.close()
        tags.close()

    def work() -> None:
        DiskStore(roots[-1]).put_manifest(new)
        TagStore(roots[-1] / "tags").put("r.example", "app", "1", new.descriptor, host="h", now=2.0)

    seen = set()
    for _ in killed_at_each_step(prepare_old, work):
        store, tags = DiskStore(roots[-1]), TagStore(roots[-1] / "tags")
        record = tags.get("r.example", "app", "1")
        assert record is not None
        assert record.descriptor in (old.descriptor, new.descriptor)
        assert store.get_manifest(record.descriptor.digest) is not None
        seen.add(record.descriptor.digest)
        assert wrong_blobs(roots[-1]) == []
        store.close()
        tags.close()
    assert seen == {old.digest, new.digest}


@pytest.mark.row("X2")
def test_an_eviction_killed_at_any_step_keeps_no_manifest_without_its_blobs(memory_path: Path) -> None:
    prepare, roots = fresh(memory_path)
    images = [image(LAYERS[0], LAYERS[number], config=b"%d" % number) for number in (1, 2, 3)]

    def prepare_images() -> None:
        prepare()
        clock = ManualClock()
        store, tags = DiskStore(roots[-1], clock), TagStore(roots[-1] / "tags", clock)
        for number in (1, 2, 3):
            clock.advance(100)
            made = put_image(store, LAYERS[0], LAYERS[number], config=b"%d" % number)
            tags.put("r.example", "app", str(number), made.descriptor, host="h", now=clock.time())
        store.close()
        tags.close()

    def work() -> None:
        store, tags = DiskStore(roots[-1], ManualClock(2e6)), TagStore(roots[-1] / "tags")
        evict(store, tags, 0)

    kept = set()
    for _ in killed_at_each_step(prepare_images, work):
        store, tags = DiskStore(roots[-1], ManualClock(2e6)), TagStore(roots[-1] / "tags")
        left = {blob.digest for blob in store.blobs()}
        for each in images:
            if store.get_manifest(each.digest) is not None:
                assert {descriptor.digest for descriptor in each.references} <= left
        kept.add(sum(each.digest in left for each in images))
        tidy(store, tags)
        assert store.ingests.names() == []
        assert evict(store, tags, 0).used_bytes == 0
        store.close()
        tags.close()
    assert kept == {0, 1, 2, 3}
