"""N17, N18 and a cold start: no network at all, in a namespace of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]


@pytest.mark.row("N18")
def test_the_mirror_starts_without_a_network_and_says_at_once_what_it_could_not_reach() -> None:
    script = 'ip link set lo up && exec "$0" "$@"'
    done = subprocess.run(
        [
            "unshare",
            "--net",
            "sh",
            "-c",
            script,
            sys.executable,
            str(TESTS / "faults" / "without_network.py"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert len(answers) == 2
    for status, document in answers:
        assert status == 503
        attempts = document["errors"][0]["detail"]["attempts"]
        outcomes = {attempt["host"]: attempt["outcome"] for attempt in attempts}
        assert outcomes["mirror.example"] == "dns"  # what was waited for would be a time-out
        assert outcomes["192.0.32.8"] == "unroutable"
