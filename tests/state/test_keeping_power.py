"""Power is lost while the memory of hosts is written: it is the one before or the one after, never torn."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from power import Call, Disk, Recorder, Synced, Told, recorded
from sampan.mirror.keeping import DIRECTORY, NAME, Keeping
from sampan.testing import ManualClock
from sampan.upstream.health import Health
from sampan.upstream.host import Host

HOST = Host.from_url("https://mirror.test")
LIVES = 3
STATES = 12  # of each instant


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sampan-power-", dir="/dev/shm") as made:
        yield Path(made)


def live(store: Path, recorder: Recorder) -> None:
    """One process after another, each with one strike more; what each wrote at its end is promised."""
    for _ in range(LIVES):
        health, clock = Health(ManualClock()), ManualClock()
        keeping = Keeping(store, health, [HOST], clock)
        keeping.recall()

        async def run(keeping: Keeping = keeping, health: Health = health) -> None:
            async with keeping:
                health.strike(HOST)

        asyncio.run(run())
        recorder.tell("strikes", strikes(health))


def strikes(health: Health) -> int:
    return sum(state.strikes for state in health.states())


def test_the_memory_is_the_one_before_or_the_one_after(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    calls = recorded(path / "base", lambda recorder: live(path / "base" / "store", recorder))
    chance, seen = random.Random(1), set[int]()
    for count in range(len(calls) + 1):
        promised = max((c.what for c in calls[:count] if isinstance(c, Told)), default=0)
        for state in Disk(calls, count).states(chance, count_max=STATES):
            state.lay_out(path / "state")
            health, clock = Health(ManualClock()), ManualClock()
            (path / "state" / "store").mkdir(exist_ok=True)
            with caplog.at_level(logging.WARNING):
                Keeping(path / "state" / "store", health, [HOST], clock).recall()
            assert promised <= strikes(health) <= promised + 1
            seen.add(strikes(health))
            shutil.rmtree(path / "state")
    assert [record.getMessage() for record in caplog.records] == [], "nothing torn is ever found"
    assert seen == set(range(LIVES + 1))


def test_a_memory_that_did_not_wait_for_the_disk_would_be_found_out(path: Path) -> None:
    calls: list[Call] = [
        call
        for call in recorded(path / "base", lambda recorder: live(path / "base" / "store", recorder))
        if not isinstance(call, Synced)
    ]
    torn = False
    for count in range(len(calls) + 1):
        for number, state in enumerate(Disk(calls, count).states(random.Random(count), count_max=STATES)):
            at = path / f"state-{count}-{number}"
            state.lay_out(at)
            file = at / "store" / DIRECTORY / NAME
            try:
                torn |= file.exists() and not json.loads(file.read_bytes() or b"null")
            except ValueError:
                torn = True
            shutil.rmtree(at)
    assert torn
