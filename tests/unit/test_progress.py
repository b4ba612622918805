"""What a pull shows on a terminal: rows that fit, rates that are true, and data that nothing runs into."""

from __future__ import annotations

import io
import math
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sampan.cli.advice import advice
from sampan.cli.bars import Bars
from sampan.cli.rows import BAR_CHARACTERS_MAX, DONE, MISSING, Moving, Rate, row, waiting
from sampan.cli.tally import size_text
from sampan.errors import AllHostsFailed, Attempt, NotFound, StoreError
from sampan.oci import Digest
from sampan.pull import events
from sampan.upstream.host import Host

MIB = 1024 * 1024
HALF = Moving("1e5762b3c1f7", 12 * MIB, 30 * MIB, 3.0 * MIB, ("docker.m.daocloud.io",))


FIGURES = "  12.0/30.0 MiB   3.0 MiB/s    0:06"


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (200, f" {DONE * 12}{MISSING * 18}  40% {FIGURES}  docker.m.daocloud.io"),
        (79, f" {DONE * 3}{MISSING * 5} {FIGURES}  docker.m.daocloud…"),
        (60, f" {DONE * 3}{MISSING * 6} {FIGURES}"),
        (40, "  40%   3.0 MiB/s    0:06"),
        (22, "    0:06"),
    ],
)
def test_a_row_leaves_out_what_matters_least(width: int, text: str) -> None:
    assert row(HALF, width) == f"  1e5762b3c1f7{text}"


@given(
    st.text(max_size=40),
    st.integers(0, 2**50),
    st.integers(0, 2**50),
    st.none() | st.floats(0, 2**40),
    st.lists(st.text(max_size=100), max_size=3),
    st.integers(1, 300),
)
def test_no_row_is_wider_than_it_may_be(
    name: str, done: int, size: int, rate: float | None, hosts: list[str], width: int
) -> None:
    assert len(row(Moving(name[:12], done, size, rate, tuple(hosts)), width)) <= width
    assert len(waiting(name, float(done), width)) <= max(width, 20)


def test_bars_of_one_display_are_as_long_whoever_gives() -> None:
    rows = [row(moving, 99) for moving in (HALF, Moving("all", 1, 2), Moving("x", 0, 0, None, ("a",)))]
    assert len({text.count(DONE) + text.count(MISSING) for text in rows}) == 1
    assert rows[2].count(DONE) <= BAR_CHARACTERS_MAX


def test_several_hosts_are_counted_where_there_is_no_room_for_their_names() -> None:
    both = Moving("x", 1, 2, 1.0, ("docker.m.daocloud.io", "mirror.example"))
    assert row(both, 79).endswith("  2 hosts")
    assert row(both, 140).endswith("  docker.m.daocloud.io, mirror.example")


def test_a_rate_is_that_of_the_last_seconds_and_not_of_what_was_there_before() -> None:
    rate = Rate()
    assert rate.bytes_per_second is None
    rate.note(0.0, 500 * MIB)  # an earlier pull's
    assert rate.bytes_per_second is None
    for second in range(1, 11):
        rate.note(float(second), (500 + 2 * second) * MIB)
    assert rate.bytes_per_second == 2 * MIB
    for second in range(11, 40):
        rate.note(float(second), 520 * MIB)  # the host is silent
    assert rate.bytes_per_second == 0.0


def test_a_blob_that_is_begun_anew_has_a_rate_anew() -> None:
    rate = Rate()
    for second in range(5):
        rate.note(float(second), second * MIB)
    rate.note(5.0, 0)
    rate.note(6.0, 3 * MIB)
    assert rate.bytes_per_second == 3 * MIB


def test_the_time_left_is_told_only_where_there_is_one() -> None:
    assert Moving("x", 1, 2, None).left_seconds is None
    assert Moving("x", 1, 2, 0.0).left_seconds is None
    assert row(Moving("x", 0, 2**50, 1.0), 40).rstrip().endswith("B/s")
    assert row(Moving("x", 0, 3723, 1.0), 40).endswith("1:02:03")


@given(st.integers(0, 2**60))
def test_a_size_has_at_most_three_digits_before_the_point(size: int) -> None:
    number, unit = size_text(size).split()
    assert float(number) < 1024 or unit == "TiB"
    powers = {"B": 0, "KiB": 1, "MiB": 2, "GiB": 3, "TiB": 4}
    assert math.isclose(float(number) * 1024 ** powers[unit], size, rel_tol=0.06, abs_tol=1)


# -- the display ------------------------------------------------------------------------------------

BLOBS = [Digest.of(bytes([number])) for number in range(3)]
NAME = "docker.io/library/app:1"


