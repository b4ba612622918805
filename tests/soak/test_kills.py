"""A thousand kills, of whatever works on a store and of the mirror itself."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from faults import killing_mirror
from killing import KEPT, kill_again_and_again
from soak.settings import KILLS

KILL_SECONDS_MAX = 30  # one, on a slow machine


@pytest.mark.timeout(KILLS * KILL_SECONDS_MAX)
def test_a_thousand_kills_leave_no_wrong_blob_and_lose_nothing_that_was_committed() -> None:
    with tempfile.TemporaryDirectory(prefix="sampan-kills-", dir="/dev/shm") as path:
        vowed = kill_again_and_again(Path(path), KILLS, seed=1000)
    assert vowed == 1 + len(KEPT.references)


@pytest.mark.timeout(KILLS * KILL_SECONDS_MAX)
def test_a_mirror_killed_a_thousand_times_with_commands_beside_it_serves_no_wrong_byte(
    tmp_path: Path,
) -> None:
    killing_mirror.kill_again_and_again(tmp_path, KILLS, seed=1000, commands=True)
