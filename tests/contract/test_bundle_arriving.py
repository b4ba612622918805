"""A blob on its way into its place: what a store's ingest promises, within a stretch of a larger file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sampan.bundle.arriving import Arriving, Note
from sampan.bundle.region import Region, Stretch
from sampan.errors import ContentMismatch, StoreError
from sampan.oci import Digest
from sampan.store.directory import Directory
from sampan.testing.images import random_bytes

BODY = random_bytes(1, 1_000_000)
DIGEST = Digest.of(BODY)
BEFORE, BEHIND = b"before" * 100, b"behind" * 100
START = 3000  # where it begins in the file

Open = Callable[[], Arriving]


@pytest.fixture(params=["whole", "split"])
def stretches(request: pytest.FixtureRequest, tmp_path: Path) -> list[Stretch]:
    """Its places: in one file, or in three of two files."""
    if request.param == "whole":
        return [Stretch(tmp_path / "file", START, len(BODY))]
    return [
        Stretch(tmp_path / "file", START, 400_000),
        Stretch(tmp_path / "other", START, 1),
        Stretch(tmp_path / "other", 2 * START, len(BODY) - 400_001),
    ]


@pytest.fixture
def arriving(tmp_path: Path, stretches: list[Stretch]) -> Iterator[Open]:
    """Opens it, as a process does that comes later."""
    for path in {stretch.path for stretch in stretches}:
        path.write_bytes(BEFORE)
    with closing(Directory.root(tmp_path / "notes")) as notes:
        yield lambda: Arriving(DIGEST, Region(stretches), Note(notes, DIGEST))


def placed(stretches: list[Stretch]) -> bytes:
    """What lies in its places."""
    return b"".join(s.path.read_bytes()[s.offset : s.offset + s.size] for s in stretches)


def test_it_lies_in_its_places_and_nothing_else_was_touched(arriving: Open, stretches: list[Stretch]) -> None:
    for path in {stretch.path for stretch in stretches}:
        path.write_bytes(BEFORE + bytes(2_000_000) + BEHIND)
    one = arriving()
    one.write([BODY[:10], BODY[10:500_000]])
    one.write(memoryview(BODY)[500_000:])
    assert one.commit() == len(BODY)
    assert placed(stretches) == BODY
    for path in {stretch.path for stretch in stretches}:
        data = path.read_bytes()
        assert (data[: len(BEFORE)], data[-len(BEHIND) :]) == (BEFORE, BEHIND)


def test_pieces_may_come_in_any_order(arriving: Open, stretches: list[Stretch]) -> None:
    one = arriving()
    for start in (600_000, 0, 300_000):
        one.place(start, BODY[start : start + 300_000])
    assert list(one.spans) == [(0, 900_000)]
    one.write(BODY[900_000:])
    one.commit()
    assert placed(stretches) == BODY


@pytest.mark.parametrize("holes", [False, True])
def test_what_came_is_gone_on_with_by_the_next(arriving: Open, stretches: list[Stretch], holes: bool) -> None:
    first = arriving()
    first.write(BODY[:300_000])
    if holes:
        first.place(500_000, BODY[500_000:600_000])
    first.suspend()
    second = arriving()
    assert second.resumed_bytes == (400_000 if holes else 300_000)
    assert second.spans.prefix == 300_000
    assert not second.is_noted_whole
    for start, stop in second.spans.gaps(len(BODY)):
        second.place(start, BODY[start:stop])
    second.commit()
    assert arriving().is_noted_whole
    assert arriving().matches()


def test_nothing_is_closed_when_a_process_dies_and_the_note_says_no_more_than_was_written(
    arriving: Open,
) -> None:
    dead = arriving()
    dead.write(BODY[:100_000])
    later = arriving()  # the first was never closed
    assert list(later.spans) == [(0, 100_000)]
    assert later.read(0, 100_000) == BODY[:100_000]
    later.suspend()
    dead.suspend()


def test_wrong_bytes_are_not_the_blob_and_are_begun_anew(arriving: Open) -> None:
    one = arriving()
    one.write(bytes(len(BODY)))
    assert not one.matches()
    with pytest.raises(ContentMismatch, match="that are not"):
        one.commit()
    again = arriving()
    assert not again.spans
    again.write(BODY)
    again.commit()


def test_a_short_one_is_not_the_blob(arriving: Open) -> None:
    one = arriving()
    one.write(BODY[:-1])
    with pytest.raises(ContentMismatch):
        one.commit()


def test_more_than_its_size_is_refused_and_not_written(arriving: Open, stretches: list[Stretch]) -> None:
    one = arriving()
    with pytest.raises(ContentMismatch, match="more than the 1000000 bytes"):
        one.place(1, BODY)
    assert not one.spans
    assert all(len(s.path.read_bytes()) == len(BEFORE) for s in stretches)
    one.suspend()


def test_what_is_there_is_not_written_again(arriving: Open) -> None:
    one = arriving()
    one.write(BODY[:10])
    with pytest.raises(ValueError, match="are there already"):
        one.place(5, BODY[5:10])
    one.suspend()


def test_what_is_forgotten_is_missing_and_may_be_placed_anew(
    arriving: Open, stretches: list[Stretch]
) -> None:
    one = arriving()
    wrong = bytearray(BODY)
    wrong[500_000:600_000] = bytes(100_000)
    one.write(wrong)
    assert not one.matches()
    one.forget(500_000, 600_000)
    assert one.spans.gaps(len(BODY)) == [(500_000, 600_000)]
    one.place(500_000, BODY[500_000:600_000])
    one.commit()
    assert placed(stretches) == BODY


def test_it_can_be_rewound_and_not_forward(arriving: Open) -> None:
    one = arriving()
    one.write(BODY[:100])
    with pytest.raises(ValueError, match="cannot rewind"):
        one.rewind(200)
    one.rewind(50)
    assert list(one.spans) == [(0, 50)]
    one.rewind()
    assert not one.spans
    one.write(BODY)
    one.commit()


def test_a_file_that_became_shorter_than_its_note_is_begun_anew(
    arriving: Open, stretches: list[Stretch]
) -> None:
    one = arriving()
    one.write(BODY)
    one.commit()
    stretches[0].path.write_bytes(BEFORE)
    again = arriving()
    assert again.is_noted_whole
    assert not again.matches()
    again.rewind()
    again.write(BODY)
    again.commit()


@pytest.mark.parametrize(
    "text", [b"", b"0 100\n", b"0 99999999\n.12345678\n", b"\xff\xfe", b"0 1\n.00000000\n"]
)
def test_a_note_that_cannot_be_believed_says_nothing(tmp_path: Path, arriving: Open, text: bytes) -> None:
    (tmp_path / "notes" / f"sha256-{DIGEST.hex}").write_bytes(text)
    one = arriving()
    assert not one.spans
    one.suspend()


def test_the_empty_blob_is_there_at_once(tmp_path: Path) -> None:
    empty = Digest.of(b"")
    with closing(Directory.root(tmp_path / "notes")) as notes:
        one = Arriving(empty, Region([Stretch(tmp_path / "file", START, 0)]), Note(notes, empty))
        assert one.is_noted_whole
        assert one.commit() == 0


def test_a_reader_of_what_is_on_its_way_is_refused(arriving: Open) -> None:
    one = arriving()
    with pytest.raises(StoreError, match="cannot be read on its way"):
        one.open_reader()
    one.suspend()


def test_a_full_disk_is_an_error_of_the_disk_that_says_that_the_same_command_goes_on() -> None:
    region = Region([Stretch(Path("/dev/full"), 0, 100)])
    with closing(region), pytest.raises(StoreError, match="No space left") as caught:
        region.write(memoryview(b"x" * 10), 0)
    assert "the same command goes on" in (caught.value.hint or "")


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    with pytest.raises(StoreError, match="cannot write"):
        Region([Stretch(tmp_path / "link", 0, 10)])
    assert (tmp_path / "mine").read_text() == "mine"
