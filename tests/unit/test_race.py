"""Asking hosts one after another: who is asked when, who wins, what is told of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from sampan.errors import (
    AllHostsFailed,
    Attempt,
    Denied,
    HostError,
    Interrupted,
    Missing,
    NotFound,
    RateLimited,
    ServerFault,
    Unreachable,
)
from sampan.mirror.patience import Patience
from sampan.mirror.race import CUT_TRIES_MAX, Race, Won
from sampan.mirror.route import Question, plan_route
from sampan.testing import ManualClock
from sampan.upstream.breaker import BREAKER_FAILURES
from sampan.upstream.health import UNAVAILABLE_SECONDS, Health, Standing
from sampan.upstream.host import Host
from sampan.upstream.limits import WAITING
from standstill import LoopClock

pytestmark = pytest.mark.standstill

A = Host.from_url("https://a.test")
B = Host.from_url("https://b.test")
C = Host.from_url("https://c.test")
QUESTION = Question("docker.io", "library/alpine", "manifest", "3")
QUICK = Patience(connect_seconds=0.02, manifest_seconds=0.04, blob_seconds=0.04, budget_seconds=0.3)
BROKEN = ServerFault("502", outcome="server-error", status=502)
DENIED = Denied("403", outcome="denied", status=403)
MISSING = Missing("404", outcome="missing", status=404)
REFUSED = Unreachable("refused", outcome="refused")
CUT: HostError = Interrupted("cut", outcome="reset")


@dataclass
class Scene:
    """Hosts that answer as told: a text, an error, "silence", "deaf" (never even connected), or "full"
    (all our connections to it are in use)."""

    answers: dict[Host, list[str | HostError]]
    asked: list[str] = field(default_factory=list)
    noted: list[Attempt] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    health: Health = field(default_factory=lambda: Health(LoopClock()))

    async def ask(self, host: Host, connected: Callable[[], None]) -> str:
        self.asked.append(host.name)
        answer = self.answers[host].pop(0)
        if answer == "full" and (tell := WAITING.get()) is not None:
            tell(True)
        if answer in ("deaf", "full"):
            await asyncio.Event().wait()
        connected()
        if answer == "silence":
            await asyncio.Event().wait()
        if isinstance(answer, HostError):
            raise answer
        return answer

    async def drop(self, answer: str) -> None:
        self.dropped.append(answer)

    async def run(self, patience: Patience = QUICK) -> Won[str]:
        race = Race(
            QUESTION,
            self.ask,
            health=self.health,
            clock=LoopClock(),
            noted=self.noted.append,
            drop=self.drop,
            patience=patience,
        )
        return await race.run(plan_route(list(self.answers), QUESTION, self.health))


async def test_the_first_host_that_answers_wins_and_no_other_is_asked() -> None:
    scene = Scene({A: ["yes"], B: ["also"]})
    won = await scene.run()
    assert (won.answer, won.host, won.attempts) == ("yes", A, ())
    assert scene.asked == ["a.test"]


async def test_a_failure_moves_on_at_once_and_is_told() -> None:
    scene = Scene({A: [BROKEN], B: [DENIED], C: ["yes"]})
    won = await scene.run(Patience())
    assert won.host == C
    assert [(a.host, a.outcome, a.status) for a in won.attempts] == [
        ("a.test", "server-error", 502),
        ("b.test", "denied", 403),
    ]


async def test_a_host_that_does_not_connect_is_overtaken_and_loses_its_place() -> None:
    scene = Scene({A: ["deaf", "yes"], B: ["yes", "yes"]})
    won = await scene.run()
    assert won.host == B
    assert [(a.host, a.outcome) for a in scene.noted] == [("a.test", "beaten")]
    assert won.attempts == tuple(scene.noted)
    assert (await scene.run()).host == B


async def test_a_host_that_connects_and_is_silent_is_overtaken_later() -> None:
    scene = Scene({A: ["silence"], B: ["yes"]})
    began = asyncio.get_running_loop().time()
    won = await scene.run(Patience(connect_seconds=0.01, manifest_seconds=0.1))
    assert won.host == B
    assert asyncio.get_running_loop().time() - began >= 0.1


@pytest.mark.parametrize("second", ["also", BROKEN])
async def test_who_ends_in_the_very_moment_of_the_winner_is_taken_at_its_word(
    second: str | HostError,
) -> None:
    gate = asyncio.Event()
    asked: list[Host] = []

    async def ask(host: Host, connected: Callable[[], None]) -> str:
        connected()
        asked.append(host)
        if host == B:
            gate.set()
        await gate.wait()
        if host == B and isinstance(second, HostError):
            raise second
        return "yes" if host == A else "also"

    scene = Scene({A: [], B: []})
    rested = Attempt("b.test", "refused", 0.0)
    scene.health.fail(B, QUESTION.repository, QUESTION.kind, "other", REFUSED, rested)
    race = Race(
        QUESTION,
        ask,
        health=scene.health,
        clock=LoopClock(),
        noted=scene.noted.append,
        drop=scene.drop,
        patience=QUICK,
    )
    won = await race.run(plan_route([A, B], QUESTION, scene.health))
    assert (won.host, asked) == (A, [A, B])
    if isinstance(second, HostError):
        assert [(a.host, a.outcome) for a in won.attempts] == [("b.test", "server-error")]
        assert won.attempts == tuple(scene.noted)
    else:
        assert (won.attempts, scene.dropped) == ((), ["also"])
        assert scene.health.judge(B, QUESTION.repository, QUESTION.kind, "3").standing is Standing.READY


async def test_all_failing_lists_every_attempt() -> None:
    scene = Scene({A: [BROKEN], B: [REFUSED]})
    with pytest.raises(AllHostsFailed) as caught:
        await scene.run()
    assert [a.outcome for a in caught.value.attempts] == ["server-error", "refused"]
    assert caught.value.status == 503
    assert "docker.io/library/alpine:3" in caught.value.message


async def test_only_when_all_deny_it_does_not_exist() -> None:
    with pytest.raises(NotFound) as caught:
        await Scene({A: [DENIED], B: [MISSING]}).run()
    assert caught.value.status == 404
    with pytest.raises(AllHostsFailed) as other:
        await Scene({A: [BROKEN], B: [MISSING]}).run()
    assert not isinstance(other.value, NotFound)


async def test_a_denial_that_is_remembered_still_counts_and_costs_no_request() -> None:
    scene = Scene({A: [DENIED], B: [MISSING]})
    for _ in range(2):
        with pytest.raises(NotFound) as caught:
            await scene.run()
        assert [a.host for a in caught.value.attempts] == ["a.test", "b.test"]
    assert scene.asked == ["a.test", "b.test"]


async def test_a_rate_limit_makes_the_answer_429_with_the_shortest_wait() -> None:
    limits = [
        RateLimited("429", outcome="rate-limited", status=429, retry_after_seconds=s) for s in (60.0, 30.0)
    ]
    with pytest.raises(AllHostsFailed) as caught:
        await Scene({A: [limits[0]], B: [limits[1]]}).run()
    assert (caught.value.status, caught.value.retry_after_seconds) == (429, 30.0)


async def test_a_lone_host_is_tried_once_more() -> None:
    scene = Scene({A: [BROKEN, "yes"]})
    assert (await scene.run()).answer == "yes"
    assert scene.asked == ["a.test", "a.test"]


async def test_a_lone_host_whose_connections_are_cut_is_tried_some_times_more() -> None:
    scene = Scene({A: [CUT] * (CUT_TRIES_MAX - 1) + ["yes"]})
    assert (await scene.run()).host == A
    with pytest.raises(AllHostsFailed) as caught:
        await Scene({A: [CUT] * CUT_TRIES_MAX}).run()
    assert len(caught.value.attempts) == CUT_TRIES_MAX


async def test_a_lone_host_that_denies_is_not_tried_again() -> None:
    scene = Scene({A: [DENIED]})
    with pytest.raises(NotFound):
        await scene.run()
    assert scene.asked == ["a.test"]


async def test_silence_everywhere_ends_within_the_budget_as_504() -> None:
    scene = Scene({A: ["silence"], B: ["silence"]})
    with pytest.raises(AllHostsFailed) as caught:
        await scene.run()
    assert caught.value.status == 504
    assert {a.host for a in caught.value.attempts} == {"a.test", "b.test"}


async def test_an_answer_that_comes_too_late_is_closed() -> None:
    scene = Scene({A: ["late"], B: ["yes"]})
    released = asyncio.Event()
    ask = scene.ask

    async def slow_first(host: Host, connected: Callable[[], None]) -> str:
        answer = await ask(host, connected)
        if host == A:
            try:
                await released.wait()
            except asyncio.CancelledError:
                return answer  # it had just arrived
        return answer

    scene.ask = slow_first  # type: ignore[method-assign]
    assert (await scene.run()).host == B
    assert scene.dropped == ["late"]


async def test_a_cancelled_race_leaves_nothing_running_and_blames_nobody() -> None:
    scene = Scene({A: ["silence"]})
    race = asyncio.create_task(scene.run(Patience()))
    while not scene.asked:
        await asyncio.sleep(0)
    race.cancel()
    with pytest.raises(asyncio.CancelledError):
        await race
    assert scene.noted == []


async def test_with_no_eligible_host_it_fails_at_once() -> None:
    with pytest.raises(AllHostsFailed) as caught:
        await Scene({}).run()
    assert caught.value.attempts == ()
    assert "no host may be asked" in caught.value.message


def rested(hosts: list[Host]) -> Health:
    """The memory of hosts that failed so often that they are not asked, some seconds ago."""
    clock = ManualClock()
    health = Health(clock)
    for host in hosts:
        for _ in range(BREAKER_FAILURES):
            attempt = Attempt(host.name, BROKEN.outcome, 0.1)
            health.fail(host, QUESTION.repository, "manifest", "3", BROKEN, attempt)
    clock.advance(UNAVAILABLE_SECONDS)
    return health


async def test_hosts_that_rest_are_asked_when_the_others_have_failed() -> None:
    scene = Scene({A: ["yes"], B: [MISSING], C: [REFUSED]}, health=rested([A]))
    won = await scene.run(Patience())
    assert won.host == A
    assert scene.asked == ["b.test", "c.test", "a.test"]


async def test_a_denial_of_the_last_resort_completes_a_not_found() -> None:
    scene = Scene({A: [MISSING], B: [DENIED]}, health=rested([A]))
    with pytest.raises(NotFound) as caught:
        await scene.run()
    assert [(a.host, a.outcome) for a in caught.value.attempts] == [
        ("b.test", "denied"),
        ("a.test", "missing"),
    ]


async def test_a_last_resort_that_fails_is_not_asked_again() -> None:
    scene = Scene({A: [BROKEN], B: [MISSING]}, health=rested([A]))
    with pytest.raises(AllHostsFailed) as caught:
        await scene.run()
    assert caught.value.status == 503
    assert scene.asked == ["b.test", "a.test"]


LIMITED = RateLimited("429", outcome="rate-limited", status=429, retry_after_seconds=600.0)


def limited(health: Health, host: Host) -> Health:
    """The host has just named a time, which is kept to."""
    attempt = Attempt(host.name, LIMITED.outcome, 0.1, 429)
    health.fail(host, QUESTION.repository, "manifest", "3", LIMITED, attempt)
    return health


@pytest.mark.parametrize(
    ("last", "seconds"), [(BROKEN, UNAVAILABLE_SECONDS), (LIMITED, 600.0), (MISSING, 600.0)]
)
async def test_the_rest_of_a_host_that_was_asked_all_the_same_is_not_what_the_client_is_told(
    last: HostError, seconds: float
) -> None:
    scene = Scene({A: [last], B: [BROKEN], C: []}, health=limited(rested([A]), C))
    with pytest.raises(AllHostsFailed) as caught:
        await scene.run()
    assert scene.asked == ["b.test", "a.test"]
    assert caught.value.retry_after_seconds == seconds


async def test_a_client_is_told_when_a_lone_host_that_rests_is_asked_all_the_same() -> None:
    health = rested([A])
    scene = Scene({A: [BROKEN, BROKEN]}, health=health)
    for asked in (2, 2):  # its rest is longer, but after that it is tried again rather than nobody
        with pytest.raises(AllHostsFailed) as caught:
            await scene.run()
        assert len(scene.asked) == asked
        assert caught.value.retry_after_seconds == UNAVAILABLE_SECONDS


async def test_a_refusal_of_the_storage_behind_a_host_is_no_denial() -> None:
    behind = Denied("403", outcome="denied", status=403, behind="cdn.test")
    with pytest.raises(AllHostsFailed) as caught:
        await Scene({A: [behind], B: [MISSING]}).run()
    assert caught.value.status == 503
    gone = Missing("404", outcome="missing", status=404, behind="cdn.test")
    with pytest.raises(NotFound):
        await Scene({A: [gone], B: [MISSING]}).run()


async def test_a_host_that_we_have_no_connection_left_for_is_overtaken_without_blame() -> None:
    scene = Scene({A: ["full", "yes"], B: ["yes", "yes"]})
    assert (await scene.run()).host == B
    assert scene.noted == []
    assert (await scene.run()).host == A


async def test_waiting_for_our_own_connections_has_an_end_and_is_not_held_against_the_host() -> None:
    scene = Scene({A: ["full"], B: ["full"]})
    patience = Patience(connect_seconds=0.01, budget_seconds=0.02, turn_seconds=0.03)
    began = asyncio.get_running_loop().time()
    with pytest.raises(AllHostsFailed) as caught:
        await scene.run(patience)
    assert asyncio.get_running_loop().time() - began >= 0.05
    assert [a.outcome for a in caught.value.attempts] == ["busy", "busy"]
    assert (caught.value.status, scene.noted) == (503, [])


async def test_who_was_asked_a_moment_before_the_winner_does_not_lose_its_place() -> None:
    scene = Scene({A: ["silence"], B: ["silence"], C: ["yes"]})
    await scene.run(Patience(connect_seconds=0.02, manifest_seconds=0.05))
    assert [a.host for a in scene.noted] == ["a.test"]


async def test_an_answer_that_says_nothing_changes_nothing_that_is_remembered() -> None:
    scene = Scene({A: ["nothing"]}, health=rested([A]))

    async def ask(host: Host, connected: Callable[[], None]) -> None:
        return None

    before = scene.health.states()
    race: Race[None] = Race(
        QUESTION, ask, health=scene.health, clock=LoopClock(), noted=scene.noted.append, patience=QUICK
    )
    await race.run(plan_route([A], QUESTION, scene.health))
    assert scene.health.states() == before


async def test_an_answer_that_is_won_while_the_race_is_given_up_is_let_go() -> None:
    """Those who lost take a moment to go; whoever asked is cancelled in that moment."""
    dropped, going, may_go = list[str](), asyncio.Event(), asyncio.Event()

    async def ask(host: Host, connected: Callable[[], None]) -> str:
        connected()
        if host == B:
            return "won"
        try:
            await asyncio.Event().wait()
        finally:
            going.set()
            await may_go.wait()
        raise AssertionError

    async def drop(answer: str) -> None:
        dropped.append(answer)

    health = Health(LoopClock())
    race = Race(
        QUESTION,
        ask,
        health=health,
        clock=LoopClock(),
        noted=lambda _: None,
        drop=drop,
        patience=QUICK,
    )
    running = asyncio.create_task(race.run(plan_route([A, B], QUESTION, health)))
    await going.wait()
    for _ in range(3):
        running.cancel()
        await asyncio.sleep(0)
    assert not running.done(), "who lost is still there"
    may_go.set()
    await asyncio.wait([running])
    assert running.cancelled()
    assert dropped == ["won"]
