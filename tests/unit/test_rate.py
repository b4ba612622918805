"""How fast bytes come at this moment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.mirror.rate import SAMPLE_SECONDS, WINDOW_SECONDS, Rate
from sampan.testing import ManualClock


def fed(rate: Rate, clock: ManualClock, per_second: int, seconds: float) -> None:
    """Bytes that come evenly, in steps of 50 ms."""
    for _ in range(round(seconds / 0.05)):
        clock.advance(0.05)
        rate.count(round(per_second * 0.05))


def test_before_there_was_time_to_measure_nobody_knows() -> None:
    clock = ManualClock()
    rate = Rate(clock)
    rate.count(1000)
    assert rate.per_second() is None
    assert rate.giving_seconds() == 0
    clock.advance(2 * SAMPLE_SECONDS)
    assert rate.per_second() == pytest.approx(500 / SAMPLE_SECONDS)


@pytest.mark.parametrize("per_second", [1000, 1_000_000])
@pytest.mark.parametrize("seconds", [0.5, 1, 10])
def test_an_even_flow_has_its_rate(per_second: int, seconds: float) -> None:
    clock = ManualClock()
    rate = Rate(clock)
    fed(rate, clock, per_second, seconds)
    assert rate.per_second() == pytest.approx(per_second, rel=0.1)
    assert rate.giving_seconds() == pytest.approx(seconds - 0.05)


def test_what_was_before_the_window_does_not_count() -> None:
    clock = ManualClock()
    rate = Rate(clock)
    fed(rate, clock, 1_000_000, 10)
    fed(rate, clock, 1000, 1)
    assert rate.per_second() == pytest.approx(1000, rel=0.1)


def test_a_stall_is_seen_within_two_seconds() -> None:
    clock = ManualClock()
    rate = Rate(clock)
    fed(rate, clock, 1_000_000, 3)
    clock.advance(2)
    now = rate.per_second()
    assert now is not None
    assert now < 1_000_000 / 8
    clock.advance(1000)
    assert rate.per_second() == pytest.approx(0, abs=200)


def test_time_in_which_nothing_was_asked_for_is_nobodys_slowness() -> None:
    clock = ManualClock()
    rate = Rate(clock)
    fed(rate, clock, 1_000_000, 2)
    before, giving = rate.per_second(), rate.giving_seconds()
    rate.rest()
    clock.advance(60)
    rate.rest()
    assert rate.rests
    assert (rate.per_second(), rate.giving_seconds()) == (before, giving)
    rate.wake()
    rate.wake()
    assert not rate.rests
    assert rate.per_second() == before
    fed(rate, clock, 1000, 1)
    assert rate.per_second() == pytest.approx(1000, rel=0.1)


def test_what_a_request_costs_is_known_from_the_last_one() -> None:
    clock = ManualClock()
    rate = Rate(clock)
    assert rate.request_seconds is None
    for seconds in (0.25, 2.0):
        rate.rest()
        clock.advance(60)
        rate.ask()
        clock.advance(seconds)
        rate.count(10)
        clock.advance(1)
        rate.count(10)
        assert rate.request_seconds == pytest.approx(seconds)


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 10**9)), max_size=50))
def test_no_rate_is_more_than_all_that_came_in_the_shortest_time(steps: list[tuple[float, int]]) -> None:
    clock = ManualClock()
    rate = Rate(clock)
    total = 0
    for seconds, count in steps:
        clock.advance(seconds)
        rate.count(count)
        total += count
        measured = rate.per_second()
        assert measured is None or 0 <= measured <= total / SAMPLE_SECONDS * 1.001
    assert len(rate._samples) <= WINDOW_SECONDS / SAMPLE_SECONDS + 2
