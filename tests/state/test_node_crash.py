"""Apply and revert killed at every step: files are whole, and the next apply or revert comes to its end.

Docker's runtime is before a daemon that takes over what a reload of the real one does: the keys that are in
the file, and none that has gone. containerd's has a plan of several files and directories, and a daemon that
takes over the file as it is when it is restarted.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from dying import killed_at, killed_at_each_step
from node_cases import Case, Listing, apply_at, listing, revert_at
from sampan.runtimes.contract import Answer
from sampan.runtimes.journal import Journal
from sampan.runtimes.steps import Steps

CALLS = ("open", "write", "fsync", "rename", "unlink", "mkdir", "rmdir", "fchmod", "fchown", "utime")
DAEMON_JSON = "etc/docker/daemon.json"
CA = "etc/docker/certs.d/mirror.example/sampan.crt"
CONFIG = """
[registry."docker.io"]
mirrors = [{ url = "https://mirror.example", ca = "ca.pem" }, "http://10.1.2.3:5000"]
"""
CONTAINERD = "etc/containerd/config.toml"
OLD_TABLE = 'plugins."io.containerd.grpc.v1.cri".registry'
STORY = f"""version = 2
# theirs
[{OLD_TABLE}.mirrors."docker.io"]
  endpoint = ["https://old.example"]
[{OLD_TABLE}.mirrors."quay.io"]
  endpoint = ["https://quay.example"]
"""
CONTAINERD_CONFIG = """
[registry."docker.io"]
mirrors = [{ url = "https://mirror.example", ca = "ca.pem" }]
[registry."*"]
mirrors = ["https://all.example"]
"""
UNIT = "etc/systemd/system/sampan.service"
MIRRORS = ["http://127.0.0.1:5050", "https://mirror.example", "http://10.1.2.3:5000"]


class Daemon:
    """A machine with a dockerd that reloads: what it has taken over is in a file, for it outlives us."""

    def __init__(self, root: Path) -> None:
        self._file = root / DAEMON_JSON
        self._memory = root.with_suffix(".daemon")

    @property
    def in_force(self) -> object:
        return list(self._in_force().get("registry-mirrors", []))

    def run(self, command: Sequence[str], *, timeout_seconds: float = 0) -> Answer:
        assert list(command) == ["systemctl", "reload", "docker.service"]
        present = json.loads(self._file.read_text()) if self._file.exists() else {}
        new = self._memory.with_suffix(".new")
        new.write_text(json.dumps(self._in_force() | present))
        new.rename(self._memory)  # as one, so that dying in it is dying before or after it
        return Answer(0)

    def wait(self, seconds: float) -> None:
        raise AssertionError("nobody waits here")

    def _in_force(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = json.loads(self._memory.read_text()) if self._memory.exists() else {}
        return found


class Restarted:
    """A machine with a containerd that is restarted: it has the ``config_path`` of the file as it was then,
    and as many mirrors."""

    def __init__(self, root: Path) -> None:
        self._file = root / CONTAINERD
        self._memory = root.with_suffix(".containerd")

    @property
    def in_force(self) -> object:
        return json.loads(self._memory.read_text()) if self._memory.exists() else ["", 2]

    def run(self, command: Sequence[str], *, timeout_seconds: float = 0) -> Answer:
        assert list(command) == ["systemctl", "restart", "containerd.service"]
        table = tomllib.loads(self._file.read_text())["plugins"]["io.containerd.grpc.v1.cri"]["registry"]
        new = self._memory.with_suffix(".new")
        new.write_text(json.dumps([table.get("config_path", ""), len(table.get("mirrors", {}))]))
        new.rename(self._memory)
        return Answer(0)

    def wait(self, seconds: float) -> None:
        raise AssertionError("nobody waits here")


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """A killed process loses nothing that it gave to the kernel, so the tests need no real disk."""
    with tempfile.TemporaryDirectory(prefix="sampan-crash-", dir="/dev/shm") as path:
        yield Path(path)


class Enabled:
    """A machine with a systemd that starts sampan's service, and stops one whose unit is still there."""

    def __init__(self, root: Path) -> None:
        self._file = root / UNIT
        self._memory = root.with_suffix(".enabled")

    @property
    def in_force(self) -> object:
        return self._memory.exists()

    def run(self, command: Sequence[str], *, timeout_seconds: float = 0) -> Answer:
        assert self._file.exists(), "systemd knows no such unit"
        if list(command) == ["systemctl", "enable", "--now", "sampan.service"]:
            self._memory.touch()
        else:
            assert list(command) == ["systemctl", "disable", "--now", "sampan.service"]
            self._memory.unlink(missing_ok=True)
        return Answer(0)

    def wait(self, seconds: float) -> None:
        raise AssertionError("nobody waits here")


Machines = Daemon | Restarted | Enabled
Ends = tuple[object, object]  # what is in force before an apply, and after it


