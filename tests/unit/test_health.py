"""What is remembered of hosts, and for how long."""

from __future__ import annotations

import pytest

from sampan.errors import (
    Attempt,
    Denied,
    HostError,
    Interrupted,
    Missing,
    NotARegistry,
    OtherSize,
    OverBudget,
    PullLimited,
    RateLimited,
    ServerFault,
    TimedOut,
    Unreachable,
    WrongContent,
)
from sampan.testing import ManualClock
from sampan.upstream.breaker import BREAKER_FAILURES, PROBE_SECONDS, REST_SECONDS, REST_SECONDS_MAX
from sampan.upstream.health import (
    DENIED_SECONDS,
    EARNED_BLOBS,
    EARNED_BYTES,
    LOGIN_SECONDS,
    MISSING_SECONDS,
    MISSING_SECONDS_MAX,
    NOT_A_REGISTRY_SECONDS,
    STRIKE_SECONDS,
    UNAVAILABLE_SECONDS,
    Health,
    Standing,
)
from sampan.upstream.host import REFUSALS_MAX, Host

HOST = Host.from_url("https://mirror.test")
SAME_MACHINE = Host.from_url("https://mirror.test/ghcr.io")
REPOSITORY = "library/alpine"
REFUSED = Unreachable("mirror.test refused", outcome="refused")
SILENT = TimedOut("mirror.test is silent", outcome="first-byte-timeout")
BROKEN = ServerFault("502", outcome="server-error", status=502)


