"""Files that the running containerd has not read yet."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sampan.doctor.contract import Finding
from sampan.doctor.runtimes.restarts import check_restarts
from scenes import codes, found, lay, scene
from scripted import Scripted

CONFIG = "etc/containerd/config.toml"
BOOTED, TICKS = 1_750_000_000, 12_345  # of the machine, and of the daemon after that
STARTED = BOOTED + TICKS / 100
FILES = {
    CONFIG: 'version = 2\nimports = ["/etc/containerd/conf.d/*.toml"]\n',
    "etc/containerd/conf.d/mine.toml": "version = 2\n",
    "proc/stat": f"cpu 1 2 3\nbtime {BOOTED}\n",
    "proc/42/comm": "containerd\n",
    "proc/42/cmdline": "/usr/bin/containerd\0",
    "proc/42/stat": f"42 (containerd) S {' '.join('0' * 18)} {TICKS} 0\n",
}


def laid(root: Path, path: str, seconds_after: float) -> Path:
    lay(root, FILES)
    for each in FILES:
        os.utime(root / each, (BOOTED, BOOTED))
    os.utime(root / path, (STARTED + seconds_after, STARTED + seconds_after))
    return root


@pytest.mark.parametrize("path", [CONFIG, "etc/containerd/conf.d/mine.toml"])
async def test_a_file_that_was_changed_after_the_start_is_told(path: str, tmp_path: Path) -> None:
    root = laid(tmp_path, path, 10)
    said = await found(check_restarts, scene(root, runtimes=["containerd@1.7.27"], machine=Scripted()))
    (finding,) = said
    assert isinstance(finding, Finding)
    assert (finding.code, finding.level, finding.file) == ("NOT_RESTARTED", "dead", f"/{path}")


@pytest.mark.parametrize("seconds", [-10, 1])
async def test_one_of_before_or_of_the_same_moment_is_not(seconds: float, tmp_path: Path) -> None:
    root = laid(tmp_path, CONFIG, seconds)
    assert not await found(check_restarts, scene(root, runtimes=["containerd@1.7.27"], machine=Scripted()))


@pytest.mark.parametrize("gone", ["proc/stat", "proc/42/stat", "proc/42/comm"])
async def test_where_nothing_is_known_of_a_start_nothing_is_said(gone: str, tmp_path: Path) -> None:
    root = laid(tmp_path, CONFIG, 10)
    (root / gone).unlink()
    assert not await found(check_restarts, scene(root, runtimes=["containerd@1.7.27"], machine=Scripted()))


async def test_a_tree_without_a_machine_runs_nothing(tmp_path: Path) -> None:
    root = laid(tmp_path, CONFIG, 10)
    assert codes(await found(check_restarts, scene(root, runtimes=["containerd@1.7.27"]))) == []
    assert codes(await found(check_restarts, scene(root, runtimes=["docker@28"], machine=Scripted()))) == []
