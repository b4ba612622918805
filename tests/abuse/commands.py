"""Commands that are given what they must refuse, in one process with bounds that the kernel keeps."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from abuse.bounds import MIB, assert_harmless

PROCESSOR_SECONDS_MAX = 20  # for all of a row; most of it is the start of Python
MEMORY_BYTES_MAX = 200 * MIB
HANGS_SECONDS = 100.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended. ``made``: what it left in its directory, which is its home as well."""

    code: int
    out: str
    error: str
    made: tuple[str, ...]

    @property
    def reason(self) -> str:
        return self.error.partition("\n")[0]


def ended(directory: Path, commands: Sequence[Sequence[str]], **variables: str) -> list[Ended]:
    """Each of ``commands`` in ``directory``, one after the other, within the bounds."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(Path(__file__).with_name("runs.py"))],
        input="\n".join(json.dumps(words) for words in commands),
        capture_output=True,
        text=True,
        timeout=HANGS_SECONDS,
        cwd=directory,
        env={"HOME": str(directory), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", **variables},
        preexec_fn=_bound,
        check=True,
    )
    *lines, last = map(json.loads, done.stdout.splitlines())
    assert last["peak_bytes"] < MEMORY_BYTES_MAX
    return [Ended(one["code"], one["out"], one["error"], tuple(one["made"])) for one in lines]


def _bound() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_SECONDS_MAX, PROCESSOR_SECONDS_MAX))


def assert_refused(one: Ended, *, code: int = 2, hint: bool = True) -> None:
    """With one line of reason and, mostly, a hint; and nothing was made."""
    assert one.code == code, one
    assert one.reason.startswith("error: "), one
    assert len(one.error) < 2000, one
    assert not hint or "\nhint: " in one.error, one
    assert_harmless(one.error)
    assert one.made == (), one
