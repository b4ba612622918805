"""How often an operator may refuse us, and that it never gets as far as a ban."""

from __future__ import annotations

import asyncio

import pytest

from sampan.errors import OverBudget
from sampan.testing import ManualClock
from sampan.upstream.budget import (
    DAY_SECONDS,
    MARGIN_SHARE,
    SOFT_SHARE,
    WINDOW_SECONDS,
    Budget,
    Left,
    Refusals,
)
from sampan.upstream.host import REFUSALS_LIMIT, REFUSALS_MAX, Host
from sampan.upstream.limits import WAITING

MIRROR = Host.from_url("https://docker.m.daocloud.io")
SISTER = Host.from_url("https://m.daocloud.io/ghcr.io")
OTHER = Host.from_url("https://mirror.test")
BANNED_AFTER = 100  # in two days


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def budget(clock: ManualClock) -> Budget:
    return Budget(clock)


def refuse(budget: Budget, times: int, *, host: Host = MIRROR, status: int = 404) -> None:
    for _ in range(times):
        budget.answered(host, status)


async def ask(budget: Budget, status: int, gate: asyncio.Event | None = None) -> None:
    async with budget.asking(MIRROR):
        if gate is not None:
            await gate.wait()
        budget.answered(MIRROR, status)


def test_the_default_stays_below_what_the_strictest_mirror_bans_for() -> None:
    assert MIRROR.refusals_max == REFUSALS_MAX < BANNED_AFTER


