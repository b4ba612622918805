"""When one more host is asked for pieces, and when it leaves again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sampan.mirror.widening import (
    AGAIN_SECONDS,
    DOUBT_SECONDS,
    FIRST_LOOK_SECONDS,
    JUDGE_SECONDS,
    PATIENCE_SECONDS,
    WORTH_SECONDS,
    Advice,
    View,
    Widening,
)
from sampan.testing import ManualClock

MIB = 1024 * 1024
LONE = View(received_bytes=0, rate=MIB, newest_rate=MIB, hosts=1, missing=1000 * MIB, is_giving=True)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def widening(clock: ManualClock) -> Widening:
    made = Widening(clock, hosts_max=4)
    clock.advance(FIRST_LOOK_SECONDS)
    return made


def after(
    widening: Widening,
    clock: ManualClock,
    seconds: float,
    *,
    before: float,
    rate: float,
    newest_rate: float = MIB,
    hosts: int = 2,
) -> Advice:
    """What is said of a host so long after its first byte; ``rate``: of all together since then."""
    view = replace(LONE, rate=rate, newest_rate=newest_rate, hosts=hosts)
    widening.added(before)
    assert widening.look(replace(view, is_giving=False)) is Advice.STAY
    clock.advance(0.2)
    assert widening.look(view) is Advice.STAY
    clock.advance(seconds)
    return widening.look(replace(view, received_bytes=int(rate * seconds)))


def test_it_begins_with_one_host(clock: ManualClock) -> None:
    widening = Widening(clock, hosts_max=4)
    assert widening.look(LONE) is Advice.STAY
    clock.advance(FIRST_LOOK_SECONDS)
    assert widening.look(LONE) is Advice.ADD


@pytest.mark.parametrize(("missing", "advice"), [(int(WORTH_SECONDS * 10), Advice.STAY), (21, Advice.ADD)])
def test_what_is_done_soon_is_not_worth_another_host(
    widening: Widening, missing: int, advice: Advice
) -> None:
    assert widening.look(replace(LONE, rate=10.0, missing=missing)) is advice


def test_a_host_that_gives_nothing_at_all_is_joined(widening: Widening) -> None:
    assert widening.look(replace(LONE, rate=0.0, newest_rate=0.0, is_giving=False)) is Advice.ADD


def test_nobody_is_added_while_the_last_one_has_yet_to_show_what_it_gives(
    widening: Widening, clock: ManualClock
) -> None:
    assert after(widening, clock, JUDGE_SECONDS * 0.9, before=MIB, rate=2 * MIB) is Advice.STAY


def test_a_host_that_stays_silent_does_not_keep_others_out(widening: Widening, clock: ManualClock) -> None:
    silent = replace(LONE, hosts=2, newest_rate=0.0, is_giving=False)
    widening.added(MIB)
    clock.advance(PATIENCE_SECONDS - 0.1)
    assert widening.look(silent) is Advice.STAY
    clock.advance(0.2)
    assert widening.look(silent) is Advice.ADD


def test_it_widens_while_that_helps_and_not_beyond_its_limit(widening: Widening, clock: ManualClock) -> None:
    for hosts in (2, 3):
        before, rate = hosts * MIB, (hosts + 1) * MIB
        assert after(widening, clock, JUDGE_SECONDS, before=before, rate=rate, hosts=hosts) is Advice.ADD
    assert after(widening, clock, JUDGE_SECONDS, before=4 * MIB, rate=5 * MIB, hosts=4) is Advice.STAY


def test_a_host_that_does_not_help_yet_is_given_time(widening: Widening, clock: ManualClock) -> None:
    """Far away, a connection takes its time to get going."""
    assert after(widening, clock, DOUBT_SECONDS * 0.9, before=MIB, rate=MIB) is Advice.STAY


def test_what_came_before_its_first_byte_does_not_speak_for_a_host(
    widening: Widening, clock: ManualClock
) -> None:
    """The rates of the last second still have some of the time in them when the line was another's alone."""
    shared = replace(LONE, rate=1.5 * MIB, newest_rate=MIB / 2, hosts=2)
    widening.added(MIB)
    assert widening.look(shared) is Advice.STAY
    clock.advance(JUDGE_SECONDS)
    assert widening.look(replace(shared, received_bytes=int(MIB * JUDGE_SECONDS))) is Advice.STAY


@pytest.mark.parametrize("rate", [0.81, 1.0, 1.09])
def test_a_host_that_does_not_make_the_whole_faster_leaves_and_lines_are_tried_again_later(
    widening: Widening, clock: ManualClock, rate: float
) -> None:
    """What it gives is what the other one lost."""
    advice = after(widening, clock, DOUBT_SECONDS, before=MIB, rate=rate * MIB, newest_rate=MIB / 2)
    assert advice is Advice.RETIRE
    assert widening.look(LONE) is Advice.STAY
    clock.advance(AGAIN_SECONDS)
    assert widening.look(LONE) is Advice.ADD


def test_a_host_that_is_slow_leaves_for_good_and_another_is_tried_at_once(
    widening: Widening, clock: ManualClock
) -> None:
    before, slow = 10 * MIB, MIB / 2
    advice = after(widening, clock, DOUBT_SECONDS, before=before, rate=before + slow, newest_rate=slow)
    assert advice is Advice.DROP
    assert widening.look(replace(LONE, rate=before)) is Advice.ADD


def test_a_host_is_not_sent_away_because_another_one_stalls(widening: Widening, clock: ManualClock) -> None:
    """It may be the only one that gives."""
    assert after(widening, clock, DOUBT_SECONDS, before=10 * MIB, rate=5 * MIB) is Advice.ADD


def test_a_host_that_ended_by_itself_is_not_judged(widening: Widening, clock: ManualClock) -> None:
    widening.added(MIB)
    widening.gone()
    clock.advance(DOUBT_SECONDS)
    assert widening.look(LONE) is Advice.ADD


def test_where_there_is_nobody_to_add_nobody_is_looked_for_at_once(
    widening: Widening, clock: ManualClock
) -> None:
    widening.nobody()
    assert widening.look(LONE) is Advice.STAY
    clock.advance(AGAIN_SECONDS)
    assert widening.look(LONE) is Advice.ADD
