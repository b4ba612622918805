"""X1: kill -9 at random moments of concurrent pulls, again and again."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.killing_mirror import kill_again_and_again

KILLS = 50  # `make soak` does it a thousand times, with `sampan store` beside it


@pytest.mark.row("X1")
def test_fifty_kills_leave_no_wrong_byte_and_the_pull_succeeds(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path, KILLS, seed=20261123)
