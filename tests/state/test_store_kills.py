"""Two processes do whatever may be done to one store, and are killed at any instant, fifty times."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from killing import KEPT, kill_again_and_again

KILLS = 50  # `make soak` does it a thousand times


@pytest.mark.slow
@pytest.mark.row("X1")
def test_fifty_kills_leave_no_wrong_blob_and_lose_nothing_that_was_committed() -> None:
    with tempfile.TemporaryDirectory(prefix="sampan-kills-", dir="/dev/shm") as path:
        vowed = kill_again_and_again(Path(path), KILLS, seed=20)
    assert vowed == 1 + len(KEPT.references)
