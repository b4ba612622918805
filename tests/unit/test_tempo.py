"""How long hosts usually take, when one is late, and how many may be asked twice for that."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.testing import ManualClock
from sampan.upstream.host import Host
from sampan.upstream.tempo import (
    FORGOTTEN_SECONDS,
    HEDGE_SHARE,
    HEDGES_SAVED_MAX,
    LATE_IN_A_ROW_MAX,
    LATE_SECONDS_MIN,
    SAMPLES_MAX,
    SAMPLES_MIN,
    SERIES_MAX,
    Tempo,
)

HOST = Host.from_url("https://mirror.test")
SAME_MACHINE = Host.from_url("https://mirror.test/ghcr.io")
OTHER = Host.from_url("https://other.test")
STEP = "GET manifest"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def tempo(clock: ManualClock) -> Tempo:
    return Tempo(clock)


def answer(tempo: Tempo, seconds: float, times: int = SAMPLES_MIN, host: Host = HOST) -> None:
    for _ in range(times):
        tempo.answered(host, STEP, seconds)


def test_of_whom_nothing_is_known_nobody_says_that_it_is_late(tempo: Tempo) -> None:
    assert tempo.late_seconds(HOST, STEP) == inf
    answer(tempo, 0.02, SAMPLES_MIN - 1)
    assert tempo.late_seconds(HOST, STEP) == inf


def test_no_host_is_late_for_a_hiccup_of_the_network(tempo: Tempo) -> None:
    answer(tempo, 0.02)
    assert tempo.late_seconds(HOST, STEP) == LATE_SECONDS_MIN


def test_a_slow_host_is_late_by_its_own_measure(tempo: Tempo) -> None:
    answer(tempo, 3.0)
    answer(tempo, 0.3, host=OTHER)
    assert tempo.late_seconds(HOST, STEP) == pytest.approx(4.5)
    assert tempo.late_seconds(OTHER, STEP) == pytest.approx(0.45)


def test_hosts_on_one_machine_are_measured_together_and_steps_apart(tempo: Tempo) -> None:
    answer(tempo, 1.0)
    assert tempo.late_seconds(SAME_MACHINE, STEP) == 1.5
    assert tempo.late_seconds(HOST, "HEAD tag") == inf


def test_three_answers_of_the_last_sixty_four_may_be_slow_before_that_is_usual(tempo: Tempo) -> None:
    answer(tempo, 0.2, SAMPLES_MAX)
    answer(tempo, 2.0, 3)
    assert tempo.late_seconds(HOST, STEP) == pytest.approx(0.3)
    answer(tempo, 2.0, 1)
    assert tempo.late_seconds(HOST, STEP) == pytest.approx(3.0)


def test_what_was_usual_long_ago_is_forgotten_as_newer_answers_come(tempo: Tempo) -> None:
    answer(tempo, 2.0, SAMPLES_MAX)
    answer(tempo, 0.2, SAMPLES_MAX)
    assert tempo.late_seconds(HOST, STEP) == pytest.approx(0.3)


def test_what_was_usual_yesterday_is_not_known_to_be_so_today(tempo: Tempo, clock: ManualClock) -> None:
    answer(tempo, 0.02)
    clock.advance(FORGOTTEN_SECONDS + 1)
    assert tempo.late_seconds(HOST, STEP) == inf
    assert list(tempo.usual_seconds()) == []
    answer(tempo, 0.4, 1)
    assert tempo.late_seconds(HOST, STEP) == inf, "the old answers are gone, not only hidden"


def test_who_is_let_go_while_it_is_late_counts_as_having_taken_that_long(tempo: Tempo) -> None:
    answer(tempo, 0.02, SAMPLES_MAX)
    for _ in range(4):
        tempo.let_go(HOST, STEP, 0.4, late_seconds=tempo.late_seconds(HOST, STEP))
    assert tempo.late_seconds(HOST, STEP) == pytest.approx(0.6)


def test_who_is_let_go_before_it_is_late_has_told_nothing(tempo: Tempo) -> None:
    answer(tempo, 1.0)
    for _ in range(SAMPLES_MAX):
        assert not tempo.let_go(HOST, STEP, 0.001, late_seconds=tempo.late_seconds(HOST, STEP))
    assert tempo.late_seconds(HOST, STEP) == 1.5


def test_a_host_that_was_never_in_time_to_be_measured_is_known_as_slow_in_the_end(tempo: Tempo) -> None:
    for _ in range(SAMPLES_MIN):
        tempo.let_go(HOST, STEP, 2.1, late_seconds=2.0)
    assert tempo.late_seconds(HOST, STEP) > 2.0


def test_late_three_times_in_a_row_is_no_accident_but_an_answer_in_time_ends_the_row(tempo: Tempo) -> None:
    answer(tempo, 0.02, SAMPLES_MAX)

    def late() -> bool:
        return tempo.let_go(HOST, STEP, 0.2, late_seconds=0.1)

    for _ in range(2):
        assert [late() for _ in range(LATE_IN_A_ROW_MAX - 1)] == [False, False]
        tempo.answered(HOST, STEP, 0.02)
    assert [late() for _ in range(LATE_IN_A_ROW_MAX)] == [False, False, True]


def test_a_few_hedges_may_come_at_once_and_then_one_for_every_ten_questions(tempo: Tempo) -> None:
    hedged = 0
    for _ in range(1000):
        tempo.asked(HOST)
        hedged += tempo.may_hedge(HOST)
    assert hedged == pytest.approx(1000 * HEDGE_SHARE + HEDGES_SAVED_MAX, abs=1)


def test_each_machine_has_a_budget_of_its_own(tempo: Tempo) -> None:
    while tempo.may_hedge(HOST):
        pass
    assert not tempo.may_hedge(SAME_MACHINE)
    assert tempo.may_hedge(OTHER)


def test_a_stranger_who_chooses_the_hosts_does_not_fill_the_memory(tempo: Tempo) -> None:
    for number in range(SERIES_MAX + 50):
        host = Host.from_url(f"https://r{number}.test")
        tempo.asked(host)
        tempo.answered(host, STEP, 0.1)
    assert len(tempo.series) == SERIES_MAX


def test_the_usual_time_for_metrics_is_the_median(tempo: Tempo) -> None:
    for number in range(21):
        tempo.answered(HOST, STEP, number / 10)
    answer(tempo, 1.0, SAMPLES_MIN - 1, OTHER)
    assert list(tempo.usual_seconds()) == [("https://mirror.test", STEP, 1.0)]


@pytest.mark.parametrize("spread", ["exponential", "uniform", "narrow", "long-tailed"])
def test_of_answers_whose_spread_does_not_change_few_are_late(tempo: Tempo, spread: str) -> None:
    dice = random.Random(1)
    draws: dict[str, Callable[[], float]] = {
        "exponential": lambda: dice.expovariate(5.0),
        "uniform": lambda: dice.uniform(0.02, 0.8),
        "narrow": lambda: dice.gauss(0.5, 0.02),
        "long-tailed": lambda: dice.lognormvariate(-1.5, 0.8),
    }
    draw = draws[spread]
    late = 0
    for _ in range(5000):
        seconds = draw()
        late += seconds > tempo.late_seconds(HOST, STEP)
        tempo.answered(HOST, STEP, seconds)
    assert late <= 5000 * 0.03


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=200))
def test_late_is_more_than_usual_and_never_less_than_a_hiccup(times: list[float]) -> None:
    tempo = Tempo(ManualClock())
    for seconds in times:
        tempo.answered(HOST, STEP, seconds)
    late = tempo.late_seconds(HOST, STEP)
    assert late >= LATE_SECONDS_MIN
    kept = times[-SAMPLES_MAX:]
    assert sum(seconds > late for seconds in kept) <= len(kept) / 20
