"""A short run of each fuzz target, from the same seed each time; and that a crash would be seen."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fuzz.runner import MEMORY_MEBIBYTES_MAX, SEEDS, fuzz

TARGETS = ("reference", "manifest", "challenge", "header", "configuration", "path", "hosts", "tar")
RUNS = 20_000  # a few seconds; `make fuzz` goes on for as long as it is told
SLOW = {"challenge": 4_000, "configuration": 5_000, "hosts": 4_000, "tar": 8_000}  # a tenth as fast

pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="there is no atheris for this Python: see requirements/test.in"
)

BAD = """
import sys, time

def crashes(data):
    if data[:2] == b"ab":
        raise ValueError("found")

def exits(data):
    if data[:1] == b"a":
        sys.exit(0)

def dawdles(data):
    began = time.process_time()
    while data[:1] == b"a" and time.process_time() < began + 1.5:
        pass

def grows(data):
    return bytearray((len(data) > 0) * 1_000_000_000)
"""


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_but_our_own_errors_comes_of_any_bytes(target: str, tmp_path: Path) -> None:
    runs = SLOW.get(target, RUNS)
    outcome = fuzz(target, tmp_path / "found", tmp_path / "crashes", f"-runs={runs}", "-seed=1")
    assert outcome.code == 0, outcome.log[-4000:]
    assert outcome.runs >= runs
    assert not outcome.crashes
    assert MEMORY_MEBIBYTES_MAX > outcome.peak_mebibytes > 0


@pytest.mark.parametrize("function", ["crashes", "exits", "dawdles", "grows"])
def test_what_is_wrong_with_a_target_is_seen_and_kept(function: str, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(BAD)
    corpus = tmp_path / "found"
    corpus.mkdir()
    (corpus / "seed").write_bytes(b"abc")
    options = ("-runs=2000", "-seed=1")
    outcome = fuzz(f"bad:{function}", corpus, tmp_path / "crashes", *options, path=[tmp_path])
    assert outcome.code != 0
    assert outcome.crashes


def test_every_target_has_seeds_and_is_run() -> None:
    from fuzz import targets

    assert tuple(targets.TARGETS) == TARGETS
    for target, function in targets.TARGETS.items():
        seeds = list((SEEDS / target).iterdir())
        assert seeds, target
        for seed in seeds:
            function(seed.read_bytes())
