"""A host that is later than its own usual: who is asked beside it, how often, and what it loses by that."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest

from sampan.errors import AllHostsFailed, Attempt, HostError, Missing, ServerFault, TimedOut
from sampan.mirror.patience import Patience
from sampan.mirror.race import Race, Won
from sampan.mirror.route import Question, plan_route
from sampan.oci import Digest
from sampan.upstream.dialer import DIAL, Dial
from sampan.upstream.dialer import Patience as DialPatience
from sampan.upstream.health import Health, Standing
from sampan.upstream.host import Host
from sampan.upstream.limits import WAITING
from sampan.upstream.tempo import CONNECT, HEDGES_SAVED_MAX, LATE_SECONDS_MIN, SAMPLES_MAX, SAMPLES_MIN
from standstill import LoopClock, StandstillLoop

pytestmark = pytest.mark.standstill

A = Host.from_url("https://a.test")
B = Host.from_url("https://b.test")
C = Host.from_url("https://c.test")
QUESTION = Question("docker.io", "library/alpine", "manifest", "3")
BLOB = Question("docker.io", "library/alpine", "blob", Digest.of(b""))
MISSING = Missing("404", outcome="missing", status=404)
BROKEN = ServerFault("502", outcome="server-error", status=502)
FAST = 0.02
AT_ONCE = 0.001  # some turns of the loop


@pytest.fixture(autouse=True)
async def _no_sockets() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, StandstillLoop)
    loop.grace_seconds = 0.0


@dataclass
class Scene:
    """Hosts whose answers take as long as told; ``connecting``: how long a new connection takes, of whom one
    is made each time."""

    hosts: list[Host]
    question: Question = QUESTION
    connecting: dict[Host, float] = field(default_factory=dict)
    asked: list[tuple[str, float]] = field(default_factory=list)
    noted: list[Attempt] = field(default_factory=list)
    hedges: list[bool] = field(default_factory=list)
    without_spare: set[Host] = field(default_factory=set)
    thought_of: list[Host] = field(default_factory=list)
    health: Health = field(default_factory=lambda: Health(LoopClock()))
    seconds: float = 0.0
    is_full: bool = False  # all our connections to the first host are in use

    async def once(self, *, takes: float = 0.0, **times: float | HostError | None) -> Won[str | None]:
        """One question; ``times`` by the first letter of the host's name, an error after ``takes``; None:
        it says at once that it does not say."""
        began = asyncio.get_running_loop().time()

        async def ask(host: Host, connected: Callable[[], None]) -> str | None:
            self.asked.append((host.name, asyncio.get_running_loop().time() - began))
            if self.is_full and host == self.hosts[0] and (wait := WAITING.get()) is not None:
                wait(True)
                await asyncio.sleep(20.0)
            if host in self.connecting:
                await asyncio.sleep(self.connecting[host])
                DIAL.set(Dial(asyncio.timeout(None), DialPatience(), 10.0))
            connected()
            taken = times[host.name[0]]
            if taken is None:
                return None
            if isinstance(taken, HostError):
                await asyncio.sleep(takes)
                raise taken
            await asyncio.sleep(taken)
            return "yes"

        race: Race[str | None] = Race(
            self.question,
            ask,
            health=self.health,
            clock=LoopClock(),
            noted=self.noted.append,
            patience=Patience(),
            hedged=self.hedges.append,
            has_spare=self.has_spare,
        )
        won = await race.run(plan_route(self.hosts, self.question, self.health))
        self.seconds = asyncio.get_running_loop().time() - began
        return won

    def has_spare(self, host: Host) -> bool:
        self.thought_of.append(host)
        return host not in self.without_spare

    def asked_beside(self, name: str) -> float:
        """When the second host was asked, which is the one of that ``name``."""
        assert self.asked[1][0] == name
        return self.asked[1][1]

    async def often(self, times: Iterable[float], **others: float) -> None:
        """As many questions as ``times``, which are those of the first host."""
        for taken in times:
            await self.once(a=taken, **others)

    async def taught(self, seconds: float = FAST, times: int = SAMPLES_MAX) -> Scene:
        """The first host is known to take that long."""
        await self.often([seconds] * times, b=FAST, c=FAST)
        self.asked.clear()
        assert self.hedges == []
        return self

    def standing(self, host: Host = A) -> Standing:
        return self.health.judge(host, QUESTION.repository, QUESTION.kind, "3").standing


@pytest.mark.parametrize(
    ("usual", "hedged_at"), [(FAST, LATE_SECONDS_MIN), (0.2, 0.3), (1.0, 1.5), (1.9, 2.0)]
)
async def test_another_host_is_asked_when_the_first_is_later_than_its_own_usual(
    usual: float, hedged_at: float
) -> None:
    scene = await Scene([A, B]).taught(usual)
    won = await scene.once(a=30.0, b=FAST)
    assert won.host == B
    assert scene.asked_beside("b.test") == pytest.approx(hedged_at, abs=AT_ONCE)
    assert scene.seconds == pytest.approx(hedged_at + FAST, abs=2 * AT_ONCE)
    assert scene.hedges == [True]


async def test_of_whom_nothing_is_known_only_the_constant_holds() -> None:
    scene = Scene([A, B])
    await scene.once(a=30.0, b=FAST)
    assert scene.asked_beside("b.test") == pytest.approx(Patience().manifest_seconds, abs=AT_ONCE)


async def test_a_host_that_usually_takes_four_seconds_for_blobs_is_not_hurried() -> None:
    scene = await Scene([A, B], question=BLOB).taught(4.0)
    await scene.once(a=4.5, b=FAST)
    assert scene.hedges == []


async def test_steps_are_measured_apart() -> None:
    head = Question("docker.io", "library/alpine", "manifest", "3", "HEAD")
    by_digest = Question("docker.io", "library/alpine", "manifest", Digest.of(b""))
    assert len({QUESTION.step, head.step, by_digest.step}) == 3
    scene = await Scene([A, B]).taught()
    scene.question = head
    await scene.once(a=0.5, b=FAST)
    assert scene.hedges == []


async def test_a_hedge_that_comes_to_nothing_is_told_and_the_first_host_keeps_all() -> None:
    scene = await Scene([A, B]).taught()
    won = await scene.once(a=0.15, b=0.5)
    assert (won.host, scene.hedges, scene.noted) == (A, [False], [])
    assert (scene.standing(A), scene.standing(B)) == (Standing.READY, Standing.READY)


async def test_a_hedge_that_says_nothing_does_not_win_over_a_host_that_may_still_answer() -> None:
    scene = await Scene([A, B, C]).taught()
    won = await scene.once(a=0.5, b=None, c=FAST)
    assert (won.host, won.answer, won.attempts) == (A, "yes", ())
    assert (scene.hedges, scene.noted) == ([False], [])
    assert (scene.standing(A), scene.standing(B)) == (Standing.READY, Standing.READY)


@pytest.mark.parametrize(
    ("first", "seconds"), [(30.0, Patience().manifest_seconds), (BROKEN, 0.5)], ids=["overdue", "failed"]
)
async def test_nor_is_anybody_waited_for_longer_for_a_hedge_that_says_nothing(
    first: float | HostError, seconds: float
) -> None:
    scene = await Scene([A, B]).taught()
    won = await scene.once(a=first, takes=0.5, b=None)
    assert (won.host, won.answer) == (B, None)
    assert scene.seconds == pytest.approx(seconds, abs=2 * AT_ONCE)


async def test_the_third_is_asked_when_the_second_is_late_as_well() -> None:
    scene = Scene([B, C])
    for _ in range(SAMPLES_MIN):
        await scene.once(b=FAST, c=FAST)
    scene.hosts = [A, B, C]
    await scene.taught()
    won = await scene.once(a=30.0, b=30.0, c=FAST)
    assert won.host == C
    assert [when for _, when in scene.asked] == pytest.approx([0.0, 0.1, 0.2], abs=2 * AT_ONCE)


async def test_being_late_once_costs_no_place_but_three_times_in_a_row_does() -> None:
    scene = await Scene([A, B]).taught()
    for _ in range(2):
        for _ in range(2):
            assert (await scene.once(a=1.0, b=FAST)).host == B
            assert scene.standing() is Standing.READY
        await scene.once(a=FAST, b=FAST)
    assert [attempt.outcome for attempt in scene.noted] == ["beaten"] * 4
    await scene.often([FAST] * 50, b=FAST)
    await scene.often([1.0] * 3, b=FAST)
    assert scene.standing() is Standing.DEMOTED


async def test_being_late_by_the_whole_constant_costs_the_place_at_once() -> None:
    scene = await Scene([A, B]).taught()
    won = await scene.once(a=30.0, b=3.0)
    assert won.host == B
    assert scene.standing() is Standing.DEMOTED


async def test_a_host_that_became_slow_is_soon_known_as_slow_and_left_in_peace() -> None:
    """Beaten tries are samples, too; or it would be hedged for ever and nobody would learn."""
    scene = await Scene([A, B]).taught()
    await scene.often([0.5] * 300, b=0.45)
    assert len(scene.hedges) <= HEDGES_SAVED_MAX + 5
    before = len(scene.hedges)
    await scene.often([0.5] * 100, b=0.45)
    assert len(scene.hedges) == before


async def test_a_host_that_is_always_slow_is_not_hedged_beyond_the_budget() -> None:
    scene = Scene([A, B])
    await scene.often([1.5] * 200, b=FAST)
    assert scene.hedges == []


@pytest.mark.parametrize("slow_share", [0.02, 0.045, 0.07, 0.3])
async def test_of_a_thousand_requests_to_a_jittery_host_at_most_a_tenth_are_hedged(slow_share: float) -> None:
    dice = random.Random(1)
    jitter = [1.0 if dice.random() < slow_share else FAST for _ in range(1000)]
    scene = Scene([A, B])
    await scene.often(jitter, b=FAST)
    asked_twice = len(scene.asked) - len(jitter)
    assert len(scene.hedges) == asked_twice <= len(jitter) * 0.1 + HEDGES_SAVED_MAX


async def test_whatever_a_host_does_no_more_than_a_tenth_is_hedged_before_the_constant() -> None:
    """The worst for a percentile: as soon as slowness is usual, it is fast again."""
    scene = await Scene([A, B]).taught()
    count = 0
    for _ in range(40):
        await scene.often([0.3] * 3 + [FAST] * 20, b=0.25)
        count += 23
    assert len(scene.hedges) <= count * 0.1 + HEDGES_SAVED_MAX


async def test_when_the_budget_is_spent_the_constant_still_holds() -> None:
    scene = await Scene([A, B]).taught()
    while scene.health.tempo.may_hedge(A):
        pass
    scene.thought_of.clear()
    await scene.once(a=30.0, b=FAST)
    assert scene.asked_beside("b.test") == pytest.approx(Patience().manifest_seconds, abs=AT_ONCE)
    assert scene.hedges == [True]
    assert len(scene.thought_of) == 2, "once when it was late, once when the constant was over"


async def test_who_has_few_requests_left_is_not_asked_for_what_may_prove_needless() -> None:
    scene = await Scene([A, B, C]).taught()
    scene.without_spare = {B}
    assert (await scene.once(a=30.0, b=FAST, c=FAST)).host == C
    assert (await Scene([A, B, C], without_spare={B}).once(a=30.0, b=FAST, c=FAST)).host == C
    scene.without_spare = {B, C}
    scene.asked.clear()
    await scene.once(a=30.0, b=FAST, c=FAST)
    assert scene.asked_beside("b.test") == pytest.approx(Patience().manifest_seconds, abs=AT_ONCE), (
        "before nobody is asked at all, even such a host is"
    )


async def test_who_failed_lately_is_not_asked_for_being_early() -> None:
    scene = await Scene([A, B]).taught()
    scene.health.fail(B, QUESTION.repository, "manifest", "3", BROKEN, Attempt(B.name, BROKEN.outcome, 0.1))
    await scene.once(a=0.5, b=FAST)
    assert scene.hedges == []


async def test_when_who_was_asked_early_fails_the_others_are_not_asked_one_after_another() -> None:
    """Who is late may be the only one that has it: the rest would refuse it for nothing."""
    scene = await Scene([A, B, C]).taught()
    won = await scene.once(a=0.5, b=MISSING, c=MISSING)
    assert (won.host, [name for name, _ in scene.asked]) == (A, ["a.test", "b.test"])
    scene.asked.clear()
    await scene.once(a=BROKEN, b=FAST, c=FAST, takes=0.5)
    assert [name for name, _ in scene.asked] == ["a.test", "c.test"], "one that denied is not asked early"
    scene = await Scene([A, B, C]).taught()
    assert (await scene.once(a=30.0, b=MISSING, c=FAST)).host == C
    assert scene.asked[2][1] == pytest.approx(Patience().manifest_seconds, abs=AT_ONCE)


@pytest.mark.parametrize(("speed", "hedged"), [(1.0, False), (30.0, True)])
async def test_a_host_whose_bodies_take_much_longer_is_not_asked_early_for_blobs(
    speed: float, hedged: bool
) -> None:
    scene = await Scene([A, B], question=BLOB).taught()
    scene.health.measured(A, 100_000_000, 1.0)
    scene.health.measured(B, int(speed * 1_000_000), 1.0)
    await scene.once(a=0.5, b=FAST)
    assert bool(scene.hedges) is hedged


async def test_the_machine_that_is_late_is_not_asked_a_second_time_under_another_name() -> None:
    scene = await Scene([A, Host.from_url("https://a.test/again")]).taught()
    await scene.once(a=0.5)
    assert scene.hedges == []


async def test_a_connection_that_takes_longer_than_usual_is_hedged_too() -> None:
    scene = await Scene([A, B], connecting={A: 0.05}).taught()
    scene.connecting[A] = 0.9
    won = await scene.once(a=FAST, b=FAST)
    assert won.host == B
    assert scene.asked_beside("b.test") == pytest.approx(LATE_SECONDS_MIN, abs=AT_ONCE)


async def test_a_connection_that_was_kept_open_says_nothing_of_connecting() -> None:
    scene = await Scene([A, B]).taught()
    scene.connecting[A] = 0.9
    assert (await scene.once(a=FAST, b=FAST)).host == A
    assert scene.health.tempo.late_seconds(A, CONNECT) > 1.0


async def test_a_host_that_we_have_no_connection_left_for_is_hedged_by_the_constant_alone() -> None:
    scene = await Scene([A, B], connecting={A: 0.05}).taught()
    scene.is_full = True
    await scene.once(a=FAST, b=FAST)
    assert scene.asked_beside("b.test") == pytest.approx(Patience().connect_seconds, abs=AT_ONCE)


async def test_a_connection_of_whoever_began_the_race_is_none_of_the_hosts() -> None:
    scene = Scene([A])
    DIAL.set(Dial(asyncio.timeout(None), DialPatience(), 10.0))
    await scene.often([FAST] * SAMPLES_MIN)
    assert [step for _, step in scene.health.tempo.series] == [QUESTION.step]


@pytest.mark.parametrize("when", ["before it is connected", "after"])
async def test_the_wait_for_our_own_connections_is_no_time_of_the_hosts(when: str) -> None:
    scene = Scene([A])
    clock = LoopClock()

    async def ask(host: Host, connected: Callable[[], None]) -> str:
        wait = WAITING.get()
        assert wait is not None
        if when == "after":
            connected()
        wait(True)
        await asyncio.sleep(5.0)
        wait(False)
        if when != "after":
            connected()
        await asyncio.sleep(0.2)
        return "yes"

    for _ in range(SAMPLES_MIN):
        race: Race[str] = Race(
            QUESTION, ask, health=scene.health, clock=clock, noted=scene.noted.append, patience=Patience()
        )
        await race.run(plan_route([A], QUESTION, scene.health))
    assert scene.health.tempo.late_seconds(A, QUESTION.step) == pytest.approx(0.3, abs=AT_ONCE)


async def test_a_failure_is_no_answer_but_a_time_out_is_a_long_one() -> None:
    scene = Scene([A])
    for _ in range(SAMPLES_MIN):
        with pytest.raises(AllHostsFailed):
            await scene.once(a=BROKEN)
    assert scene.health.tempo.series == {}
    silent = TimedOut("silence", outcome="first-byte-timeout")
    for _ in range(SAMPLES_MIN):
        with pytest.raises(AllHostsFailed):
            await scene.once(a=silent, takes=10.0)
    assert scene.health.tempo.late_seconds(A, QUESTION.step) > 10.0
