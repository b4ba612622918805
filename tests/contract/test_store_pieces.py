"""What every store promises of bytes that come in any order, and of the note that tells which are there.

Asked of a new store, of one that was closed and opened again, and of one whose directory a second store
uses at the same time, as in test_store_contract.py.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from disks import mounted, remount, wrong_blobs
from sampan.errors import ContentMismatch, StoreFull
from sampan.oci import Digest
from sampan.store import DiskStore, TagStore, tidy
from sampan.store.ingest import FileIngest
from sampan.store.spans import Spans
from sampan.testing import ManualClock, random_bytes

KIB, MIB = 1024, 1024 * 1024
DATA = random_bytes(5, 60_000)
DIGEST, SIZE = Digest.of(DATA), len(DATA)
NAME = f"{DIGEST.algorithm}-{DIGEST.hex}"


@pytest.fixture(params=["new", "opened again", "shared"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DiskStore]:
    others = [] if request.param == "new" else [DiskStore(tmp_path / "store", ManualClock())]
    if request.param == "opened again":
        others.pop().close()
    made = DiskStore(tmp_path / "store", ManualClock())
    yield made
    for each in (made, *others):
        each.close()


def place(ingest: FileIngest, *ranges: tuple[int, int]) -> None:
    for start, stop in ranges:
        ingest.place(start, DATA[start:stop])


def spans(ingest: FileIngest) -> list[tuple[int, int]]:
    return list(ingest.spans)


def partial(store: DiskStore) -> Path:
    return store.root / "ingest" / NAME


def note(store: DiskStore) -> Path:
    return store.root / "pieces" / NAME


def left_with_holes(store: DiskStore) -> None:
    """An ingest that an earlier run left: 20 kB are there, in two pieces."""
    ingest = store.ingest(DIGEST, SIZE)
    place(ingest, (0, 10_000), (30_000, 40_000))
    ingest.suspend()


# -- in any order ------------------------------------------------------------------------------------


def test_pieces_in_any_order_become_the_blob(store: DiskStore) -> None:
    ingest = store.ingest(DIGEST, SIZE)
    place(ingest, (50_000, SIZE), (20_000, 30_000), (0, 20_000))
    assert spans(ingest) == [(0, 30_000), (50_000, SIZE)]
    assert not ingest.matches()
    place(ingest, (30_000, 50_000))
    assert ingest.matches()
    assert ingest.commit() == SIZE
    assert store.read(DIGEST, size_max=SIZE) == DATA
    assert not note(store).exists()


def test_the_offset_is_where_the_first_hole_begins(store: DiskStore) -> None:
    ingest = store.ingest(DIGEST, SIZE)
    place(ingest, (10_000, 20_000))
    assert ingest.offset == 0
    place(ingest, (0, 5_000))
    assert ingest.offset == 5_000
    place(ingest, (5_000, 10_000))
    assert ingest.offset == 20_000
    ingest.discard()


def test_a_whole_blob_is_found_right_however_much_is_still_to_be_hashed(store: DiskStore) -> None:
    """The hash follows some MiB at a time, for those who wait to write meanwhile."""
    data = random_bytes(6, 21 * MIB)
    ingest = store.ingest(Digest.of(data), len(data))
    ingest.place(MIB, data[MIB:])
    ingest.place(0, data[:MIB])
    assert ingest.offset < len(data)
    assert ingest.matches()
    assert ingest.commit() == len(data)


def test_writing_goes_on_behind_what_is_there_without_a_gap(store: DiskStore) -> None:
    ingest = store.ingest(DIGEST, SIZE)
    place(ingest, (0, 10_000), (20_000, 30_000))
    ingest.write(DATA[10_000:20_000])
    ingest.write(DATA[30_000:])
    assert ingest.commit() == SIZE


def test_wrong_bytes_behind_a_hole_are_never_committed(store: DiskStore) -> None:
    ingest = store.ingest(DIGEST, SIZE)
    ingest.place(30_000, bytes(30_000))
    place(ingest, (0, 30_000))
    assert not ingest.matches()
    with pytest.raises(ContentMismatch):
        ingest.commit()
    assert store.stat(DIGEST) is None
    assert not note(store).exists()


def test_a_blob_with_a_hole_is_never_committed(store: DiskStore) -> None:
    """Its file has the right length."""
    ingest = store.ingest(DIGEST, SIZE)
    place(ingest, (0, 10_000), (20_000, SIZE))
    with pytest.raises(ContentMismatch):
        ingest.commit()
    assert store.stat(DIGEST) is None


def test_a_piece_beyond_the_size_is_refused_and_not_written(store: DiskStore) -> None:
    ingest = store.ingest(DIGEST, 10)
    with pytest.raises(ContentMismatch, match="more than the 10 bytes"):
        ingest.place(8, b"abc")
    assert spans(ingest) == []
    ingest.discard()


def test_bytes_that_were_hashed_are_not_written_over(store: DiskStore) -> None:
    """The hash would speak of other bytes than those on disk."""
    ingest = store.ingest(DIGEST, SIZE)
    place(ingest, (0, SIZE))
    with pytest.raises(ValueError, match="there already"):
        ingest.place(100, b"?")
    assert ingest.commit() == SIZE
    assert wrong_blobs(store.root) == []


def test_many_threads_place_pieces_of_one_blob(store: DiskStore) -> None:
    ingest = store.ingest(DIGEST, SIZE)
    starts = iter(range(0, SIZE, 1000))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                start = next(starts, None)
            if start is None:
                return
            place(ingest, (start, start + 1000))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ingest.commit() == SIZE


def test_what_is_there_can_be_asked_while_another_thread_writes(store: DiskStore) -> None:
    """The event loop asks, and must not wait for a disk."""
    ingest = store.ingest(DIGEST, SIZE)
    place(ingest, (0, 10_000))
    with ingest._lock:
        asked = threading.Thread(target=lambda: (ingest.spans, ingest.offset))
        asked.start()
        asked.join(5)
        assert not asked.is_alive()
    ingest.discard()


# -- forgotten, and read -----------------------------------------------------------------------------


def test_what_is_forgotten_is_missing_and_may_be_placed_anew(store: DiskStore) -> None:
    ingest = store.ingest(DIGEST, SIZE)
    ingest.write(DATA[:20_000] + bytes(10_000) + DATA[30_000:])
    assert not ingest.matches()
    ingest.forget(20_000, 30_000)
    assert spans(ingest) == [(0, 20_000), (30_000, SIZE)]
    assert ingest.offset == 20_000
    assert not ingest.matches()
    place(ingest, (20_000, 30_000))
    assert ingest.matches()
    assert ingest.commit() == SIZE
    assert wrong_blobs(store.root) == []


def test_what_is_on_disk_can_be_read_before_it_is_verified(store: DiskStore) -> None:
    ingest = store.ingest(DIGEST, SIZE)
    place(ingest, (30_000, 40_000))
    assert ingest.read(31_000, 32_000) == DATA[31_000:32_000]
    ingest.discard()


def test_what_was_resumed_and_then_forgotten_was_not_resumed(store: DiskStore) -> None:
    left_with_holes(store)
    ingest = store.ingest(DIGEST, SIZE)
    assert ingest.resumed_bytes == 20_000
    ingest.forget(0, 10_000)
    assert ingest.resumed_bytes == 10_000
    ingest.discard()


# -- taken up again ----------------------------------------------------------------------------------


def test_pieces_of_an_earlier_life_are_there_again(store: DiskStore) -> None:
    left_with_holes(store)
    ingest = store.ingest(DIGEST, SIZE)
    assert (spans(ingest), ingest.offset) == ([(0, 10_000), (30_000, 40_000)], 10_000)
    assert (ingest.resumable, ingest.resumed_bytes) == (True, 20_000)
    assert ingest.rehash() == 10_000
    place(ingest, (40_000, SIZE), (10_000, 30_000))
    assert ingest.commit() == SIZE
    assert not note(store).exists()


def test_pieces_are_there_again_after_a_process_that_only_died(store: DiskStore) -> None:
    ingest = store.ingest(DIGEST, SIZE)
    place(ingest, (30_000, 40_000), (0, 10_000), (50_000, SIZE))
    ingest._file.close()  # with it goes the lock
    again = store.ingest(DIGEST, SIZE)
    assert spans(again) == [(0, 10_000), (30_000, 40_000), (50_000, SIZE)]
    again.discard()
    ingest._note.close()  # type: ignore[union-attr]  # a killed process leaves no object behind


def test_one_that_was_left_twice_is_taken_up_twice(store: DiskStore) -> None:
    left_with_holes(store)
    ingest = store.ingest(DIGEST, SIZE)
    place(ingest, (45_000, 46_000))
    ingest.forget(0, 10_000)
    ingest.suspend()
    again = store.ingest(DIGEST, SIZE)
    assert spans(again) == [(30_000, 40_000), (45_000, 46_000)]
    assert again.offset == 0
    place(again, (0, 30_000), (40_000, 45_000), (46_000, SIZE))
    assert again.commit() == SIZE


def test_a_piece_beyond_the_file_is_not_believed(store: DiskStore) -> None:
    """After a power cut the note may know more than the disk has."""
    left_with_holes(store)
    os.truncate(partial(store), 35_000)
    ingest = store.ingest(DIGEST, SIZE)
    assert spans(ingest) == [(0, 10_000), (30_000, 35_000)]
    ingest.discard()


def test_a_note_that_says_more_than_is_true_never_makes_a_wrong_blob(store: DiskStore) -> None:
    left_with_holes(store)
    note(store).write_text(Spans([(0, 40_000)]).as_text())
    ingest = store.ingest(DIGEST, SIZE)
    place(ingest, (40_000, SIZE))
    assert not ingest.matches()
    with pytest.raises(ContentMismatch):
        ingest.commit()
    assert wrong_blobs(store.root) == []


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"garbage",
        Spans([(0, 10_000), (30_000, 40_000)]).as_text().encode()[:-3],
        b"\xff\x00" * 100,
        b"0 1\n" * 20_000,  # longer than a note may be
        Spans([(0, 1), (2**63 - 1, 2**63 + 1)]).as_text().encode(),
    ],
    ids=["empty", "garbage", "torn", "binary", "too long", "beyond any file"],
)
def test_a_damaged_note_costs_bytes_and_nothing_else(store: DiskStore, damage: bytes) -> None:
    left_with_holes(store)
    note(store).write_bytes(damage)
    ingest = store.ingest(DIGEST, SIZE)
    assert ingest.offset <= 1
    assert ingest.spans.total <= 1
    for start, stop in ingest.spans.gaps(SIZE):
        place(ingest, (start, stop))
    assert ingest.commit() == SIZE
    assert wrong_blobs(store.root) == []


def test_a_link_in_place_of_a_note_is_neither_read_nor_written_through(
    store: DiskStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left_with_holes(store)
    victim = tmp_path / "victim"
    victim.write_text(Spans([(0, 40_000)]).as_text())
    before = victim.read_bytes()
    note(store).unlink()
    note(store).symlink_to(victim)
    with caplog.at_level(logging.WARNING, "sampan.store"):
        ingest = store.ingest(DIGEST, SIZE)
    assert "planted" in caplog.text
    assert spans(ingest) == []
    place(ingest, (30_000, SIZE), (0, 30_000))
    assert victim.read_bytes() == before
    assert ingest.commit() == SIZE
    assert victim.read_bytes() == before


@pytest.mark.parametrize("with_partial", [True, False])
def test_a_directory_in_place_of_a_note_is_an_ingest_that_cannot_be_resumed(
    store: DiskStore, with_partial: bool
) -> None:
    if with_partial:
        left_with_holes(store)
        note(store).unlink()
    note(store).mkdir()
    ingest = store.ingest(DIGEST, SIZE)
    assert (ingest.resumable, spans(ingest)) == (False, [])
    place(ingest, (30_000, SIZE), (0, 30_000))
    assert ingest.commit() == SIZE
    assert wrong_blobs(store.root) == []


def test_a_partial_without_a_note_is_whole_up_to_its_length(store: DiskStore) -> None:
    ingest = store.ingest(DIGEST, SIZE)
    place(ingest, (0, 10_000))
    assert not note(store).exists()
    ingest.suspend()
    again = store.ingest(DIGEST, SIZE)
    assert spans(again) == [(0, 10_000)]
    again.discard()


def test_the_note_of_an_earlier_file_of_the_same_name_says_nothing_of_the_new_one(store: DiskStore) -> None:
    left_with_holes(store)
    partial(store).unlink()  # a sweep took it
    ingest = store.ingest(DIGEST, SIZE)
    assert spans(ingest) == []
    assert not note(store).exists()
    place(ingest, (0, 20_000))
    ingest.suspend()
    again = store.ingest(DIGEST, SIZE)
    assert spans(again) == [(0, 20_000)]
    again.discard()


def test_a_partial_that_is_too_long_goes_with_its_note(store: DiskStore) -> None:
    ingest = store.ingest(DIGEST)
    ingest.place(SIZE + 10, b"beyond")
    ingest.suspend()
    again = store.ingest(DIGEST, SIZE)
    assert spans(again) == []
    assert not note(store).exists()
    again.discard()


# -- the note goes with the file -----------------------------------------------------------------------


def test_beginning_afresh_drops_the_note(store: DiskStore) -> None:
    ingest = store.ingest(DIGEST, SIZE)
    place(ingest, (30_000, 40_000))
    assert note(store).exists()
    ingest.rewind()
    assert (spans(ingest), ingest.offset) == ([], 0)
    assert not note(store).exists()
    place(ingest, (0, 20_000))
    ingest.suspend()
    again = store.ingest(DIGEST, SIZE)
    assert spans(again) == [(0, 20_000)]
    again.discard()


def test_rewinding_to_the_middle_drops_the_pieces_behind(store: DiskStore) -> None:
    ingest = store.ingest(DIGEST, SIZE)
    place(ingest, (0, 20_000), (30_000, 40_000))
    ingest.rewind(10_000)
    assert spans(ingest) == [(0, 10_000)]
    assert Spans.from_text(note(store).read_text()) is not None
    assert note(store).read_text() == Spans([(0, 10_000)]).as_text()
    place(ingest, (10_000, SIZE))
    assert ingest.commit() == SIZE


@pytest.mark.parametrize("end", ["commit", "discard"])
def test_no_note_outlives_its_ingest(store: DiskStore, end: str) -> None:
    ingest = store.ingest(DIGEST, SIZE)
    place(ingest, (30_000, SIZE), (0, 30_000))
    assert note(store).exists()
    getattr(ingest, end)()
    assert not note(store).exists()


def test_an_ingest_that_is_left_without_a_byte_leaves_no_note(store: DiskStore) -> None:
    ingest = store.ingest(DIGEST, SIZE)
    place(ingest, (30_000, 40_000))
    ingest.forget(30_000, 40_000)
    ingest.suspend()
    assert not note(store).exists()
    assert not partial(store).exists()


def test_a_second_private_ingest_has_no_note_and_disturbs_none(store: DiskStore) -> None:
    first, second = store.ingest(DIGEST, SIZE), store.ingest(DIGEST, SIZE)
    place(first, (30_000, 40_000))
    before = note(store).read_bytes()
    place(second, (20_000, SIZE), (0, 20_000))
    assert os.listdir(note(store).parent) == [NAME]
    assert second.commit() == SIZE
    assert note(store).read_bytes() == before
    first.suspend()
    again = store.ingest(DIGEST, SIZE)
    assert spans(again) == [(30_000, 40_000)]
    again.discard()


def test_one_that_begins_while_another_ends_keeps_its_note(store: DiskStore) -> None:
    """The name is free from the moment at which the first file has moved on."""
    first = store.ingest(DIGEST, SIZE)
    place(first, (30_000, SIZE), (0, 30_000))
    partial(store).unlink()
    second = store.ingest(DIGEST, SIZE)
    assert second.resumable
    place(second, (50_000, SIZE))
    assert first._note is not None
    first._note.remove()  # as the end of the first does, at the worst moment
    place(second, (20_000, 21_000))
    second.suspend()
    again = store.ingest(DIGEST, SIZE)
    assert spans(again) == [(20_000, 21_000), (50_000, SIZE)]
    again.discard()
    first._file.close()


# -- a disk without room -------------------------------------------------------------------------------


def test_a_full_disk_keeps_the_pieces_that_fitted(tmp_path: Path) -> None:
    data = os.urandom(MIB)
    digest = Digest.of(data)
    with mounted(tmp_path / "disk", "size=256k") as disk:
        store = DiskStore(disk / "store")
        ingest = store.ingest(digest, len(data))
        ingest.place(600_000, data[600_000:650_000])
        with pytest.raises(StoreFull):
            ingest.place(0, data[:600_000])
        kept = ingest.spans
        assert 50_000 < kept.total < 300_000
        assert all(ingest.path.read_bytes()[start:stop] == data[start:stop] for start, stop in kept)
        ingest.suspend()
        remount(disk, "size=4m")
        again = store.ingest(digest, len(data))
        assert list(again.spans) == list(kept)
        for start, stop in again.spans.gaps(len(data)):
            again.place(start, data[start:stop])
        assert again.commit() == len(data)
        assert wrong_blobs(disk / "store") == []
        store.close()


def test_no_room_for_a_note_is_no_room_for_what_is_behind_a_hole(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=1m", "nr_inodes=14") as disk:
        store = DiskStore(disk / "store")
        ingest = store.ingest(DIGEST, SIZE)
        fillers = [disk / f"filler{number}" for number in range(20)]
        with pytest.raises(OSError, match="No space"):
            deque(map(Path.touch, fillers))
        place(ingest, (0, 10_000))
        with pytest.raises(StoreFull):
            place(ingest, (30_000, 40_000))
        assert spans(ingest) == [(0, 10_000)]
        fillers[0].unlink()
        place(ingest, (30_000, 40_000))
        ingest.suspend()
        again = store.ingest(DIGEST, SIZE)
        assert spans(again) == [(0, 10_000), (30_000, 40_000)]
        again.discard()
        store.close()


def test_a_disk_without_room_for_the_note_of_a_partial_leaves_no_file_open(tmp_path: Path) -> None:
    """A file that is left to the collector would keep its lock until then."""
    with mounted(tmp_path / "disk", "size=1m") as disk:
        store = DiskStore(disk / "store")
        left_with_holes(store)
        note(store).write_bytes(b"")
        with pytest.raises(OSError, match="No space"):
            (disk / "filler").write_bytes(bytes(MIB))
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(StoreFull):
            store.ingest(DIGEST, SIZE)
        assert len(os.listdir("/proc/self/fd")) == before
        (disk / "filler").unlink()
        again = store.ingest(DIGEST, SIZE)
        assert (again.resumable, spans(again)) == (True, [])
        again.discard()
        store.close()


# -- tidied up -----------------------------------------------------------------------------------------


def test_a_sweep_drops_the_notes_of_partials_that_are_gone(store: DiskStore) -> None:
    tags = TagStore(store.root / "tags", ManualClock())
    left_with_holes(store)
    os.utime(partial(store), (store.clock.time(), store.clock.time()))
    other = Digest.of(b"another")
    (store.root / "pieces" / f"sha256-{other.hex}").write_text(Spans([(0, 1)]).as_text())
    tidy(store, tags)
    assert os.listdir(store.root / "pieces") == [NAME]
    partial(store).unlink()
    tidy(store, tags)
    assert os.listdir(store.root / "pieces") == []
    tags.close()


def test_a_partial_with_a_hole_takes_the_room_of_its_pieces_alone(store: DiskStore) -> None:
    """Otherwise images would be dropped for the sake of bytes that are not there."""
    tags = TagStore(store.root / "tags", ManualClock())
    ingest = store.ingest(DIGEST)
    ingest.place(1024 * MIB, b"far away")
    assert tidy(store, tags).used_bytes < MIB
    ingest.discard()
    tags.close()
