"""systemd itself: the unit is judged by its own tools, and run by it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop import peers
from interop.sentinel import Sentinel
from interop.systemd import Booted, booted
from node_cases import Listing, listing
from sampan.runtimes.service.unit import PATH, UNIT, shipped

CONFIG = '[server]\nlisten = "127.0.0.1:5050"\n\n[registry."docker.io"]\nmirrors = ["http://127.0.0.1:1"]\n'
EXPOSURE_MAX = 1.5  # of 10; a unit that says nothing has 9.6
APPLY = ("sampan", "node", "apply", "--runtime", "sampan", "--no-pull")
PYTHON = f"/opt/python/bin/python{sys.version_info.major}.{sys.version_info.minor}"
READY = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:5050/readyz', timeout=9).status)"


@pytest.fixture
def machine(complete: None, way_out: Sentinel) -> Iterator[Booted]:
    with booted() as found:
        (found.root / "etc/sampan/sampan.toml").write_text(CONFIG)
        yield found


@pytest.fixture
def tree(complete: None, tmp_path: Path) -> Path:
    """The unit in a tree that has the programs which it names."""
    for name in ("opt/sampan/bin/sampan", "bin/kill"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("/bin/true", tmp_path / name)
    (tmp_path / PATH.lstrip("/")).parent.mkdir(parents=True)
    (tmp_path / PATH.lstrip("/")).write_text(shipped())
    for target in ("sysinit", "basic", "network", "multi-user", "shutdown"):
        (tmp_path / f"etc/systemd/system/{target}.target").write_text("[Unit]\nDefaultDependencies=no\n")
    return tmp_path


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [peers.program("systemd-analyze"), *words]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60, check=False)


def etc(machine: Booted) -> Listing:
    return listing(machine.root / "etc/systemd", times=True)


def python(machine: Booted, program: str) -> subprocess.CompletedProcess[str]:
    return machine.run(PYTHON, "-c", program)


def state(machine: Booted) -> str:
    return machine.run("systemctl", "is-active", UNIT).stdout.strip()


def test_systemd_finds_nothing_wrong_with_the_unit(tree: Path) -> None:
    judged = analyze("verify", "--man=no", f"--root={tree}", PATH)
    assert (judged.returncode, judged.stderr, judged.stdout) == (0, "", "")
    file = tree / PATH.lstrip("/")
    file.write_text(file.read_text().replace("Type=notify", "Tipe=notify"))
    assert "Tipe" in analyze("verify", "--man=no", f"--root={tree}", PATH).stderr


def test_systemd_finds_little_that_the_unit_could_do_to_the_machine(tree: Path) -> None:
    file = tree / PATH.lstrip("/")
    judged = analyze("security", "--offline=yes", f"--threshold={EXPOSURE_MAX * 10:.0f}", file)
    assert judged.returncode == 0, judged.stdout
    match = re.search(r"Overall exposure level for sampan.service: ([\d.]+)", judged.stdout)
    assert match is not None
    assert float(match[1]) <= EXPOSURE_MAX
    open_to_all = tree / "open.service"
    open_to_all.write_text("[Service]\nExecStart=/bin/kill\n")
    assert analyze("security", "--offline=yes", "--threshold=15", open_to_all).returncode != 0


def test_apply_starts_the_service_and_revert_takes_it_away(machine: Booted) -> None:
    before = etc(machine)
    done = machine.run(*APPLY)
    assert done.returncode == 0, done.stderr
    assert state(machine) == "active"
    shown = machine.run("systemctl", "show", UNIT, "--property", "StatusText,UnitFileState").stdout
    assert set(shown.split("\n")) >= {"StatusText=serving at http://127.0.0.1:5050", "UnitFileState=enabled"}
    assert python(machine, READY).stdout == "200\n"
    pid = machine.run("systemctl", "show", UNIT, "--property", "MainPID", "--value").stdout.strip()
    assert machine.run("stat", "--format", "%U", f"/proc/{pid}").stdout.strip() not in ("root", "UNKNOWN")
    assert machine.run("systemctl", "reload", UNIT).returncode == 0
    for _ in range(100):  # reloading, until it says that it is done
        if state(machine) == "active":
            break
    assert state(machine) == "active"
    status = machine.run("sampan", "node", "status").stdout
    assert f"  file {PATH}, written by sampan\n" in status
    assert machine.run(*APPLY).stderr.endswith("nothing to change\n")
    done = machine.run("sampan", "node", "revert")
    assert done.returncode == 0, done.stderr
    assert state(machine) == "inactive"
    assert etc(machine) == before
    assert machine.run("systemctl", "status", UNIT).returncode == 4, "systemd knows no such unit"


def test_a_service_that_does_not_start_is_undone_with_the_reason(machine: Booted) -> None:
    before = etc(machine)
    units = {
        "other.socket": "[Socket]\nListenStream=127.0.0.1:5050\n",
        "other.service": "[Service]\nExecStart=/bin/true\n",
    }
    for name, text in units.items():
        (machine.root / "run/systemd/system" / name).write_text(text)
    assert machine.run("systemctl", "start", "other.socket").returncode == 0
    done = machine.run(*APPLY)
    assert done.returncode == 7, done.stderr
    assert "cannot start sampan: systemctl enable --now sampan.service" in done.stderr
    assert "everything is as it was" in done.stderr
    assert etc(machine) == before
    assert state(machine) == "inactive"


def test_a_unit_that_was_there_comes_back_and_runs_again(machine: Booted) -> None:
    unit = machine.root / PATH.lstrip("/")
    unit.write_text("[Service]\nExecStart=/bin/sleep 600\n\n[Install]\nWantedBy=multi-user.target\n")
    assert machine.run("systemctl", "enable", "--now", UNIT).returncode == 0
    before = etc(machine)
    assert machine.run(*APPLY).returncode == 0
    assert python(machine, READY).stdout == "200\n"
    done = machine.run("sampan", "node", "revert")
    assert done.returncode == 0, done.stderr
    assert etc(machine) == before
    assert state(machine) == "active"
    assert "sleep 600" in machine.run("systemctl", "show", UNIT, "--property", "ExecStart").stdout
