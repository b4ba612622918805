"""Which bytes are there: ranges against the plain set of positions, and their text, torn or hostile."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.store.spans import Spans

END = 60
positions = st.integers(0, END)
ranges = st.tuples(positions, positions)
changes = st.lists(st.tuples(st.sampled_from(["add", "cut", "end_at"]), ranges), max_size=25)


def made(steps: list[tuple[str, tuple[int, int]]]) -> tuple[Spans, set[int]]:
    """The same done to ranges and to a set of positions."""
    spans, model = Spans(), set[int]()
    for what, (start, stop) in steps:
        if what == "add":
            spans.add(start, stop)
            model |= set(range(start, stop))
        elif what == "cut":
            spans.cut(start, stop)
            model -= set(range(start, stop))
        else:
            spans.end_at(stop)
            model = {position for position in model if position < stop}
    return spans, model


def positions_of(spans: Spans) -> list[int]:
    return [position for start, stop in spans for position in range(start, stop)]


@given(changes)
def test_ranges_hold_exactly_the_positions_that_were_added_and_not_cut(
    steps: list[tuple[str, tuple[int, int]]],
) -> None:
    spans, model = made(steps)
    assert positions_of(spans) == sorted(model)
    assert spans.total == len(model)
    assert bool(spans) == bool(model)
    assert spans.prefix == next(n for n in range(END + 1) if n not in model)
    assert spans.end == max(model, default=-1) + 1
    assert spans.is_prefix == (model == set(range(len(model))))


@given(changes)
def test_ranges_are_in_order_apart_and_not_empty(steps: list[tuple[str, tuple[int, int]]]) -> None:
    spans = list(made(steps)[0])
    assert all(start < stop for start, stop in spans)
    assert all(one[1] < following[0] for one, following in pairwise(spans))


@given(changes, positions)
def test_gaps_are_what_is_missing_before_an_end(steps: list[tuple[str, tuple[int, int]]], stop: int) -> None:
    spans, model = made(steps)
    gaps = spans.gaps(stop)
    assert [p for gap in gaps for p in range(*gap)] == [p for p in range(stop) if p not in model]
    assert all(start < end for start, end in gaps)


@given(changes, ranges)
def test_ranges_overlap_when_they_share_a_position(
    steps: list[tuple[str, tuple[int, int]]], other: tuple[int, int]
) -> None:
    spans, model = made(steps)
    assert spans.overlap(*other) == any(position in model for position in range(*other))


@given(changes)
def test_the_text_of_ranges_is_read_back(steps: list[tuple[str, tuple[int, int]]]) -> None:
    spans = made(steps)[0]
    again = Spans.from_text(spans.as_text())
    assert again is not None
    assert list(again) == list(spans)


def test_a_copy_does_not_follow() -> None:
    spans = Spans([(0, 10)])
    copy = Spans(spans)
    spans.add(20, 30)
    spans.cut(0, 5)
    assert list(copy) == [(0, 10)]


def test_who_walks_through_ranges_sees_them_as_they_were() -> None:
    """Another thread may change them meanwhile."""
    spans = Spans([(0, 10), (20, 30), (40, 50)])
    walk = iter(spans)
    assert next(walk) == (0, 10)
    spans.add(10, 20)
    spans.cut(40, 50)
    assert list(walk) == [(20, 30), (40, 50)]


WHOLE = Spans([(0, 4096), (8192, 9999), (20000, 123_456_789)]).as_text()


@given(st.integers(0, len(WHOLE) - 1))
def test_text_that_was_cut_short_is_not_believed(length: int) -> None:
    assert Spans.from_text(WHOLE[:length]) is None


def test_text_written_over_other_text_in_part_is_not_believed_as_a_third() -> None:
    """What a write in place leaves when it stops in the middle: without a check sum, from 200 to 600."""
    was = Spans([(0, 100), (500, 600)]).as_text()
    will_be = Spans([(0, 100), (200, 300), (500, 600)]).as_text()
    for count in range(len(will_be) + 1):
        found = Spans.from_text(will_be[:count] + was[count:])
        assert found is None or found.as_text() in (was, will_be)


def test_what_is_left_of_a_longer_text_behind_the_end_is_ignored() -> None:
    short = Spans([(0, 5)]).as_text()
    found = Spans.from_text(short + WHOLE[len(short) :])
    assert found is not None
    assert list(found) == [(0, 5)]


@pytest.mark.parametrize(
    "lines",
    ["0 10\n5 20\n", "20 30\n0 10\n", "0 10\n10 20\n", "5 5\n", "9 3\n", "-1 5\n", "0 1e3\n", "0  5\n",
     "0 5 7\n", "0\n", "\n", "x y\n", "٣ ٤\n", f"0 {'9' * 20}\n", "0 5\r\n"],
)  # fmt: skip
def test_lines_that_we_would_not_write_are_not_believed_though_their_sum_is_right(lines: str) -> None:
    assert Spans.from_text(Spans.sealed(lines)) is None


@given(st.text())
def test_any_text_is_ranges_or_nothing(text: str) -> None:
    for tried in (text, Spans.sealed(text)):
        found = Spans.from_text(tried)
        assert found is None or found.as_text() == tried[: len(found.as_text())]


def test_a_long_hostile_text_takes_no_time() -> None:
    """16 thousand ranges, each merged with all the others, took half a minute."""
    lines = "".join(f"{2 * n} {2 * n + 1}\n" for n in range(16_000))
    found = Spans.from_text(Spans.sealed(lines))
    assert found is not None
    assert found.total == 16_000
