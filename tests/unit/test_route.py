"""Which host next: the order of hosts, and who is never asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sampan.errors import (
    Attempt,
    Denied,
    HostError,
    PullLimited,
    RateLimited,
    ServerFault,
    TimedOut,
    Unreachable,
    WrongContent,
)
from sampan.mirror.route import Question, plan_route
from sampan.oci import Digest
from sampan.testing import ManualClock
from sampan.upstream.health import UNAVAILABLE_SECONDS, Health
from sampan.upstream.host import Host
from sampan.upstream.quota import REST_SECONDS

A = Host.from_url("https://a.test")
B = Host.from_url("https://b.test")
C = Host.from_url("https://c.test")
DIGEST = Digest.of(b"layer")
BLOB = Question("docker.io", "library/alpine", "blob", DIGEST)
TAG = Question("docker.io", "library/alpine", "manifest", "3")
BROKEN = ServerFault("502", outcome="server-error", status=502)


def failing(health: Health, host: Host, error: HostError, *, times: int = 1) -> None:
    for _ in range(times):
        attempt = Attempt(host.name, error.outcome, 0.0)
        health.fail(host, BLOB.repository, "blob", str(DIGEST), error, attempt)


def test_healthy_hosts_keep_the_configured_order() -> None:
    assert plan_route([B, A, C], BLOB, Health(ManualClock())).hosts == (B, A, C)


def test_a_host_that_failed_lately_goes_behind_and_a_liar_last() -> None:
    health = Health(ManualClock())
    failing(health, A, WrongContent("lie", outcome="wrong-content"))
    failing(health, B, BROKEN)
    assert plan_route([A, B, C], BLOB, health).hosts == (C, B, A)


def test_an_open_breaker_is_not_asked_while_another_can_be() -> None:
    health = Health(ManualClock())
    failing(health, A, BROKEN, times=3)
    route = plan_route([A, B], BLOB, health)
    assert route.hosts == (B,)
    assert [attempt.host for attempt in route.resting] == ["a.test"]


def test_when_all_rest_nobody_is_asked_at_once_and_all_after_some_seconds() -> None:
    clock = ManualClock()
    health = Health(clock)
    for host in (A, B):
        failing(health, host, TimedOut("silence", outcome="first-byte-timeout"))
    assert plan_route([A, B], BLOB, health).hosts == ()
    clock.advance(UNAVAILABLE_SECONDS)
    assert plan_route([A, B], BLOB, health).hosts == (A, B)


def test_a_route_on_which_all_have_denied_says_so() -> None:
    health = Health(ManualClock())
    for host in (A, B):
        failing(health, host, Denied("403", outcome="denied", status=403))
    route = plan_route([A, B], BLOB, health)
    assert (route.hosts, route.denied) == ((), True)


def test_a_host_that_may_only_pull_is_not_asked_what_a_tag_means() -> None:
    puller = Host.from_url("https://p.test", capabilities=frozenset({"pull"}))
    health = Health(ManualClock())
    assert plan_route([puller, A], TAG, health).hosts == (A,)
    assert plan_route([puller, A], BLOB, health).hosts == (puller, A)


def test_a_host_is_never_asked_outside_its_allow_list_or_rename_table() -> None:
    picky = Host.from_url("https://p.test", allow=("mycorp/*",))
    renamed = Host.from_url("https://r.test", repositories={"pause": "google_containers/pause"})
    assert plan_route([picky, renamed, A], BLOB, Health(ManualClock())).hosts == (A,)


def test_a_question_prints_as_the_reference_it_is_about() -> None:
    assert str(TAG) == "docker.io/library/alpine:3"
    assert str(BLOB) == f"docker.io/library/alpine@{DIGEST}"
    assert str(Question("docker.io", "a/b", "tags", "")) == "tags of docker.io/a/b"


def test_hosts_that_rest_are_the_last_resort_once_their_failure_is_some_seconds_old() -> None:
    clock = ManualClock()
    health = Health(clock)
    failing(health, A, BROKEN, times=3)
    assert plan_route([A, B], BLOB, health).last_resort == ()
    clock.advance(UNAVAILABLE_SECONDS)
    route = plan_route([A, B], BLOB, health)
    assert (route.hosts, route.last_resort) == ((B,), (A,))
    assert route.rests == {"a.test": 0.0}


def test_a_host_that_named_its_time_is_no_last_resort() -> None:
    clock = ManualClock()
    health = Health(clock)
    failing(health, A, RateLimited("429", outcome="rate-limited", status=429, retry_after_seconds=60))
    clock.advance(UNAVAILABLE_SECONDS)
    assert plan_route([A, B], BLOB, health).last_resort == ()


def test_what_rests_is_told_by_the_name_of_the_host_that_was_to_be_asked() -> None:
    health = Health(ManualClock())
    same_machine = Host.from_url("https://a.test/prefix")
    failing(health, A, Unreachable("refused", outcome="refused"), times=3)
    (attempt,) = plan_route([same_machine], BLOB, health).resting
    assert (attempt.host, attempt.outcome) == ("a.test/prefix", "refused")


def pulls(health: Health, host: Host, left: int) -> None:
    headers = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": f"{left};w=21600"}
    health.quota.note(host, headers.get, 200, head=True)


def out_of_pulls(health: Health, host: Host) -> None:
    health.quota.limited(host, PullLimited("429", outcome="pull-limit", status=429), head=False)


@pytest.mark.row("H8")
def test_hosts_with_few_pulls_go_behind_those_with_enough_but_before_those_that_failed() -> None:
    health = Health(ManualClock())
    pulls(health, A, 5)
    health.fail(B, TAG.repository, "manifest", "3", BROKEN, Attempt("b.test", "server-error", 0.0))
    assert plan_route([A, B, C], TAG, health).hosts == (C, A, B)
    assert plan_route([A, B, C], replace(TAG, object=DIGEST), health).hosts == (C, A, B)


@pytest.mark.row("H8")
def test_a_host_without_pulls_is_asked_last_and_only_when_nobody_else_could_serve_it() -> None:
    health = Health(ManualClock())
    pulls(health, A, 0)
    route = plan_route([A, B], TAG, health)
    assert (route.hosts, route.last_resort) == ((B,), (A,))
    alone = plan_route([A], TAG, health)
    assert (alone.hosts, alone.last_resort) == ((A,), ())


def test_what_is_free_is_asked_of_a_host_without_pulls_as_of_any_other() -> None:
    health = Health(ManualClock())
    out_of_pulls(health, A)
    assert plan_route([A, B], replace(TAG, method="HEAD"), health).hosts == (A, B)
    assert plan_route([A, B], BLOB, health).hosts == (A, B)


@pytest.mark.parametrize("left", [0, 5])
def test_whoever_has_an_answer_spares_the_last_pulls(left: int) -> None:
    health = Health(ManualClock())
    pulls(health, A, left)
    route = plan_route([A], replace(TAG, spares=True), health)
    assert (route.hosts, route.last_resort, route.denied) == ((), (), False)
    assert [attempt.outcome for attempt in route.resting] == ["pull-limit"]
    assert route.rests == {"a.test": 21_600}


def test_a_host_without_pulls_that_rests_as_well_is_not_asked_before_there_are_any() -> None:
    health = Health(clock := ManualClock())
    failing(health, A, Unreachable("refused", outcome="refused"), times=3)
    clock.advance(UNAVAILABLE_SECONDS)
    out_of_pulls(health, A)
    assert plan_route([A], TAG, health).rests == {"a.test": REST_SECONDS}


def test_a_host_that_said_that_there_are_no_pulls_is_left_alone_until_its_rest_is_over() -> None:
    health = Health(clock := ManualClock())
    out_of_pulls(health, A)
    route = plan_route([A], TAG, health)
    assert (route.hosts, route.rests) == ((), {"a.test": REST_SECONDS})
    assert not route.denied
    clock.advance(REST_SECONDS)
    assert plan_route([A, B], TAG, health).last_resort == (A,)
    assert plan_route([A], TAG, health).hosts == (A,)


def test_a_host_that_named_no_window_is_asked_again_after_its_rest_whatever_is_stored() -> None:
    health = Health(clock := ManualClock())
    out_of_pulls(health, A)
    stored = replace(TAG, spares=True)
    assert plan_route([A], stored, health).hosts == ()
    clock.advance(REST_SECONDS)
    assert plan_route([A], stored, health).hosts == (A,)
    assert plan_route([A, B], stored, health).last_resort == (A,)
    pulls(health, A, 0)  # now it counts aloud: who has an answer waits
    assert plan_route([A], stored, health).hosts == ()


def test_a_host_without_pulls_that_fails_is_the_very_last_resort() -> None:
    health = Health(clock := ManualClock())
    for host in (A, B):
        pulls(health, host, 0 if host is A else 50)
        error = TimedOut("silence", outcome="connect-timeout")
        for _ in range(4):
            health.fail(
                host, TAG.repository, "manifest", "3", error, Attempt(host.name, "connect-timeout", 0.0)
            )
    assert plan_route([A, B], TAG, health).hosts == ()
    clock.advance(UNAVAILABLE_SECONDS)
    assert plan_route([A], TAG, health).hosts == (A,)
    assert plan_route([A, B], TAG, health).hosts == (B, A)
    assert plan_route([A, C], TAG, health).last_resort == (A,)
    assert plan_route([A], replace(TAG, spares=True), health).hosts == ()
    out_of_pulls(health, A)
    assert plan_route([A], TAG, health).hosts == ()


def test_a_host_that_is_denied_is_not_asked_however_many_pulls_it_has() -> None:
    health = Health(ManualClock())
    denied = Denied("403", outcome="denied", status=403)
    health.fail(A, TAG.repository, "manifest", "3", denied, Attempt("a.test", "denied", 0.0))
    out_of_pulls(health, A)
    assert plan_route([A], TAG, health).denied
