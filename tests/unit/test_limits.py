"""How much one host is asked."""

from __future__ import annotations

import asyncio
import gc

import pytest

from sampan.errors import RateLimited
from sampan.testing import ManualClock
from sampan.upstream.host import Host
from sampan.upstream.limits import WAITING, Limits


def test_a_request_over_the_minutes_number_is_refused_at_once_with_the_time_to_wait() -> None:
    clock = ManualClock()
    limits, host = Limits(clock), Host.from_url("https://a.io", requests_per_minute=20)
    for _ in range(20):
        limits.count(host)
    with pytest.raises(RateLimited) as caught:
        limits.count(host)
    assert caught.value.outcome == "rate-limited"
    assert caught.value.retry_after_seconds == pytest.approx(3.0)


def test_requests_come_back_evenly_and_never_more_than_a_minutes_worth() -> None:
    clock = ManualClock()
    limits, host = Limits(clock), Host.from_url("https://a.io", requests_per_minute=2)
    clock.advance(3600)
    for _ in range(2):
        limits.count(host)
    with pytest.raises(RateLimited):
        limits.count(host)
    clock.advance(30)
    limits.count(host)


def test_hosts_on_one_machine_share_its_limits() -> None:
    limits = Limits(ManualClock())
    one, two = (
        Host.from_url(f"https://a.io/{p}", requests_per_minute=1, max_connections=3) for p in ("x", "y")
    )
    assert limits.slots(one) is limits.slots(two)
    limits.count(one)
    with pytest.raises(RateLimited):
        limits.count(two)


def test_a_host_without_a_number_is_not_counted() -> None:
    limits, host = Limits(ManualClock()), Host.from_url("https://a.io")
    for _ in range(1000):
        limits.count(host)


def test_half_of_a_minutes_requests_are_kept_for_those_that_are_needed() -> None:
    clock = ManualClock()
    limits, host = Limits(clock), Host.from_url("https://a.io", requests_per_minute=4)
    for plenty in (True, True, False, False):
        assert limits.has_plenty(host) is plenty
        limits.count(host)
    clock.advance(45)
    assert limits.has_plenty(host)
    assert limits.has_plenty(Host.from_url("https://b.io"))


async def test_who_listens_is_told_of_the_wait_for_a_turn_and_of_its_end() -> None:
    limits, host = Limits(ManualClock()), Host.from_url("https://a.io", max_connections=1)
    told: list[bool] = []

    async def ask() -> None:
        WAITING.set(told.append)
        async with limits.turn(host):
            pass

    await asyncio.create_task(ask())
    assert told == []
    async with limits.turn(host):
        asking = asyncio.create_task(ask())
        await asyncio.sleep(0)
        assert told == [True]
    await asking
    assert told == [True, False]


async def test_a_turn_that_is_given_up_is_the_next_ones() -> None:
    limits, host = Limits(ManualClock()), Host.from_url("https://a.io", max_connections=1)

    async def ask() -> str:
        async with limits.turn(host):
            return "served"

    async with limits.turn(host):
        first, second = asyncio.create_task(ask()), asyncio.create_task(ask())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
    assert await second == "served"


async def test_the_turns_of_strangers_hosts_are_not_kept() -> None:
    limits = Limits(ManualClock())
    for number in range(100):
        async with limits.turn(Host.from_url(f"https://r{number}.io")):
            pass
    gc.collect()
    assert len(limits._slots) == 0
