"""Those who fetch: whatever ends it, nobody is left at work behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from sampan.mirror.arrival import Arrival
from sampan.mirror.board import Board, Claim
from sampan.mirror.crew import Crew
from sampan.mirror.events import Silence
from sampan.mirror.fetch import BlobSource, OpenStream
from sampan.mirror.intake import Intake
from sampan.mirror.patience import Patience
from sampan.mirror.pulse import Pulse
from sampan.mirror.race import Won
from sampan.mirror.room import Room
from sampan.mirror.route import Question
from sampan.mirror.spread import Spread
from sampan.mirror.tries import Tries
from sampan.mirror.widening import FIRST_LOOK_SECONDS
from sampan.oci import Digest
from sampan.store import DiskStore, TagStore
from sampan.store.spans import Spans
from sampan.testing import ManualClock
from sampan.upstream.client import RegistryClient
from sampan.upstream.health import Health
from sampan.upstream.host import Host
from upstreams import client_for

MIB = 1024 * 1024
SIZE = 100 * MIB
DIGEST = Digest.of(b"layer")
A, B = Host.from_url("https://a.test"), Host.from_url("https://b.test")


class Source(BlobSource):
    """Whoever is asked gives, without a body."""

    async def open(
        self,
        offset: int,
        size: int | None,
        *,
        stop: int | None = None,
        avoid: Collection[Host],
        last: Collection[Host] = (),
        only: Host | None = None,
    ) -> Won[OpenStream]:
        stream: Any = type("Stream", (), {"offset": offset, "stop": stop})()
        return Won(OpenStream(stream, AsyncExitStack()), only or A, 0.0, ())


class SlowToLeave(Intake):
    """Takes nothing, and when it is cancelled has something to finish first: a write, say."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.at_work: set[Host] = set()
        self.may_leave, self.fails = asyncio.Event(), asyncio.Event()

    async def take(self, won: Won[OpenStream], claim: Claim) -> bool:
        self.at_work.add(won.host)
        try:
            await (self.fails.wait() if won.host == B else asyncio.Event().wait())
            raise RuntimeError("a bug")
        finally:
            try:
                await self.may_leave.wait()
            finally:
                self.at_work.discard(won.host)


@pytest.fixture
async def client() -> AsyncIterator[RegistryClient]:
    async with client_for() as client:
        yield client


@pytest.fixture
async def working(tmp_path: Path, client: RegistryClient) -> AsyncIterator[tuple[asyncio.Task[None], Any]]:
    """(the crew, filling, with a lead and a wing at work; their intake)"""
    clock = ManualClock()
    source = Source(
        Question("docker.io", "library/alpine", "blob", DIGEST),
        DIGEST,
        (A, B),
        client=client,
        health=Health(clock),
        clock=clock,
        noted=lambda _: None,
        patience=Patience(),
    )
    store, tags = DiskStore(tmp_path), TagStore(tmp_path / "tags")
    arrival = Arrival(DIGEST, SIZE, is_trusted=source.is_trusted, patience=Patience(), clock=clock)
    spread, tries, ingest = Spread(look_seconds=0.0), Tries(source), store.ingest(DIGEST, SIZE)
    board = Board(clock, SIZE, Spans(), spread)
    intake = SlowToLeave(
        source,
        arrival,
        tries,
        board,
        ingest,
        clock=clock,
        observer=Silence(),
        check=lambda: None,
        written=lambda: None,
    )
    crew = Crew(
        source,
        arrival,
        tries,
        board,
        intake,
        room=Room(store, tags, None),
        clock=clock,
        spread=spread,
        changed=Pulse(),
        avoid=(),
        is_alone=False,
    )
    filling = asyncio.create_task(crew.fill())
    clock.advance(FIRST_LOOK_SECONDS)
    while intake.at_work != {A, B}:
        await asyncio.sleep(0)
    yield filling, intake
    ingest.discard()
    store.close()
    tags.close()


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("times", [1, 3])
async def test_a_crew_that_is_cancelled_waits_for_all_who_are_at_work(
    working: tuple[asyncio.Task[None], Any], times: int
) -> None:
    filling, intake = working
    for _ in range(times):
        filling.cancel()
        await turns(5)
    if times == 1:
        assert intake.at_work == {A, B}
        assert not filling.done()
    intake.may_leave.set()
    await asyncio.wait([filling])
    assert filling.cancelled()
    assert intake.at_work == set()


async def test_a_crew_one_of_which_fails_waits_for_the_others_and_tells(
    working: tuple[asyncio.Task[None], Any],
) -> None:
    filling, intake = working
    intake.fails.set()
    await turns(5)
    assert not filling.done()
    intake.may_leave.set()
    with pytest.raises(RuntimeError, match="a bug"):
        await filling
    assert intake.at_work == set()
