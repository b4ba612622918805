"""Runs the fuzz targets, two at a time: ``python tests/fuzz/runner.py --seconds 60 [TARGET…]``.

What is found on the way is kept in ``.cache/fuzz/TARGET`` for the next time, and what crashes in
``.cache/fuzz/crashes``: such an input becomes a test of its own, and a seed in ``tests/fuzz/seeds``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SEEDS = HERE / "seeds"
AT_A_TIME = 2
MEMORY_MEBIBYTES_MAX = 512
INPUT_BYTES_MAX = 4096
HANGS_SECONDS = 25  # of one input: it never ends; what is slow is told by its processor time
BOUNDS = (
    f"-max_len={INPUT_BYTES_MAX}", f"-timeout={HANGS_SECONDS}", f"-rss_limit_mb={MEMORY_MEBIBYTES_MAX}",
    "-print_final_stats=1",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one target ended. ``log``: what libFuzzer wrote; ``crashes``: inputs that it saved."""

    target: str
    code: int
    log: str
    crashes: tuple[Path, ...]

    @property
    def runs(self) -> int:
        """How many inputs were tried."""
        return self._figure("number_of_executed_units")

    @property
    def peak_mebibytes(self) -> int:
        """The most memory that the process had."""
        return self._figure("peak_rss_mb")

    def _figure(self, name: str) -> int:
        _, found, rest = self.log.rpartition(f"stat::{name}:")
        return int(rest.split()[0]) if found else 0


def fuzz(target: str, corpus: Path, crashes: Path, *options: str, path: Sequence[Path] = ()) -> Outcome:
    """``target`` from its seeds, until ``options`` say that it is enough. New inputs go to ``corpus``."""
    corpus.mkdir(parents=True, exist_ok=True)
    crashes.mkdir(parents=True, exist_ok=True)
    seeds = SEEDS / target
    done = subprocess.run(
        [
            sys.executable,
            str(HERE / "one.py"),
            target,
            *BOUNDS,
            f"-artifact_prefix={crashes}/{target.replace(':', '.')}-",
            *options,
            str(corpus),
            *([str(seeds)] if seeds.is_dir() else []),
        ],
        capture_output=True,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nowhere", "PYTHONPATH": ":".join(map(str, path))},
        check=False,
    )
    found = tuple(sorted(crashes.glob(f"{target.replace(':', '.')}-*")))
    return Outcome(target, done.returncode, (done.stdout + done.stderr).decode(errors="replace"), found)


def main() -> int:
    sys.path.insert(0, str(HERE.parent))
    from fuzz.targets import TARGETS

    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--seconds", type=int, default=60, help="for each target")
    words.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; else all")
    asked = words.parse_args()
    kept = ROOT / ".cache" / "fuzz"

    def run(target: str) -> Outcome:
        return fuzz(target, kept / target, kept / "crashes", f"-max_total_time={asked.seconds}")

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        outcomes = list(pool.map(run, asked.targets or TARGETS))
    for outcome in outcomes:
        word = "ended well" if outcome.code == 0 else "CRASHED"
        print(f"{outcome.target}: {word} after {outcome.runs} inputs", *outcome.crashes, sep="\n  ")
        if outcome.code:
            print(outcome.log[-6000:])
    return max(outcome.code for outcome in outcomes) and 1


if __name__ == "__main__":
    sys.exit(main())
