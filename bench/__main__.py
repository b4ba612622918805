"""The command line: measures what is asked for and prints the table, or JSON."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench import arrival, bundle, crowd, doctor, first_byte, hits, manifests, mirrors, start, webhook
from bench.pull import again, cut, line, many, memory, speed
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
    "start": start.measure,
    "webhook": webhook.measure,
    "mirrors": mirrors.measure,
    "doctor": doctor.measure,
    "bundle": bundle.measure,
    "pull-speed": speed.measure,
    "pull-line": line.measure,
    "pull-cut": cut.measure,
    "pull-again": again.measure,
    "pull-memory": memory.measure,
    "pull-many": many.measure,
}
GROUPS: Mapping[str, Sequence[str]] = {
    "pull": ["start", *(name for name in MEASURES if name.startswith("pull-"))],
}
ROUNDS = 5  # an odd number: the median is one of them


def main(words: Sequence[str]) -> int:
    """0 when every bound was met, 1 when one was missed or not measured, 2 for words that mean nothing."""
    parser = _arguments()
    asked = parser.parse_args(words)
    if unknown := [word for word in asked.only if word not in MEASURES and word not in GROUPS]:
        parser.error(f"no such measure: {', '.join(unknown)}")
    began = time.monotonic()
    rows: list[Row] = []
    left_out = False
    with (
        tempfile.TemporaryDirectory(prefix="sampan-bench-", dir=_place(asked.directory)) as scratch,
        stage(Path(scratch), rounds=asked.rounds) as ground,
    ):
        for name in _chosen(asked.only):
            print(f"bench: {time.monotonic() - began:4.0f} s, {name} ...", file=sys.stderr, flush=True)
            try:
                rows += MEASURES[name](ground)
            except peers.PeerMissing as error:
                print(f"bench: {name} is left out: {error}", file=sys.stderr, flush=True)
                left_out = True
    seconds = time.monotonic() - began
    print(as_json(rows, seconds) if asked.json else as_text(rows, seconds))
    return 1 if left_out or any(row.is_met is False for row in rows) else 0


def _chosen(words: Sequence[str]) -> Sequence[str]:
    """The measures that are meant, in the order in which they were named."""
    named = [name for word in words for name in GROUPS.get(word, [word])]
    return list(dict.fromkeys(named)) or list(MEASURES)


def _place(given: str | None) -> Path:
    place = Path(given) if given else peers.CACHE / "bench"
    place.mkdir(parents=True, exist_ok=True)
    return place


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    names = [*MEASURES, *GROUPS]
    parser.add_argument("only", nargs="*", metavar="MEASURE", help=f"of {', '.join(names)}; default: all")
    parser.add_argument("--json", action="store_true", help="the rows as JSON, with every sample")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each is repeated (default 5)")
    parser.add_argument("--directory", help="where the stores of all parties are put (default: the cache)")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
