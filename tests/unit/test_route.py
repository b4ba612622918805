"""Which host next: the order of hosts, and who is never asked."""

from __future__ import annotations

from sampan.errors import (
    Attempt,
    Denied,
    HostError,
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
    assert route.undecided == {"a.test"}


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
