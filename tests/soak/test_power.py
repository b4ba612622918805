"""Power lost at every instant of many works, in many states each."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest

from power import Recorder, recorded
from powerless import Worker, cut_at
from soak.settings import SEEDS

THINGS = 15  # that one process does
STATES = 12  # of the disk, at each instant


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(100, 100 + SEEDS))
def test_power_may_be_lost_at_every_instant_of_anything(seed: int) -> None:
    def work(recorder: Recorder) -> None:
        worker = Worker(recorder, random.Random(seed))
        for _ in range(THINGS):
            worker.anything()

    with tempfile.TemporaryDirectory(prefix="sampan-power-", dir="/dev/shm") as path:
        calls, chance = recorded(Path(path) / "base", work), random.Random(seed)
        seen = sum(
            cut_at(calls, count, chance, Path(path) / "state", states_max=STATES)
            for count in range(len(calls) + 1)
        )
    print(f"\n{len(calls)} calls, {seen} states of the disk", end="")
