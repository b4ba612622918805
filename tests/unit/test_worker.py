"""One connection at a time to a host, and what was measured of it."""

from __future__ import annotations

from sampan.mirror.worker import Worker
from sampan.testing import ManualClock
from sampan.upstream.host import Host

A, B = Host.from_url("https://a.test"), Host.from_url("https://b.test")


def measured(worker: Worker, clock: ManualClock) -> float | None:
    clock.advance(0.5)
    worker.rate.count(1000)
    return worker.rate.per_second()


def test_what_was_measured_of_a_host_counts_when_it_is_turned_to_again() -> None:
    clock = ManualClock()
    worker = Worker(clock)
    worker.turn_to(A)
    before = measured(worker, clock)
    worker.rate.rest()
    worker.leave()
    assert worker.host is None
    assert worker.turn_to(A).per_second() == before


def test_it_says_nothing_of_another_host() -> None:
    clock = ManualClock()
    worker = Worker(clock, A)
    measured(worker, clock)
    assert worker.turn_to(B).per_second() is None


def test_after_a_failure_it_says_nothing_of_the_next_try() -> None:
    clock = ManualClock()
    worker = Worker(clock, A)
    measured(worker, clock)
    worker.leave(failed=True)
    assert worker.turn_to(A).per_second() is None


def test_who_asks_nobody_or_rests_gives_nothing() -> None:
    clock = ManualClock()
    worker = Worker(clock, A)
    assert worker.gives_per_second == 0.0
    assert measured(worker, clock) == worker.gives_per_second == 2000
    worker.rate.rest()
    assert worker.gives_per_second == 0.0
    worker.rate.wake()
    worker.leave()
    assert worker.gives_per_second == 0.0
