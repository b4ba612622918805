"""Which bytes are wanted of whom: the earliest first, none twice, and no crawling host holds the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.mirror.board import NEW_SECONDS, REQUEST_SECONDS, Board, Claim
from sampan.mirror.pace import HOPED_BYTES_PER_SECOND
from sampan.mirror.rate import Rate
from sampan.mirror.spread import Spread
from sampan.store.spans import Spans
from sampan.testing import ManualClock

KIB, MIB = 1024, 1024 * 1024
SIZE = 200 * MIB
SPREAD = Spread()


class Even(Rate):
    """One that has been measured, and stays what it is."""

    def __init__(self, clock: ManualClock, per_second: float) -> None:
        super().__init__(clock)
        self._even = per_second

    def per_second(self) -> float:
        return self._even


@dataclass
class Ground:
    """A board, and rates that are what a test says."""

    size: int | None = SIZE
    there: tuple[tuple[int, int], ...] = ()
    spread: Spread = SPREAD
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        self.board = Board(self.clock, self.size, Spans(self.there), self.spread)

    def rate(self, per_second: float) -> Rate:
        return Even(self.clock, per_second)

    def next(self, per_second: float) -> Claim | None:
        return self.board.next(self.rate(per_second))

    def claimed(self, per_second: float) -> Claim:
        claim = self.next(per_second)
        assert claim is not None
        return claim

    def gap(self, per_second: float) -> Claim:
        """What one claims who works alone."""
        claim = self.board.gap(self.rate(per_second))
        assert claim is not None
        return claim


def come(ground: Ground, claim: Claim, count: int) -> None:
    """So many bytes of ``claim`` are on disk."""
    start = claim.position
    claim.take(bytes(count))
    ground.board.spans.add(start, claim.position)


def test_who_works_alone_gets_all_of_the_first_gap() -> None:
    assert (Ground().gap(MIB).start, Ground().gap(MIB).stop) == (0, SIZE)
    claim = Ground(there=((0, 10), (50, 60))).gap(MIB)
    assert (claim.start, claim.stop) == (10, 50)


def test_of_a_blob_of_unknown_size_all_is_wanted_until_somebody_tells() -> None:
    ground = Ground(size=None, there=((0, 10),))
    claim = ground.gap(MIB)
    assert claim.stop > SIZE
    assert not ground.board.is_whole
    assert ground.board.missing == 0
    assert ground.board.is_told(100)
    assert (claim.start, claim.stop) == (10, 100)
    assert ground.board.missing == 90
    come(ground, claim, 90)
    assert ground.board.is_whole


def test_another_size_is_believed_as_long_as_nothing_is_beyond_it() -> None:
    ground = Ground(size=None, there=((0, 10), (40, 50)))
    claim = ground.gap(MIB)
    assert ground.board.is_told(60)
    assert not ground.board.is_told(49), "what is there is longer"
    assert (ground.board.size, claim.stop) == (60, 40)
    ground.board.end(claim)
    last = Ground(size=60).gap(MIB)
    assert last.stop == 60


def test_an_empty_blob_is_whole() -> None:
    ground = Ground(size=0)
    assert ground.board.is_whole
    assert ground.board.gap(ground.rate(1)) is None
    assert ground.next(MIB) is None


def test_what_was_left_to_others_who_are_gone_is_taken_back() -> None:
    ground = Ground(there=((0, 1000), (SIZE - 500, SIZE)))
    lead = ground.gap(MIB)
    ground.board.narrow(lead)
    left_at = lead.stop
    other = ground.next(MIB)
    assert other is not None
    come(ground, other, 10)
    ground.board.take_back(lead)
    assert lead.stop == left_at, "it is being fetched"
    ground.board.end(other)
    ground.board.take_back(lead)
    assert lead.stop == left_at, "some of it is there"
    ground.board.spans.cut(left_at, left_at + 10)
    ground.board.take_back(lead)
    assert lead.stop == SIZE - 500
    ground.board.narrow(lead)
    come(ground, lead, lead.missing)
    left_at = lead.stop
    ground.board.take_back(lead)
    assert lead.stop == left_at, "what came of the rest by then has been thrown away"


def test_pieces_are_the_earliest_that_are_missing_and_as_long_as_their_hosts_are_fast() -> None:
    ground = Ground(there=((0, 1000), (5 * MIB, 6 * MIB)))
    first, second, third = ground.claimed(MIB), ground.claimed(MIB), ground.claimed(2 * MIB)
    assert (first.start, first.stop) == (1000, 1000 + 3 * MIB)
    assert (second.start, second.stop) == (1000 + 3 * MIB, 5 * MIB), "no longer than the gap"
    assert (third.start, third.stop) == (6 * MIB, 12 * MIB)


@pytest.mark.parametrize(
    ("per_second", "length"),
    [(1.0, SPREAD.piece_bytes_min), (HOPED_BYTES_PER_SECOND, 3 * MIB), (1000 * MIB, SPREAD.piece_bytes_max)],
)
def test_a_piece_is_neither_tiny_nor_huge(per_second: float, length: int) -> None:
    assert Ground().claimed(per_second).missing == length


def test_a_host_that_nobody_has_measured_is_hoped_for() -> None:
    ground = Ground()
    claim = ground.board.next(Rate(ground.clock))
    assert claim is not None
    assert claim.missing == HOPED_BYTES_PER_SECOND * SPREAD.piece_seconds


@pytest.mark.parametrize("rest", [1, SPREAD.split_bytes - 1])
def test_no_rest_is_left_that_is_not_worth_a_request(rest: int) -> None:
    ground = Ground(size=3 * MIB + rest)
    assert ground.claimed(MIB).stop == 3 * MIB + rest
    alone = Ground(size=3 * MIB + rest)
    claim = alone.gap(MIB)
    alone.board.narrow(claim)
    assert claim.stop == 3 * MIB + rest


def test_a_gap_that_is_tiny_is_fetched_all_the_same() -> None:
    claim = Ground(there=((0, 100), (101, SIZE))).claimed(MIB)
    assert (claim.start, claim.stop) == (100, 101)


def test_a_claim_made_alone_is_narrowed_to_a_piece_from_where_it_has_come() -> None:
    ground = Ground()
    claim = ground.gap(2 * MIB)
    come(ground, claim, 10 * MIB)
    ground.board.narrow(claim)
    assert (claim.position, claim.stop) == (10 * MIB, 16 * MIB)
    assert ground.claimed(MIB).start == 16 * MIB


def test_a_claim_that_ended_early_is_missing_from_where_it_came_to() -> None:
    ground = Ground()
    first, second = ground.claimed(MIB), ground.claimed(MIB)
    come(ground, first, 1000)
    ground.board.end(first)
    again = ground.claimed(MIB)
    assert (again.start, again.stop) == (1000, second.start)


# -- taking over ---------------------------------------------------------------------------------------


def test_the_front_that_is_late_is_taken_over_before_anything_else() -> None:
    ground = Ground()
    front = ground.gap(10_000)
    ground.board.narrow(front)
    ground.clock.advance(NEW_SECONDS)
    mine = ground.claimed(10 * MIB)
    assert mine.start == front.stop
    assert front.missing < mine.missing
    assert mine.stop == SPREAD.piece_bytes_min
    assert ground.claimed(10 * MIB).start == SPREAD.piece_bytes_min


def test_a_front_that_would_be_done_as_soon_is_left_alone() -> None:
    ground = Ground()
    front = ground.claimed(MIB)
    ground.clock.advance(NEW_SECONDS)
    assert ground.claimed(2 * MIB).start == front.stop == 3 * MIB


def test_a_front_that_has_just_been_asked_for_is_left_alone() -> None:
    ground = Ground()
    ground.claimed(1.0)
    assert ground.claimed(100 * MIB).start == SPREAD.piece_bytes_min


def all_claimed(*rates: float, size: int) -> tuple[Ground, list[Claim]]:
    """Nothing is left but what is being fetched, at these rates, each half a piece of ``size``."""
    ground = Ground(size=size * len(rates), spread=Spread(piece_bytes_min=size, piece_bytes_max=size))
    claims = [ground.claimed(rate) for rate in rates]
    ground.clock.advance(NEW_SECONDS)
    assert [claim.missing for claim in claims] == [size] * len(rates)
    return ground, claims


def test_of_the_claim_that_would_be_finished_last_a_part_is_taken_so_that_both_end_together() -> None:
    ground, (quick, slow) = all_claimed(4 * MIB, 1 * MIB, size=10 * MIB)
    mine = ground.claimed(3 * MIB)
    assert (mine.stop, mine.start) == (20 * MIB, slow.stop)
    assert mine.missing / 3 == pytest.approx(slow.missing, rel=0.01)
    assert quick.missing == 10 * MIB


def test_all_is_taken_over_of_a_host_that_gives_nothing() -> None:
    ground, (_, silent) = all_claimed(10 * MIB, 0.0, size=10 * MIB)
    mine = ground.claimed(5 * MIB)
    assert (mine.start, mine.stop, silent.missing) == (10 * MIB, 20 * MIB, 0)
    assert silent.take(b"late") == b""


def test_what_is_done_before_a_request_is_answered_is_left_alone() -> None:
    ground, _ = all_claimed(10 * MIB, 10 * MIB, size=int(10 * MIB * REQUEST_SECONDS))
    assert ground.next(100 * MIB) is None


def test_a_host_that_is_known_to_answer_at_once_takes_over_what_another_would_not() -> None:
    ground, _ = all_claimed(10 * MIB, 10 * MIB, size=5 * MIB)
    quick = ground.rate(10 * MIB)
    assert ground.board.next(quick) is None
    quick.ask()
    ground.clock.advance(0.01)
    quick.count(1)
    claim = ground.board.next(quick)
    assert claim is not None
    assert claim.missing == 2.5 * MIB


def test_a_host_that_gives_nothing_takes_over_nothing() -> None:
    ground, _ = all_claimed(MIB, MIB, size=10 * MIB)
    assert ground.next(0.0) is None


def test_little_is_not_divided() -> None:
    ground, (slow,) = all_claimed(10 * KIB, size=SPREAD.split_bytes)
    assert ground.claimed(MIB).missing == SPREAD.split_bytes
    assert slow.missing == 0


def test_bytes_that_have_come_are_not_taken_over() -> None:
    ground, (slow,) = all_claimed(1.0, size=10 * MIB)
    slow.take(bytes(9 * MIB))  # not on disk yet
    assert ground.claimed(MIB).start >= 9 * MIB


# -- whatever happens ----------------------------------------------------------------------------------

SMALL = Spread(piece_bytes_min=40, piece_bytes_max=400, split_bytes=5)


class Hosts:
    """Workers of different and changing speed, on one board: at any moment no byte is wanted twice."""

    def __init__(self, size: int, there: list[tuple[int, int]]) -> None:
        self.clock = ManualClock()
        self.board = Board(self.clock, size, Spans(there), SMALL)
        self.rates = [Rate(self.clock) for _ in range(4)]
        for rate in self.rates:
            rate.rest()
        self.claims: list[Claim | None] = [None] * 4
        self.speeds = [100, 100, 100, 100]
        self.came: list[int] = [p for start, stop in self.board.spans for p in range(start, stop)]

    def ask(self, number: int, *, alone: bool = False) -> None:
        rate = self.rates[number]
        if self.claims[number] is None:
            self.claims[number] = self.board.gap(rate) if alone else self.board.next(rate)
        if self.claims[number] is None:
            rate.rest()
        else:
            rate.wake()

    def tick(self) -> None:
        self.clock.advance(0.2)
        for number, claim in enumerate(self.claims):
            if claim is not None:
                self.give(number, claim, int(self.speeds[number] * 0.2))

    def give(self, number: int, claim: Claim, count: int) -> None:
        start = claim.position
        wanted = claim.take(bytes(count))
        self.rates[number].count(count)
        self.came += range(start, start + len(wanted))
        self.board.spans.add(start, start + len(wanted))
        if not claim.missing:
            self.end(number, claim)

    def end(self, number: int, claim: Claim) -> None:
        self.board.end(claim)
        self.claims[number] = None
        self.rates[number].rest()

    def leave(self, number: int) -> None:
        """Another host comes in its place, which nobody has measured."""
        if (claim := self.claims[number]) is not None:
            self.end(number, claim)
        self.rates[number] = Rate(self.clock)
        self.rates[number].rest()

    def check(self) -> None:
        wanted = [p for claim in self.board.claims for p in range(claim.position, claim.stop)]
        assert len(wanted) == len(set(wanted)), "claimed twice"
        assert not any(self.board.spans.overlap(c.position, c.stop) for c in self.board.claims)
        assert len(self.came) == len(set(self.came)), "came twice"


steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, 3)),
        st.tuples(st.just("gap"), st.integers(0, 3)),
        st.tuples(st.just("leave"), st.integers(0, 3)),
        st.tuples(st.just("narrow"), st.integers(0, 3)),
        st.tuples(st.just("tick"), st.integers(1, 9)),
        st.tuples(st.just("speed"), st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 50, 1000]))),
    ),
    max_size=60,
)
sizes = st.integers(0, 3000)
left = st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 3000)), max_size=4)


@settings(max_examples=200)
@given(sizes, left, steps)
def test_no_byte_is_claimed_twice_and_all_come_in_the_end(
    size: int, there: list[tuple[int, int]], plan: list[tuple[str, Any]]
) -> None:
    hosts = Hosts(size, [(min(start, size), min(stop, size)) for start, stop in there])
    for what, about in plan:
        if what == "ask":
            hosts.ask(about)
        elif what == "gap" and not hosts.board.claims:
            hosts.ask(about, alone=True)
        elif what == "leave":
            hosts.leave(about)
        elif what == "narrow" and (claim := hosts.claims[about]) is not None:
            hosts.board.narrow(claim)
        elif what == "speed":
            hosts.speeds[about[0]] = about[1]
        elif what == "tick":
            for _ in range(about):
                hosts.tick()
        hosts.check()
    hosts.leave(3)
    hosts.speeds = [0, 0, 0, 500]  # in the end three give nothing, and one comes that does
    for _ in range(400):
        for number in range(4):
            hosts.ask(number)
        hosts.tick()
        hosts.check()
        if hosts.board.is_whole:
            break
    assert hosts.board.is_whole
    assert sorted(hosts.came) == list(range(size))


DROPPED_BELOW = 8  # as the crew does


@given(st.lists(st.sampled_from([0, 20 * KIB, MIB, 7 * MIB, 50 * MIB]), min_size=2, max_size=4))
def test_whatever_crawls_the_end_comes_about_as_soon_as_from_the_fastest_alone(speeds: list[int]) -> None:
    best = max(speeds)
    if not best:
        return
    clock, size = ManualClock(), min(100 * MIB, 60 * best)
    board = Board(clock, size, Spans(), SPREAD)
    rates = [Rate(clock) for _ in speeds]
    claims: list[Claim | None] = [None for _ in speeds]
    began = clock.monotonic()
    while not board.is_whole:
        clock.advance(0.1)
        for number, (speed, rate) in enumerate(zip(speeds, rates, strict=True)):
            claim, measured = claims[number], rate.per_second()
            if claim is None and (measured is None or measured * DROPPED_BELOW >= best):
                claim = claims[number] = board.next(rate)
            if claim is None:
                rate.rest()
                continue
            rate.wake()
            if clock.monotonic() - claim.began_at > 0.3:  # until then it is only asked
                start, count = claim.position, int(speed * 0.1)
                claim.take(bytes(count))
                rate.count(count)
                board.spans.add(start, claim.position)
            if not claim.missing:
                board.end(claim)
                claims[number] = None
        assert clock.monotonic() - began < 6 + 1.5 * size / best