class Screen:
    """A display on a terminal of 80 columns; time stands still unless it is told to pass."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self.seconds = 0.0
        self.raw = io.BytesIO()
        file = io.TextIOWrapper(self.raw, encoding, "backslashreplace", write_through=True)
        console = Console(file=file, force_terminal=True, width=80, highlight=False, _environ={})
        self.bars = Bars(lambda: self.seconds, console)

    @property
    def seen(self) -> str:
        """All that was written to the terminal."""
        return self.raw.getvalue().decode()

    def drawn(self) -> list[str]:
        return [line.rstrip() for line in self.bars._drawn().plain.splitlines()]

    def begin(self, *sizes: int) -> None:
        self.bars(events.Resolved(NAME, BLOBS[0], "x", "one.example", False, (), len(sizes), sum(sizes)))
        for digest, size in zip(BLOBS, sizes, strict=False):
            self.bars(events.BlobStarted(NAME, digest, size))

    def arrive(self, number: int, size: int, arrived_bytes: int) -> None:
        event = events.BlobProgress(NAME, BLOBS[number], size, arrived_bytes, ("one.example",))
        self.bars(event)


def test_each_blob_has_a_row_and_several_have_one_together() -> None:
    screen = Screen()
    screen.begin(10 * MIB, 30 * MIB)
    for second in (0, 1, 2):
        screen.seconds = float(second)
        screen.arrive(0, 10 * MIB, 2 * second * MIB)
        screen.arrive(1, 30 * MIB, 3 * second * MIB)
    first, second_, together = screen.drawn()
    assert "4.0/10.0 MiB   2.0 MiB/s    0:03  one.example" in first
    assert "6.0/30.0 MiB   3.0 MiB/s    0:08  one.example" in second_
    assert together.startswith("  all ")
    assert "10.0/40.0 MiB   5.0 MiB/s    0:06" in together
    screen.bars(events.BlobDone(NAME, BLOBS[0], 10 * MIB, hosts={"one.example": 10 * MIB}, seconds=3.0))
    (last,) = screen.drawn()
    assert "6.0/30.0 MiB" in last


def test_what_need_not_be_fetched_is_not_in_the_row_of_all() -> None:
    screen = Screen()
    screen.begin(10 * MIB, 30 * MIB, 20 * MIB)
    screen.bars(events.BlobDone(NAME, BLOBS[2], 20 * MIB, "store"))
    assert "0.0/40.0 MiB" in screen.drawn()[-1]


def test_while_the_sink_takes_an_image_the_time_is_told() -> None:
    screen = Screen()
    screen.begin()
    screen.bars(events.Giving(NAME, BLOBS[0], "docker"))
    screen.seconds = 75.0
    assert screen.drawn() == [f"  {NAME} into docker 1:15"]
    screen.bars(events.ImageDone(NAME, BLOBS[0], "docker"))
    assert screen.drawn() == []


def test_a_failure_takes_the_rows_away() -> None:
    screen = Screen()
    screen.begin(10 * MIB, 30 * MIB)
    screen.bars(events.Failed(NAME, StoreError("no")))
    assert screen.drawn() == []
    assert f"{NAME} could not be pulled" in screen.seen


def test_data_goes_to_standard_output_where_that_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    with screen.bars.shown():
        screen.bars(events.ImageDone(NAME, BLOBS[0], "docker"))
    assert capsys.readouterr().out == f"{NAME}@{BLOBS[0]}\n"
    assert f"{BLOBS[0]}" not in screen.seen


def test_nothing_is_left_of_what_was_drawn() -> None:
    screen = Screen()
    with screen.bars.shown():
        screen.begin(10 * MIB, 30 * MIB)
        screen.arrive(0, 10 * MIB, MIB)
        screen.bars._live.refresh()
    seen = screen.seen
    assert DONE in seen or MISSING in seen
    after = seen[max(seen.rfind(DONE), seen.rfind(MISSING)) :]
    assert "\x1b[2K" in after, "the rows stay when the display ends"


def test_a_terminal_that_knows_ascii_alone_gets_that() -> None:
    screen = Screen("ascii")
    with screen.bars.shown():
        screen.begin(10 * MIB, 30 * MIB)
        screen.arrive(0, 10 * MIB, 5 * MIB)
        screen.bars._live.refresh()
    assert "====----" in screen.seen
    assert screen.seen.isascii()
    assert "\\u" not in screen.seen


def test_a_warning_stands_above_what_is_drawn() -> None:
    screen = Screen()
    with screen.bars.shown():
        screen.begin(10 * MIB, 30 * MIB)
        screen.bars._live.refresh()
        print("warning: the store is full", file=sys.stderr)
        screen.bars._live.refresh()
        after = screen.seen.partition("warning: the store is full")[2]
    assert MISSING in after, "the rows are drawn again below it"


# -- what to do -------------------------------------------------------------------------------------


def attempts(*statuses: int | None) -> list[Attempt]:
    return [Attempt(f"{n}.example", "denied", 0.1, status) for n, status in enumerate(statuses)]


def test_the_hint_follows_what_the_hosts_answered() -> None:
    assert "check the name and the tag" in str(advice(NotFound("x", attempts(404, 404)), None))
    assert "docker login 1.example" in str(advice(NotFound("x", attempts(404, 401)), None))
    hub = Attempt("registry-1.docker.io", "denied", 0.1, 401)
    assert "docker login docker.io," in str(advice(NotFound("x", [hub]), None))
    assert "check the name" in str(advice(NotFound("x", attempts(403)), None))  # an allow-list
    assert advice(AllHostsFailed("x", attempts(None), hint="own"), None) == "own"
    via = Host.from_url("https://sampan.lan:5050")
    assert "docker login sampan.lan:5050" in str(advice(NotFound("x", attempts(401)), via))
    assert "--direct" in str(advice(NotFound("x", attempts(404)), via))


def test_the_library_of_bars_is_in_one_module_alone() -> None:
    source = Path(__file__).parents[2] / "src"
    users = {path.name for path in source.rglob("*.py") if "from rich" in path.read_text()}
    assert users == {"bars.py"}
