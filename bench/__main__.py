"""The command line: measures what is asked for and prints the table, or JSON."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench import arrival, crowd, first_byte, hits, manifests
from bench.stage import Stage, stage
from bench.table import Row, as_json, as_text
from interop import peers

Measure = Callable[[Stage], list[Row]]
MEASURES: Mapping[str, Measure] = {
    "manifests": manifests.measure,
    "hits": hits.measure,
    "arrival": arrival.measure,
    "first-byte": first_byte.measure,
    "crowd": crowd.measure,
}
ROUNDS = 5  # an odd number: the median is one of them


def main(words: Sequence[str]) -> int:
    """0 when every bound was met, 1 when one was missed, 2 for words that mean nothing."""
    asked = _arguments().parse_args(words)
    began = time.monotonic()
    rows: list[Row] = []
    with (
        tempfile.TemporaryDirectory(prefix="sampan-bench-", dir=_place(asked.directory)) as scratch,
        stage(Path(scratch), rounds=asked.rounds) as ground,
    ):
        for name in asked.only or MEASURES:
            print(f"bench: {name} ...", file=sys.stderr, flush=True)
            rows += MEASURES[name](ground)
    seconds = time.monotonic() - began
    print(as_json(rows, seconds) if asked.json else as_text(rows, seconds))
    return 0 if all(row.is_met is not False for row in rows) else 1


def _place(given: str | None) -> Path:
    place = Path(given) if given else peers.CACHE / "bench"
    place.mkdir(parents=True, exist_ok=True)
    return place


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("only", nargs="*", metavar="MEASURE", help=f"of {', '.join(MEASURES)}; default: all")
    parser.add_argument("--json", action="store_true", help="the rows as JSON, with every sample")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each is repeated (default 5)")
    parser.add_argument("--directory", help="where the stores of all parties are put (default: the cache)")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
