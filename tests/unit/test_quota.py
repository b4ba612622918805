"""What is left of the pulls that a host gives, by its own headers and its 429s."""

from __future__ import annotations

import pytest

from sampan.errors import PullLimited
from sampan.secret import Secret
from sampan.testing import ManualClock
from sampan.upstream.host import Host
from sampan.upstream.quota import PROBE_SECONDS, REST_SECONDS, REST_SECONDS_MAX, Quota, Supply

HUB = Host.from_url("https://registry-1.docker.io", role="origin")
LOGGED_IN = Host.from_url("https://registry-1.docker.io", role="origin", username="me", password=Secret("x"))
WINDOW_SECONDS = 21_600


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def quota(clock: ManualClock) -> Quota:
    return Quota(clock)


def say(
    quota: Quota,
    limit: str | None,
    left: str | None,
    *,
    status: int = 200,
    head: bool = False,
    host: Host = HUB,
) -> None:
    headers = {"ratelimit-limit": limit, "ratelimit-remaining": left}
    quota.note(host, headers.get, status, head=head)


def limited(seconds: float | None = None) -> PullLimited:
    return PullLimited("429: no pulls left", outcome="pull-limit", status=429, retry_after_seconds=seconds)


@pytest.mark.row("H8")
@pytest.mark.parametrize(
    ("limit", "left", "supply"),
    [
        (100, 100, Supply.ENOUGH),
        (100, 11, Supply.ENOUGH),
        (100, 10, Supply.LITTLE),
        (100, 1, Supply.LITTLE),
        (100, 0, Supply.NONE),
        (200, 20, Supply.LITTLE),
        (10, 3, Supply.ENOUGH),
        (10, 2, Supply.LITTLE),
    ],
)
def test_a_tenth_of_the_limit_is_little_but_at_least_what_one_image_takes(
    quota: Quota, limit: int, left: int, supply: Supply
) -> None:
    say(quota, f"{limit};w={WINDOW_SECONDS}", f"{left};w={WINDOW_SECONDS}", head=True)
    assert quota.supply(HUB) is supply


def test_a_host_that_says_nothing_has_enough(quota: Quota) -> None:
    say(quota, None, None)
    assert quota.supply(HUB) is Supply.ENOUGH
    assert quota.known() == []


def test_what_was_said_is_unknown_again_when_its_window_has_ended(quota: Quota, clock: ManualClock) -> None:
    say(quota, "100;w=21600", "0;w=21600")
    clock.advance(WINDOW_SECONDS - 1)
    assert (quota.supply(HUB), quota.window_seconds(HUB)) == (Supply.NONE, 1)
    clock.advance(1)
    assert (quota.supply(HUB), quota.window_seconds(HUB)) == (Supply.ENOUGH, 0)
    assert quota.known() == []


@pytest.mark.parametrize(
    ("limit", "left"),
    [
        ("100", "0"),
        ("0;w=21600", "0;w=21600"),
        ("100;w=21600", "101;w=21600"),
        ("100;w=0", "0;w=0"),
        ("100;w=99999999", "0;w=99999999"),
        ("-1;w=21600", "0;w=21600"),
        ("100;w=21600, 10;w=60", "0;w=21600"),
        ("100;w=21600", None),
        (None, "0;w=21600"),
        ("9" * 5000, "0"),
        ("١٠٠;w=21600", "٠;w=21600"),
        ("100;w=21600\r\nX: y", "0;w=21600"),
    ],
)
def test_nonsense_is_not_believed(quota: Quota, limit: str | None, left: str | None) -> None:
    say(quota, limit, left)
    assert quota.supply(HUB) is Supply.ENOUGH
    assert quota.known() == []


def test_a_login_has_pulls_of_its_own(quota: Quota) -> None:
    say(quota, "100;w=21600", "0;w=21600")
    assert (quota.supply(HUB), quota.supply(LOGGED_IN)) == (Supply.NONE, Supply.ENOUGH)


def test_a_mirror_of_several_registries_has_pulls_of_each(quota: Quota) -> None:
    hub, other = (Host.from_url(f"https://m.test/{name}") for name in ("docker.io", "ghcr.io"))
    say(quota, "100;w=21600", "0;w=21600", host=hub)
    assert (quota.supply(hub), quota.supply(other)) == (Supply.NONE, Supply.ENOUGH)
    assert [pulls.place for pulls in quota.known()] == ["https://m.test/docker.io"]