class Bench:
    """One tree after the other, each as :attr:`case` begins."""

    def __init__(self, path: Path, case: Case, machine: type[Machines], ends: Ends) -> None:
        self.path, self.case, self.count = path, case, 0
        self.machine, (self.in_force_before, self.in_force_after) = machine, ends

    @property
    def root(self) -> Path:
        return self.path / f"tree-{self.count}"

    @property
    def daemon(self) -> Machines:
        return self.machine(self.root)

    def fresh(self) -> None:
        if self.count:
            shutil.rmtree(self.root)
        self.count += 1
        self.root.mkdir()
        self.case.lay(self.root)

    def applied(self) -> None:
        self.fresh()
        self.apply()

    def apply(self) -> None:
        apply_at(self.root, self.case, Steps(self.daemon))

    def revert(self) -> None:
        revert_at(self.root, Steps(self.daemon))


@pytest.fixture(params=["edit", "make", "containerd", "service"])
def bench(request: pytest.FixtureRequest, memory_path: Path) -> Bench:
    """daemon.json is edited in one, and made with its directories in the other; the files of containerd; the
    unit of sampan's own service."""
    home = memory_path / "case"
    home.mkdir()
    (home / "ca.pem").write_text("a certificate")
    if request.param == "containerd":
        (home / "before/etc/containerd").mkdir(parents=True)
        (home / "before" / CONTAINERD).write_text(STORY)
        case = Case(home, "", "containerd@1.7.24", CONTAINERD_CONFIG, modes={CONTAINERD: "0640"})
        return Bench(memory_path, case, Restarted, (["", 2], ["/etc/containerd/certs.d", 0]))
    if request.param == "service":
        for name, text in (("opt/sampan/bin/sampan", "#!/usr/bin/python3\n"), ("etc/sampan/sampan.toml", "")):
            (home / "before" / name).parent.mkdir(parents=True)
            (home / "before" / name).write_text(text)
        return Bench(memory_path, Case(home, "", "sampan"), Enabled, (False, True))
    if request.param == "edit":
        (home / "before/etc/docker").mkdir(parents=True)
        (home / "before" / DAEMON_JSON).write_text('{"debug": false}\n')
    modes = {DAEMON_JSON: "0640"} if request.param == "edit" else {}
    return Bench(memory_path, Case(home, "", "docker@28", CONFIG, modes=modes), Daemon, ([], MIRRORS))


def trees(bench: Bench) -> tuple[Listing, Listing]:
    """As it is before, and as it is after."""
    bench.fresh()
    before = listing(bench.root)
    bench.apply()
    return before, listing(bench.root)


def whole(bench: Bench, *wholes: Listing) -> None:
    """Each file is as in one of the trees, or as a revert has it for the time of its reload."""
    for name, (_, _, data) in listing(bench.root).items():
        known = [tree[name][2] for tree in wholes if name in tree]
        interim = name == DAEMON_JSON and json.loads(data).get("registry-mirrors") == []
        temporary = name.endswith(".sampan-new")
        assert temporary or interim or data in known, name


End = Callable[[Bench], None]


@pytest.mark.parametrize("end", [Bench.apply, Bench.revert], ids=["apply", "revert"])
@pytest.mark.parametrize("killed", ["apply", "revert"])
@pytest.mark.row("F6")
def test_whatever_was_killed_anywhere_an_apply_or_a_revert_comes_to_its_end(
    bench: Bench, killed: str, end: End
) -> None:
    before, after = trees(bench)
    prepare, work = (bench.fresh, bench.apply) if killed == "apply" else (bench.applied, bench.revert)
    deaths = 0
    for _ in killed_at_each_step(prepare, work, CALLS):
        whole(bench, before, after)
        end(bench)
        is_apply = end is Bench.apply
        expected, in_force = (after, bench.in_force_after) if is_apply else (before, bench.in_force_before)
        assert listing(bench.root) == expected
        assert bench.daemon.in_force == in_force
        assert Journal(bench.root).unfinished() is None
        if is_apply:
            bench.revert()
            assert listing(bench.root) == before
            assert bench.daemon.in_force == bench.in_force_before
        deaths += 1
    assert deaths > 20


@pytest.mark.row("F6")
def test_what_ends_it_may_be_killed_as_well(bench: Bench) -> None:
    """Killed in the middle of an apply, then at every step of the revert of that, then reverted."""
    before, after = trees(bench)
    steps = sum(1 for _ in killed_at_each_step(bench.fresh, bench.apply, CALLS))
    for step in range(3, steps, max(20, steps // 3)):

        def half_applied(step: int = step) -> None:
            bench.fresh()
            assert killed_at(step, bench.apply, CALLS)

        for _ in killed_at_each_step(half_applied, bench.revert, CALLS):
            whole(bench, before, after)
            bench.revert()
            assert listing(bench.root) == before
            assert bench.daemon.in_force == bench.in_force_before
