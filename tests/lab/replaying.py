"""Our replay, in a process of its own on a machine of the lab: real requests, through our transport."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lab.machine import Machine, environ

TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Replaying:
    """Takes a case a line; see :mod:`lab.replayer`."""

    asked: IO[str]
    answers: IO[str]

    def replay(self, runtime: str, version: str, reference: str) -> tuple[str | None, str | None]:
        """What is foretold to be printed, and why nothing is, where a login is withheld."""
        self.asked.write(json.dumps({"runtime": runtime, "version": version, "reference": reference}) + "\n")
        self.asked.flush()
        answer = json.loads(self.answers.readline())
        return answer["printed"], answer["withheld"]


@contextlib.contextmanager
def replaying(machine: Machine) -> Iterator[Replaying]:
    """One, for as long as the block lasts."""
    command = machine.command(sys.executable, "-m", "lab.replayer")
    with subprocess.Popen(
        command,
        env=environ(PYTHONPATH=str(TESTS)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Replaying(process.stdin, process.stdout)
        process.stdin.close()
