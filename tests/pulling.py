"""``sampan pull`` as a process, in a directory with a sampan.toml that knows one mirror of docker.io."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ENDS_SECONDS = 30.0
AMD64 = ("--platform", "linux/amd64")

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Machine:
    """``directory``: home, and where commands run; ``mirror``: the URL of docker.io's only host; ``more``:
    what else stands in sampan.toml; ``variables``: of the environment, beside the usual ones."""

    directory: Path
    mirror: str
    more: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.directory / "sampan.toml").write_text(
            f'[store]\npath = "{self.store}"\n'
            f'[registry."docker.io"]\nmirrors = ["{self.mirror}"]\norigin = "never"\n{self.more}'
        )

    @property
    def store(self) -> Path:
        return self.directory / "store"

    @property
    def environ(self) -> dict[str, str]:
        return {"HOME": str(self.directory), "PATH": "/nowhere", "LANG": "C.UTF-8", **self.variables}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-W", "error", "-m", "sampan", "pull", *words]

    def pull(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """To its end, whatever that is."""
        return subprocess.run(
            self.command(*words),
            input=given,
            capture_output=True,
            text=True,
            cwd=self.directory,
            env=self.environ,
            timeout=ENDS_SECONDS,
            check=False,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Running, with its events on :attr:`~subprocess.Popen.stdout`; for a ``with`` block."""
        return subprocess.Popen(
            self.command("--json", *words),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.directory,
            env=self.environ,
        )


def until(process: subprocess.Popen[str], is_it: Callable[[Event], bool]) -> Event:
    """The first of its events that is meant; it has been read up to there."""
    assert process.stdout is not None
    for line in process.stdout:
        event: Event = json.loads(line)
        if is_it(event):
            return event
    assert process.stderr is not None
    raise AssertionError(f"it ended before that: {process.stderr.read()}")