def test_a_429_that_names_no_time_rests_for_minutes_doubled_up_to_an_hour(
    quota: Quota, clock: ManualClock
) -> None:
    for times in range(6):
        quota.limited(HUB, limited(), head=False)
        assert quota.rest_seconds(HUB) == min(REST_SECONDS * 2**times, REST_SECONDS_MAX)
        assert quota.rest_seconds(HUB, head=True) == 0
        clock.advance(quota.rest_seconds(HUB))
        assert quota.supply(HUB) is Supply.NONE
    say(quota, None, None)
    assert quota.supply(HUB) is Supply.ENOUGH
    quota.limited(HUB, limited(), head=False)
    assert quota.rest_seconds(HUB) == REST_SECONDS


def test_what_was_on_its_way_together_is_refused_once(quota: Quota, clock: ManualClock) -> None:
    for rest in (REST_SECONDS, 2 * REST_SECONDS):
        quota.begin(HUB)
        assert quota.limited(HUB, limited(), head=False) == rest
        clock.advance(1)
        assert [quota.limited(HUB, limited(), head=False) for _ in range(7)] == [rest - 1] * 7
        assert quota.rest_seconds(HUB) == rest - 1
        clock.advance(rest - 1)


def test_a_head_that_was_on_its_way_tells_that_heads_count_too(quota: Quota) -> None:
    quota.limited(HUB, limited(), head=False)
    assert quota.limited(HUB, limited(), head=True) == REST_SECONDS
    assert quota.rest_seconds(HUB, head=True) == REST_SECONDS


def test_the_time_that_a_late_answer_names_wins_too(quota: Quota) -> None:
    quota.limited(HUB, limited(), head=False)
    assert quota.limited(HUB, limited(600.0), head=False) == quota.rest_seconds(HUB) == 600


@pytest.mark.row("H6")
@pytest.mark.parametrize(("asked", "rest"), [(0.0, 1.0), (7.0, 7.0), (1e12, 3600.0)])
def test_the_time_that_the_host_names_wins_within_reason(quota: Quota, asked: float, rest: float) -> None:
    quota.limited(HUB, limited(asked), head=False)
    assert quota.rest_seconds(HUB) == rest


def test_one_request_finds_out_whether_there_are_pulls_again(quota: Quota, clock: ManualClock) -> None:
    quota.limited(HUB, limited(), head=False)
    clock.advance(REST_SECONDS)
    assert quota.rest_seconds(HUB) == 0
    quota.begin(HUB)
    assert quota.rest_seconds(HUB) == PROBE_SECONDS


def test_a_head_that_tells_of_pulls_ends_a_rest_that_nobody_named(quota: Quota) -> None:
    quota.limited(HUB, limited(), head=False)
    say(quota, "100;w=21600", "60;w=21600", head=True)
    assert (quota.rest_seconds(HUB), quota.supply(HUB)) == (0, Supply.ENOUGH)
    quota.limited(HUB, limited(), head=False)
    assert quota.rest_seconds(HUB) == 2 * REST_SECONDS  # it said so, and it was not true
    quota.limited(HUB, limited(600.0), head=False)
    say(quota, "100;w=21600", "60;w=21600", head=True)
    assert quota.rest_seconds(HUB) == 600


def test_where_a_head_is_counted_too_it_waits_as_well(quota: Quota, clock: ManualClock) -> None:
    quota.limited(HUB, limited(), head=True)
    assert quota.rest_seconds(HUB, head=True) == REST_SECONDS
    clock.advance(REST_SECONDS)
    say(quota, None, None, head=True)
    quota.limited(HUB, limited(), head=False)
    assert quota.rest_seconds(HUB, head=True) == 0


def test_what_stands_in_the_place_of_a_pull_says_why(quota: Quota) -> None:
    say(quota, "100;w=21600", "7;w=21600")
    assert str(quota.attempt(HUB)) == (
        "registry-1.docker.io: pull-limit: 7 of 100 pulls are left, kept for what is not stored"
    )
    say(quota, "100;w=21600", "0;w=21600")
    assert str(quota.attempt(HUB)) == "registry-1.docker.io: pull-limit: 0 of 100 pulls are left"
    quota.limited(HUB, limited(), head=False)
    assert str(quota.attempt(HUB)) == "registry-1.docker.io: pull-limit (429): no pulls left"


def test_it_outlives_a_restart(quota: Quota, clock: ManualClock) -> None:
    say(quota, "100;w=21600", "3;w=21600")
    later = ManualClock(1.0)
    later.wall_offset_seconds = clock.time() + 600 - 1.0
    again = Quota(later)
    again.recall(quota.known())
    assert again.supply(HUB) is Supply.LITTLE
    assert again.window_seconds(HUB) == pytest.approx(WINDOW_SECONDS - 600)
    later.advance(WINDOW_SECONDS - 600)
    assert again.supply(HUB) is Supply.ENOUGH
