"""What the hosts did in one download, and what that is worth to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sampan.clock import Clock
from sampan.errors import Attempt, Interrupted
from sampan.mirror.fetch import BlobSource
from sampan.mirror.ledger import Ledger
from sampan.mirror.patience import Patience
from sampan.mirror.route import Question
from sampan.mirror.tries import ATTEMPTS_MAX, PROGRESS_BYTES, Tries
from sampan.oci import Digest
from sampan.testing import BlackHole, ManualClock
from sampan.upstream.client import RegistryClient
from sampan.upstream.health import EARNED_BLOBS, EARNED_BYTES, Health, Standing
from sampan.upstream.host import Host
from upstreams import client_for

A, B, C = (Host.from_url(f"https://{name}.test") for name in "abc")
DIGEST = Digest.of(b"layer")
QUESTION = Question("docker.io", "library/alpine", "blob", DIGEST)
CUT = Interrupted("cut", outcome="reset")


class Scene:
    """A source whose hosts are never dialled."""

    def __init__(self, client: RegistryClient, *hosts: Host, clock: Clock | None = None) -> None:
        self.health = Health(clock or ManualClock())
        self.noted: list[Attempt] = []
        self.source = BlobSource(
            QUESTION,
            DIGEST,
            hosts,
            client=client,
            health=self.health,
            clock=clock or ManualClock(),
            noted=self.noted.append,
            patience=Patience(),
        )
        self.tries = Tries(self.source)


@pytest.fixture
async def client() -> AsyncIterator[RegistryClient]:
    async with client_for() as client:
        yield client


@pytest.fixture
def scene(client: RegistryClient) -> Scene:
    return Scene(client, A, B, C)


def ledger(*parts: tuple[Host | None, int, int]) -> Ledger:
    made = Ledger()
    for part in parts:
        made.gave(*part)
    return made


async def test_a_host_that_fails_twice_without_progress_is_asked_no_more(scene: Scene) -> None:
    scene.tries.failed(A, CUT, 0, 1.0)
    assert (scene.tries.exhausted(), scene.tries.failing()) == (set(), {A})
    scene.tries.failed(A, CUT, PROGRESS_BYTES - 1, 1.0)
    assert scene.tries.exhausted() == {A}


async def test_progress_makes_up_for_a_failure(scene: Scene) -> None:
    for _ in range(5):
        scene.tries.failed(A, CUT, PROGRESS_BYTES, 1.0)
    assert scene.tries.exhausted() == set()
    assert scene.tries.failing() == {A}, "of no use for pieces all the same"
    assert [attempt.bytes for attempt in scene.tries.attempts] == [PROGRESS_BYTES] * 5


async def test_an_attempt_is_told_once(scene: Scene) -> None:
    missing = Attempt(A.name, "missing", 0.1, 404)
    scene.tries.add([missing])
    scene.tries.add([missing, Attempt(B.name, "missing", 0.1, 404)])
    assert [attempt.host for attempt in scene.tries.attempts] == [A.name, B.name]


async def test_there_is_an_end_to_trying(scene: Scene) -> None:
    for number in range(ATTEMPTS_MAX):
        assert not scene.tries.are_many
        scene.tries.add([Attempt(A.name, "reset", float(number))])
    assert scene.tries.are_many


async def test_who_gave_a_part_is_credited_with_it_once(scene: Scene) -> None:
    scene.tries.spent(A, 2.0)
    scene.tries.spent(A, 1.0)
    scene.tries.spent(B, 5.0)
    scene.tries.credit(ledger((None, 0, 10), (A, 10, 40), (B, 40, 50), (A, 90, 100)))
    told = {
        attempt.host: (attempt.outcome, attempt.bytes, attempt.seconds) for attempt in scene.tries.attempts
    }
    assert told == {A.name: ("ok", 40, 3.0), B.name: ("ok", 10, 5.0)}
    assert scene.health.bytes_per_second(A) == pytest.approx(40 / 3)


async def test_many_small_parts_of_verified_blobs_earn_trust(scene: Scene) -> None:
    for _ in range(EARNED_BLOBS):
        assert not scene.source.is_trusted(A)
        scene.tries.credit(ledger((A, 0, 10)))
    assert scene.source.is_trusted(A)


async def test_a_liar_is_struck_once_and_not_credited_with_what_it_gave_right_afterwards(
    scene: Scene,
) -> None:
    scene.tries.lied(A)
    scene.tries.lied(A)
    scene.tries.credit(ledger((A, 0, EARNED_BYTES), (B, EARNED_BYTES, 2 * EARNED_BYTES)))
    assert {state.host: state.strikes for state in scene.health.states()}[A.url] == 1
    assert not scene.source.is_trusted(A)
    assert scene.source.is_trusted(B)
    assert scene.tries.exhausted() == {A}
    assert [(a.host, a.outcome) for a in scene.tries.attempts] == [
        (A.name, "wrong-content"),
        (B.name, "ok"),
    ]


# -- another host for pieces -----------------------------------------------------------------------------


def another(
    scene: Scene, *busy: Host, avoid: tuple[Host, ...] = (), at_worst: Standing = Standing.READY
) -> object:
    return scene.source.another(busy, avoid=avoid, at_worst=at_worst)


async def test_the_next_in_order_that_is_neither_busy_nor_avoided_is_another(scene: Scene) -> None:
    assert another(scene) == A
    assert another(scene, A) == B
    assert another(scene, A, avoid=(B,)) == C
    assert another(scene, A, C, avoid=(B,)) is None


async def test_two_hosts_on_one_machine_are_not_used_at_once(client: RegistryClient) -> None:
    here = [Host.from_url(f"https://a.test/{prefix}") for prefix in ("x", "y")]
    scene = Scene(client, *here, B)
    assert another(scene, here[0]) == B


async def test_a_host_whose_requests_are_counted_is_not_another(client: RegistryClient) -> None:
    counted = Host.from_url("https://counted.test", requests_per_minute=1000)
    assert another(Scene(client, counted, B)) == B


async def test_a_host_that_is_not_well_is_another_only_for_who_takes_what_there_is(scene: Scene) -> None:
    scene.tries.failed(A, CUT, 0, 1.0)
    assert another(scene, B, C) is None
    assert another(scene, B, C, at_worst=Standing.DEMOTED) == A
    scene.tries.lied(A)
    assert another(scene, B, C, at_worst=Standing.DEMOTED) is None


async def test_a_host_that_may_not_be_asked_at_all_is_not_another(client: RegistryClient) -> None:
    elsewhere = Host.from_url("https://allows.test", allow=("other/*",))
    assert another(Scene(client, elsewhere, B), B) is None


async def test_a_host_with_no_connection_to_spare_is_not_another() -> None:
    async with BlackHole() as hole, client_for() as client:
        full = Host.from_url(hole.url, max_connections=1)
        scene = Scene(client, full, B)
        assert another(scene) == full

        async def ask() -> None:
            async with client.blob(full, "library/alpine", DIGEST, size=5):
                raise AssertionError

        asking = asyncio.create_task(ask())
        while client.has_room(full):
            await asyncio.sleep(0)
        assert another(scene) == B
        asking.cancel()
        await asyncio.wait([asking])
        assert another(scene) == full