class Ground:
    """A Health and its clock, with the two calls that tests make all the time."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.health = Health(self.clock)

    def fail(self, error: HostError, *, host: Host = HOST, kind: str = "blob", times: int = 1) -> None:
        for _ in range(times):
            attempt = Attempt(host.name, error.outcome, 0.1, error.status)
            self.health.fail(host, REPOSITORY, kind, "object", error, attempt)

    def standing(self, *, host: Host = HOST, kind: str = "blob", repository: str = REPOSITORY) -> Standing:
        return self.health.judge(host, repository, kind, "object").standing


@pytest.fixture
def ground() -> Ground:
    return Ground()


def test_a_blob_of_another_size_than_its_manifest_says_puts_a_host_behind_and_never_away(
    ground: Ground,
) -> None:
    for _ in range(10):
        ground.fail(OtherSize("h: 3 bytes in place of a blob of 4 bytes", outcome="other-size"))
        assert ground.standing() is Standing.DEMOTED


def test_an_unknown_host_is_ready(ground: Ground) -> None:
    assert ground.standing() is Standing.READY


def test_one_cheap_failure_puts_a_host_behind_the_others(ground: Ground) -> None:
    ground.fail(BROKEN)
    assert ground.standing() is Standing.DEMOTED


@pytest.mark.row("N1")
def test_three_cheap_failures_in_a_row_open_the_breaker(ground: Ground) -> None:
    ground.fail(BROKEN, times=BREAKER_FAILURES)
    assert ground.standing() is Standing.OPEN


def test_one_time_out_opens_the_breaker_because_it_is_dear(ground: Ground) -> None:
    ground.fail(SILENT)
    assert ground.standing() is Standing.OPEN


def test_a_502_on_blobs_says_nothing_of_manifests(ground: Ground) -> None:
    ground.fail(BROKEN, times=3)
    assert ground.standing(kind="manifest") is Standing.READY


def test_a_502_in_one_repository_says_nothing_of_another(ground: Ground) -> None:
    ground.fail(BROKEN, times=3)
    assert ground.standing(repository="library/debian") is Standing.READY


def test_a_refused_connection_is_the_whole_machines(ground: Ground) -> None:
    ground.fail(REFUSED, times=3)
    assert ground.standing(host=SAME_MACHINE, kind="manifest", repository="x/y") is Standing.OPEN


def test_the_rest_doubles_with_each_failure_up_to_ten_minutes(ground: Ground) -> None:
    for times in range(12):
        ground.fail(BROKEN)
        ground.clock.advance(min(REST_SECONDS * 2**times, REST_SECONDS_MAX) - 0.1)
        assert ground.standing() is not Standing.READY
        ground.clock.advance(0.1)
        assert ground.standing() is Standing.READY


@pytest.mark.row("N1", "N22")
def test_after_the_rest_one_probe_goes_and_the_others_keep_away(ground: Ground) -> None:
    ground.fail(BROKEN, times=3)
    ground.clock.advance(REST_SECONDS_MAX)
    assert ground.standing() is Standing.READY
    ground.health.begin(HOST, REPOSITORY, "blob")
    assert ground.standing() is Standing.OPEN
    ground.clock.advance(PROBE_SECONDS)
    assert ground.standing() is Standing.READY


def test_a_delivered_object_closes_the_breaker(ground: Ground) -> None:
    ground.fail(BROKEN, times=3)
    ground.health.succeed(HOST, REPOSITORY, "blob")
    ground.fail(BROKEN)
    assert ground.standing() is Standing.DEMOTED


def test_a_host_that_is_cut_off_in_every_body_is_opened_though_it_answers(ground: Ground) -> None:
    for _ in range(BREAKER_FAILURES):
        ground.health.reached(HOST)
        ground.fail(Interrupted("cut", outcome="truncated"))
    assert ground.standing() is Standing.OPEN


def test_connections_that_are_cut_at_one_time_before_an_answer_count_as_one(ground: Ground) -> None:
    cut = Interrupted("cut", outcome="reset")
    for _ in range(8):
        attempt = Attempt(HOST.name, cut.outcome, 0.1)
        ground.health.fail(HOST, REPOSITORY, "blob", "object", cut, attempt, answered=False)
    assert ground.standing(repository="any/other") is Standing.DEMOTED
    ground.health.reached(HOST, "blob")
    assert ground.standing() is Standing.READY


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (Denied("403", outcome="denied", status=403), DENIED_SECONDS),
        (Denied("401", outcome="denied", status=401), LOGIN_SECONDS),
        (Denied("the realm says no", outcome="login"), LOGIN_SECONDS),
        (Missing("404", outcome="missing", status=404), MISSING_SECONDS),
    ],
)
def test_a_denial_is_remembered_for_its_time(ground: Ground, error: HostError, seconds: float) -> None:
    ground.fail(error)
    ground.clock.advance(seconds - 1)
    assert ground.standing() is Standing.DENIED
    ground.clock.advance(1)
    assert ground.standing() is Standing.READY


def test_a_404_is_about_one_object_and_a_403_about_its_repository(ground: Ground) -> None:
    ground.fail(Missing("404", outcome="missing", status=404))
    assert ground.health.judge(HOST, REPOSITORY, "blob", "another").standing is Standing.READY
    ground.fail(Denied("403", outcome="denied", status=403))
    assert ground.health.judge(HOST, REPOSITORY, "blob", "another").standing is Standing.DENIED
    assert ground.standing(kind="manifest") is Standing.READY


@pytest.mark.parametrize(
    ("asked", "rests"), [(30.0, 30.0), (1e9, 3600.0), (0.0, 1.0), (-5.0, 1.0), (None, REST_SECONDS)]
)
def test_a_rate_limited_host_rests_as_long_as_it_says_within_reason(
    ground: Ground, asked: float | None, rests: float
) -> None:
    ground.fail(RateLimited("429", outcome="rate-limited", status=429, retry_after_seconds=asked))
    ground.clock.advance(rests - 0.5)
    assert ground.standing(kind="manifest", repository="a/b") is Standing.OPEN
    assert not ground.health.may_ask_anyway(HOST, "a/b", "manifest")
    ground.clock.advance(0.5)
    assert ground.standing() is Standing.READY


def test_when_nobody_else_is_left_a_broken_host_is_tried_again_after_three_seconds(ground: Ground) -> None:
    ground.fail(SILENT)
    assert not ground.health.may_ask_anyway(HOST, REPOSITORY, "blob")
    ground.clock.advance(UNAVAILABLE_SECONDS)
    assert ground.health.may_ask_anyway(HOST, REPOSITORY, "blob")


def test_a_host_earns_streaming_by_verified_blobs_or_bytes(ground: Ground) -> None:
    assert not ground.health.trusted_to_stream(HOST)
    for _ in range(EARNED_BLOBS):
        assert not ground.health.trusted_to_stream(HOST)
        ground.health.verified(HOST, 1000, 0.1)
    assert ground.health.trusted_to_stream(HOST)
    other = Host.from_url("https://other.test")
    ground.health.verified(other, EARNED_BYTES, 1.0)
    assert ground.health.trusted_to_stream(other)


def test_a_strike_ends_streaming_and_puts_a_host_last(ground: Ground) -> None:
    ground.health.verified(HOST, EARNED_BYTES, 1.0)
    ground.fail(WrongContent("lie", outcome="wrong-content"))
    assert not ground.health.trusted_to_stream(HOST)
    ground.clock.advance(REST_SECONDS_MAX - 1)
    assert ground.standing(repository="any/other") is Standing.STRUCK
    ground.clock.advance(STRIKE_SECONDS)
    assert ground.standing(repository="any/other") is Standing.READY


@pytest.mark.parametrize(("verify", "trusted"), [("stream", True), ("before", False)])
def test_the_configuration_overrides_what_a_host_earned(ground: Ground, verify: str, trusted: bool) -> None:
    host = Host.from_url("https://mirror.test", verify=verify)
    if not trusted:
        ground.health.verified(host, EARNED_BYTES, 1.0)
    assert ground.health.trusted_to_stream(host) is trusted


def test_what_is_still_missing_at_a_public_mirror_is_asked_for_half_as_often_each_time(
    ground: Ground,
) -> None:
    for times in range(9):
        ground.fail(Missing("404", outcome="missing", status=404))
        ground.clock.advance(min(MISSING_SECONDS * 2**times, MISSING_SECONDS_MAX) - 0.1)
        assert ground.standing() is Standing.DENIED
        ground.clock.advance(0.1)
        assert ground.standing() is Standing.READY


def test_what_is_missing_at_an_origin_is_asked_for_again_after_a_minute_each_time(ground: Ground) -> None:
    origin = Host.from_url("https://registry.test", role="origin")
    for _ in range(5):
        ground.fail(Missing("404", outcome="missing", status=404), host=origin)
        assert ground.standing(host=origin) is Standing.DENIED
        ground.clock.advance(MISSING_SECONDS)
        assert ground.standing(host=origin) is Standing.READY


def test_a_host_whose_budget_is_low_goes_behind_and_one_whose_budget_is_spent_is_not_asked(
    ground: Ground,
) -> None:
    for _ in range(REFUSALS_MAX // 3):
        assert ground.standing() is Standing.READY
        ground.health.budget.answered(HOST, 404)
    assert ground.standing() is Standing.DEMOTED
    for _ in range(REFUSALS_MAX - REFUSALS_MAX // 3):
        ground.health.budget.answered(HOST, 404)
    verdict = ground.health.judge(HOST, REPOSITORY, "blob", "object")
    assert (verdict.standing, verdict.rest_seconds) == (Standing.OPEN, 2 * 86_400.0)
    assert verdict.last is not None
    assert verdict.last.outcome == "over-budget"
    ground.clock.advance(UNAVAILABLE_SECONDS)
    assert not ground.health.may_ask_anyway(HOST, REPOSITORY, "blob")
    ground.health.reached(HOST)
    assert [(s.host, s.state) for s in ground.health.states()] == [("https://mirror.test", "open")]


@pytest.mark.parametrize(
    "error",
    [
        PullLimited("429", outcome="pull-limit", status=429),
        OverBudget("not asked", outcome="over-budget"),
    ],
)
def test_what_quota_and_budget_say_keeps_nobody_from_anything_else(ground: Ground, error: HostError) -> None:
    ground.fail(error, kind="manifest", times=9)
    assert ground.standing(kind="manifest") is ground.standing() is Standing.READY


def test_the_speed_follows_what_is_measured(ground: Ground) -> None:
    assert ground.health.bytes_per_second(HOST) is None
    ground.health.measured(HOST, 1000, 1.0)
    ground.health.measured(HOST, 2000, 1.0)
    assert ground.health.bytes_per_second(HOST) == pytest.approx(1300)


def test_the_states_for_metrics_name_hosts_and_kinds(ground: Ground) -> None:
    ground.fail(BROKEN, times=3)
    states = {(s.host, s.kind): s.state for s in ground.health.states()}
    assert states == {("https://mirror.test", "host"): "ready", ("mirror.test", "blob"): "open"}


# -- the storage behind a host, silence, and what the host named itself ----------------------------------

STORAGE = "cdn.test"
OTHER_HOST = Host.from_url("https://other.test")
LIMITED = RateLimited("429", outcome="rate-limited", status=429, retry_after_seconds=600)


def refused_by_storage() -> Denied:
    return Denied("403", outcome="denied", status=403, behind=STORAGE)


def test_a_refusal_of_the_storage_is_about_one_object_and_is_no_denial(ground: Ground) -> None:
    ground.fail(refused_by_storage())
    assert ground.standing() is Standing.OPEN
    assert ground.health.judge(HOST, REPOSITORY, "blob", "another").standing is Standing.DEMOTED
    assert ground.standing(kind="manifest") is Standing.READY
    ground.clock.advance(MISSING_SECONDS)
    assert ground.standing() is Standing.READY


def test_an_object_that_the_storage_refuses_is_asked_for_again_when_nothing_else_is_left(
    ground: Ground,
) -> None:
    ground.fail(refused_by_storage())
    assert not ground.health.may_ask_anyway(HOST, REPOSITORY, "blob", "object")
    ground.clock.advance(UNAVAILABLE_SECONDS)
    assert ground.health.may_ask_anyway(HOST, REPOSITORY, "blob", "object")


def test_storage_that_cannot_be_reached_counts_for_every_host_that_leads_there(ground: Ground) -> None:
    far = Unreachable("cdn.test: no connection", outcome="connect-timeout", behind=STORAGE)
    ground.fail(Interrupted("cut", outcome="truncated", behind=STORAGE), host=OTHER_HOST)
    ground.fail(far)
    for host in (HOST, OTHER_HOST):
        assert ground.standing(host=host, repository="any/other") is Standing.OPEN
        assert ground.standing(host=host, kind="manifest") is Standing.READY
    ground.health.reached(OTHER_HOST, "blob")
    assert ground.standing() is Standing.READY


def test_a_limit_of_the_storage_is_not_the_hosts(ground: Ground) -> None:
    ground.fail(
        RateLimited("429", outcome="rate-limited", status=429, retry_after_seconds=60, behind=STORAGE)
    )
    assert ground.standing(repository="any/other") is Standing.OPEN
    assert ground.standing(kind="manifest") is Standing.READY


def test_silence_puts_a_host_behind_in_every_repository_but_for_that_kind_alone(ground: Ground) -> None:
    ground.fail(SILENT)
    assert ground.standing(repository="any/other") is Standing.DEMOTED
    assert ground.standing(kind="manifest", repository="any/other") is Standing.READY
    ground.health.reached(HOST, "blob")
    assert ground.standing(repository="any/other") is Standing.READY


def test_many_requests_that_are_beaten_at_one_time_count_as_one(ground: Ground) -> None:
    for _ in range(8):
        ground.health.beaten(HOST, "blob", Attempt(HOST.name, "beaten", 5.0), connected=True)
    assert ground.standing() is Standing.DEMOTED
    ground.clock.advance(REST_SECONDS)
    assert ground.standing() is Standing.READY


def test_who_is_beaten_before_it_is_connected_goes_behind_for_whatever_it_is_asked(ground: Ground) -> None:
    ground.health.beaten(HOST, "manifest", Attempt(HOST.name, "beaten", 1.0), connected=False)
    assert ground.standing(kind="manifest") is Standing.DEMOTED
    assert ground.standing(kind="blob") is Standing.DEMOTED


def test_no_other_failure_shortens_the_time_that_a_host_named(ground: Ground) -> None:
    ground.fail(LIMITED)
    ground.fail(REFUSED)
    ground.clock.advance(599)
    verdict = ground.health.judge(HOST, REPOSITORY, "blob", "object")
    assert verdict.standing is Standing.OPEN
    assert verdict.last is not None
    assert verdict.last.outcome == "rate-limited"


def test_after_a_time_that_the_host_named_nobody_waits_for_a_probe(ground: Ground) -> None:
    ground.fail(LIMITED)
    ground.clock.advance(600)
    ground.health.begin(HOST, REPOSITORY, "blob")
    assert ground.standing() is Standing.READY
    ground.health.reached(HOST, "blob")
    assert ground.standing() is Standing.READY


def test_a_limit_that_is_told_to_many_in_flight_is_one(ground: Ground) -> None:
    ground.fail(LIMITED)
    ground.clock.advance(0.9)
    ground.fail(LIMITED)
    ground.clock.advance(599.1)
    assert ground.standing() is Standing.READY
    for _ in range(8):
        ground.fail(RateLimited("429", outcome="rate-limited", status=429))
    ground.clock.advance(2 * REST_SECONDS)
    assert ground.standing() is Standing.READY, "the second limit in a row, not the ninth"


def test_a_longer_limit_replaces_the_one_that_holds(ground: Ground) -> None:
    ground.fail(RateLimited("429", outcome="rate-limited", status=429, retry_after_seconds=10))
    ground.fail(LIMITED)
    ground.clock.advance(599)
    assert ground.standing() is Standing.OPEN


def test_what_is_no_registry_goes_behind_for_ten_minutes_in_that_repository(ground: Ground) -> None:
    ground.fail(NotARegistry("a page", outcome="not-a-registry", status=200))
    ground.clock.advance(NOT_A_REGISTRY_SECONDS - 1)
    assert ground.standing() is Standing.DEMOTED
    assert ground.standing(repository="library/other") is Standing.READY
    ground.clock.advance(1)
    assert ground.standing() is Standing.READY


def test_a_probe_that_told_nothing_leaves_the_place_to_the_next(ground: Ground) -> None:
    ground.fail(BROKEN, times=3)
    ground.clock.advance(REST_SECONDS_MAX)
    ground.health.begin(HOST, REPOSITORY, "blob")
    ground.health.excuse(HOST, REPOSITORY, "blob")
    assert ground.standing() is Standing.READY
    ground.fail(BROKEN)
    ground.health.excuse(HOST, REPOSITORY, "blob")
    assert ground.standing() is Standing.OPEN, "only a probe can be excused"


def test_what_was_used_the_longest_time_ago_is_forgotten(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sampan.upstream.recent.REMEMBERED_MAX", 3)
    ground.health.strike(HOST)
    for number in range(10):
        ground.health.measured(Host.from_url(f"https://r{number}.test"), 1000, 1.0)
        ground.health.verified(HOST, 1000, 1.0)
    assert ground.standing() is Standing.STRUCK
    assert len(ground.health.states()) == 3
