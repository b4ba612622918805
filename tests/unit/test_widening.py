"""When one more host is asked for pieces, and when it leaves again."""

from __future__ import annotations

import pytest

from sampan.mirror.widening import (
    AGAIN_SECONDS,
    DOUBT_SECONDS,
    FIRST_LOOK_SECONDS,
    JUDGE_SECONDS,
    PATIENCE_SECONDS,
    WORTH_SECONDS,
    Advice,
    Widening,
)
from sampan.testing import ManualClock

MIB = 1024 * 1024
MUCH = 1000 * MIB


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def widening(clock: ManualClock) -> Widening:
    made = Widening(clock, hosts_max=4)
    clock.advance(FIRST_LOOK_SECONDS)
    return made


def look(
    widening: Widening, rate: float, hosts: int, *, missing: int = MUCH, giving_seconds: float | None
) -> Advice:
    return widening.look(rate, missing, hosts, newest_rate=rate / hosts, giving_seconds=giving_seconds)


def judged(
    widening: Widening,
    clock: ManualClock,
    *,
    before: float,
    rate: float,
    newest_rate: float = MIB,
    hosts: int = 2,
) -> Advice:
    """What is said of a host once it has shown what it gives."""
    widening.added(before)
    clock.advance(DOUBT_SECONDS)
    return widening.look(rate, MUCH, hosts, newest_rate=newest_rate, giving_seconds=DOUBT_SECONDS)


def test_it_begins_with_one_host(clock: ManualClock) -> None:
    widening = Widening(clock, hosts_max=4)
    assert look(widening, MIB, 1, giving_seconds=0.0) is Advice.STAY
    clock.advance(FIRST_LOOK_SECONDS)
    assert look(widening, MIB, 1, giving_seconds=0.0) is Advice.ADD


@pytest.mark.parametrize(("missing", "advice"), [(WORTH_SECONDS * 10, Advice.STAY), (21, Advice.ADD)])
def test_what_is_done_soon_is_not_worth_another_host(
    widening: Widening, missing: int, advice: Advice
) -> None:
    assert look(widening, 10.0, 1, missing=int(missing), giving_seconds=1.0) is advice


def test_a_host_that_gives_nothing_at_all_is_joined(widening: Widening) -> None:
    assert look(widening, 0.0, 1, giving_seconds=None) is Advice.ADD


def test_nobody_is_added_while_the_last_one_has_yet_to_show_what_it_gives(
    widening: Widening, clock: ManualClock
) -> None:
    widening.added(MIB)
    assert look(widening, MIB, 2, giving_seconds=None) is Advice.STAY
    clock.advance(PATIENCE_SECONDS - 0.1)
    assert look(widening, MIB, 2, giving_seconds=None) is Advice.STAY
    assert look(widening, 2 * MIB, 2, giving_seconds=JUDGE_SECONDS / 2) is Advice.STAY


def test_a_host_that_helps_is_soon_known_to_and_one_that_does_not_yet_is_given_time(
    widening: Widening, clock: ManualClock
) -> None:
    widening.added(MIB)
    clock.advance(JUDGE_SECONDS)
    assert look(widening, MIB, 2, giving_seconds=JUDGE_SECONDS) is Advice.STAY
    assert look(widening, 2 * MIB, 2, giving_seconds=JUDGE_SECONDS) is Advice.ADD


def test_a_host_that_stays_silent_does_not_keep_others_out(widening: Widening, clock: ManualClock) -> None:
    widening.added(MIB)
    clock.advance(PATIENCE_SECONDS)
    assert look(widening, MIB, 2, giving_seconds=None) is Advice.ADD


def test_it_widens_while_that_helps_and_not_beyond_its_limit(widening: Widening, clock: ManualClock) -> None:
    for hosts in (2, 3):
        assert judged(widening, clock, before=hosts * MIB, rate=(hosts + 1) * MIB, hosts=hosts) is Advice.ADD
    assert judged(widening, clock, before=4 * MIB, rate=5 * MIB, hosts=4) is Advice.STAY


@pytest.mark.parametrize("rate", [0.81, 1.0, 1.09])
def test_a_host_that_does_not_make_the_whole_faster_leaves_and_lines_are_tried_again_later(
    widening: Widening, clock: ManualClock, rate: float
) -> None:
    """What it gives is what the other one lost."""
    assert judged(widening, clock, before=MIB, rate=rate * MIB, newest_rate=MIB / 2) is Advice.RETIRE
    assert look(widening, MIB, 1, giving_seconds=9.0) is Advice.STAY
    clock.advance(AGAIN_SECONDS)
    assert look(widening, MIB, 1, giving_seconds=9.0) is Advice.ADD


def test_a_host_that_is_slow_leaves_for_good_and_another_is_tried_at_once(
    widening: Widening, clock: ManualClock
) -> None:
    before, slow = 10 * MIB, MIB / 2
    assert judged(widening, clock, before=before, rate=before + slow, newest_rate=slow) is Advice.DROP
    assert look(widening, before, 1, giving_seconds=9.0) is Advice.ADD


def test_a_host_is_not_sent_away_because_another_one_stalls(widening: Widening, clock: ManualClock) -> None:
    """It may be the only one that gives."""
    assert judged(widening, clock, before=10 * MIB, rate=5 * MIB) is Advice.ADD


def test_a_host_that_ended_by_itself_is_not_judged(widening: Widening, clock: ManualClock) -> None:
    widening.added(MIB)
    widening.gone()
    clock.advance(JUDGE_SECONDS)
    assert look(widening, MIB, 1, giving_seconds=9.0) is Advice.ADD


def test_where_there_is_nobody_to_add_nobody_is_looked_for_at_once(
    widening: Widening, clock: ManualClock
) -> None:
    widening.nobody()
    assert look(widening, MIB, 1, giving_seconds=9.0) is Advice.STAY
    clock.advance(AGAIN_SECONDS)
    assert look(widening, MIB, 1, giving_seconds=9.0) is Advice.ADD