def test_all_that_an_operator_runs_shares_one_budget_and_no_other(budget: Budget) -> None:
    refuse(budget, REFUSALS_MAX // 2)
    refuse(budget, REFUSALS_MAX // 2, host=SISTER)
    assert budget.rest_seconds(MIRROR) == budget.rest_seconds(SISTER) == WINDOW_SECONDS
    assert budget.rest_seconds(OTHER) == 0
    assert budget.spent() == {"https://docker.m.daocloud.io", "https://m.daocloud.io"}


def test_a_third_of_it_within_a_day_is_low_and_a_day_later_no_more(
    budget: Budget, clock: ManualClock
) -> None:
    refuse(budget, REFUSALS_MAX // SOFT_SHARE - 1)
    assert not budget.is_low(MIRROR)
    refuse(budget, 1)
    assert budget.is_low(MIRROR)
    clock.advance(DAY_SECONDS)
    assert not budget.is_low(MIRROR)


async def test_one_refusal_too_many_is_not_asked_for_until_the_oldest_is_two_days_old(
    budget: Budget, clock: ManualClock
) -> None:
    refuse(budget, 1)
    clock.advance(3600)
    refuse(budget, REFUSALS_MAX - 1)
    with pytest.raises(OverBudget) as caught:
        await ask(budget, 404)
    assert caught.value.retry_after_seconds == WINDOW_SECONDS - 3600
    assert "daocloud.io has refused 90 requests in two days" in caught.value.message
    clock.advance(WINDOW_SECONDS - 3600)
    await ask(budget, 404)
    with pytest.raises(OverBudget):
        await ask(budget, 404)


@pytest.mark.parametrize("status", [402, 403, 404, 429, 451, 500, 502, 503, 504])
def test_each_refusal_counts(budget: Budget, status: int) -> None:
    refuse(budget, 1, status=status)
    assert budget.left() == [Left("daocloud.io", REFUSALS_MAX - 1)]


@pytest.mark.parametrize("status", [200, 206, 304, 307, 401])
def test_an_answer_and_the_question_for_a_login_do_not(budget: Budget, status: int) -> None:
    refuse(budget, 1, status=status)
    assert budget.left() == []


@pytest.mark.parametrize(
    ("behind", "left"),
    [
        ("blobs.m.daocloud.io", REFUSALS_MAX - 1),
        ("blobs.daocloud.io:8443", REFUSALS_MAX - 1),
        ("image-mirror.oss-cn-shanghai.aliyuncs.com", None),
        ("[2001:db8::1]:443", None),
    ],
)
def test_what_a_storage_refuses_counts_where_it_is_the_operators_own(
    budget: Budget, behind: str, left: int | None
) -> None:
    budget.answered(MIRROR, 403, behind)
    assert budget.left() == ([] if left is None else [Left("daocloud.io", left)])


async def test_however_many_are_asked_at_once_a_tenth_more_at_most_is_refused(budget: Budget) -> None:
    gate = asyncio.Event()
    asked = [asyncio.create_task(ask(budget, 404, gate)) for _ in range(500)]
    await asyncio.sleep(0)
    gate.set()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    refused = sum(outcome is None for outcome in outcomes)
    assert refused == REFUSALS_MAX + REFUSALS_MAX // MARGIN_SHARE == BANNED_AFTER - 1
    assert {type(outcome) for outcome in outcomes} == {type(None), OverBudget}


async def test_whoever_is_one_too_many_at_once_waits_for_those_in_flight_to_end_well(budget: Budget) -> None:
    refuse(budget, REFUSALS_MAX - 1)
    gate = asyncio.Event()
    asked = [asyncio.create_task(ask(budget, 200, gate)) for _ in range(50)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert not any(task.done() for task in asked)
    gate.set()
    await asyncio.gather(*asked)
    assert budget.left() == [Left("daocloud.io", 1)]


async def test_whoever_asks_is_told_that_it_waits_for_others_and_when_not_any_more(budget: Budget) -> None:
    refuse(budget, REFUSALS_MAX - 1)
    gate = asyncio.Event()
    in_flight = [asyncio.create_task(ask(budget, 200, gate)) for _ in range(REFUSALS_MAX // MARGIN_SHARE + 1)]
    await asyncio.sleep(0)
    told: list[bool] = []
    WAITING.set(told.append)
    waits = asyncio.create_task(ask(budget, 200))
    await asyncio.sleep(0)
    assert told == [True]
    gate.set()
    await asyncio.gather(waits, *in_flight)
    assert told == [True, False]


async def test_whoever_is_cancelled_while_it_waits_or_asks_leaves_no_trace(budget: Budget) -> None:
    refuse(budget, REFUSALS_MAX - 1)
    asked = [asyncio.create_task(ask(budget, 404, asyncio.Event())) for _ in range(50)]
    await asyncio.sleep(0)
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    await ask(budget, 200)
    assert budget.left() == [Left("daocloud.io", 1)]


@pytest.mark.parametrize(
    "host",
    [
        Host.from_url("https://registry-1.docker.io", role="origin"),
        Host.from_url("http://192.168.1.5:5000"),
        Host.from_url("https://harbor.example", private=True),
        Host.from_url("https://sampan.example", namespace="docker.io"),
    ],
    ids=["origin", "private address", "private", "mirror of ours"],
)
def test_whoever_does_not_ban_may_refuse_as_often_as_it_likes(budget: Budget, host: Host) -> None:
    refuse(budget, 5 * REFUSALS_MAX, host=host)
    assert not budget.is_low(host)
    assert budget.rest_seconds(host) == 0
    assert budget.left() == []
    assert budget.remembered() == []


def test_a_mirror_may_have_a_budget_of_its_own(budget: Budget) -> None:
    strict = Host.from_url("http://192.168.1.5:5000", max_refusals=2)
    refuse(budget, 2, host=strict)
    assert budget.is_low(strict)
    assert budget.rest_seconds(strict) == WINDOW_SECONDS


def test_it_outlives_a_restart_whatever_the_monotonic_clock_of_the_next_process_is(
    budget: Budget, clock: ManualClock
) -> None:
    refuse(budget, REFUSALS_MAX)
    written = budget.remembered()
    later = ManualClock(5.0)
    later.wall_offset_seconds = clock.time() + 3600 - 5.0
    again = Budget(later)
    again.recall(written, [MIRROR])
    assert again.rest_seconds(MIRROR) == pytest.approx(WINDOW_SECONDS - 3600)
    (refusals,) = again.remembered()
    assert refusals.operator == "daocloud.io"
    assert refusals.at == pytest.approx(written[0].at)


def test_after_a_restart_it_tells_at_once_what_is_left_and_of_whom_no_more_is_asked(
    budget: Budget, clock: ManualClock
) -> None:
    refuse(budget, 1)
    refuse(budget, REFUSALS_MAX, host=OTHER)
    again = Budget(clock)
    again.recall([*budget.remembered(), Refusals("gone.test", (clock.time(),))], [MIRROR, OTHER])
    assert again.left() == [Left(OTHER.operator, 0), Left("daocloud.io", REFUSALS_MAX - 1)]
    assert again.spent() == {OTHER.url}


def test_what_was_written_down_by_a_wrong_clock_happened_now(budget: Budget, clock: ManualClock) -> None:
    budget.recall([Refusals("daocloud.io", (clock.time() + 10**9,) * REFUSALS_MAX)], [MIRROR])
    assert budget.rest_seconds(MIRROR) == WINDOW_SECONDS


def test_no_setting_keeps_more_refusals_than_there_is_room_for(budget: Budget) -> None:
    generous = Host.from_url("https://mirror.test", max_refusals=REFUSALS_LIMIT)
    for _ in range(REFUSALS_LIMIT):
        budget.answered(generous, 404)
    assert budget.rest_seconds(generous) == WINDOW_SECONDS
