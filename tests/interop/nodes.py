"""A machine of its own for one containerd: its /etc/containerd, /run, /var/lib and /opt are a test's.

A mount namespace holds it, so every path is the one that it is on any machine, and nothing of this one is
read or written. A :class:`Node` guarantees that containerd ends with it, and comes again by itself when it is
ended, as systemd has it.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from interop import peers
from interop.containerd import short_and_quick
from interop.cri import Cri
from interop.processes import Process, running, surroundings
from node_cases import NOW, Listing, listing
from sampan.config import Config
from sampan.config.node import wanted
from sampan.oci import Reference
from sampan.runtimes.apply import apply
from sampan.runtimes.containerd import Containerd
from sampan.runtimes.contract import Finding, Installed, Runtime, Status
from sampan.runtimes.examine import ask
from sampan.runtimes.journal import Journal
from sampan.runtimes.machine import SystemMachine
from sampan.runtimes.plan import NodePlan, make_plan
from sampan.runtimes.revert import revert
from sampan.runtimes.snapshot import Snapshot
from sampan.runtimes.steps import Steps
from sampan.runtimes.tree import Tree

SOCKET = "run/containerd/containerd.sock"
SHARED = ("run", "var/lib", "opt", "etc/containerd")
STARTS_MAX = 60
COMMAND_TIMEOUT_SECONDS = 60.0

# /etc is laid over, since mount points must be there; what is bound on it is the test's.
_SUPERVISE = """#!/bin/sh
set -e
mount -t overlay overlay -o lowerdir=/etc,upperdir={home}/.upper,workdir={home}/.work /etc
mkdir -p /etc/containerd
for directory in {shared}; do mount --bind {home}/$directory /$directory; done
set +e
trap 'kill $pid; wait $pid; exit 0' TERM
for start in $(seq {starts}); do
  setpriv --pdeathsig KILL -- {program} >>{home}/containerd.log 2>&1 &
  pid=$!
  echo $pid >{home}/.pid.new
  mv {home}/.pid.new {home}/.pid
  wait $pid
  sleep 0.05
done
"""
_RESTART = """#!/bin/sh
old=$(cat {home}/.pid)
kill $old
for look in $(seq 400); do
  new=$(cat {home}/.pid)
  if [ "$new" != "$old" ] && {ctr} --address {home}/{socket} version >/dev/null 2>&1; then exit 0; fi
  sleep 0.05
done
exit 1
"""
_INSIDE = '#!/bin/sh\nexec nsenter --mount=/proc/{holder}/ns/mnt -- {program} "$@"\n'


@dataclass
class Node:
    """The tree at ``home`` as a machine, on which ``containerd`` and ``ctr`` are the real ones."""

    name: str
    home: Path
    cri: Cri
    process: Process
    runtime: Runtime = field(default_factory=lambda: Containerd(patience_seconds=5))

    def __post_init__(self) -> None:
        path = f"{self.home / '.bin'}:{surroundings()['PATH']}"
        self.machine = SystemMachine(surroundings(PATH=path, TMPDIR=str(self.home)))
        self.steps = Steps(
            self.machine,
            {"containerd": str(self.home / ".bin" / "restart")},
            has_systemd=False,
            settle=self.settle,
        )

    @property
    def tree(self) -> Tree:
        return Tree(self.home)

    @property
    def installed(self) -> Installed:
        return ask(self.runtime, self.machine)

    @property
    def configuration(self) -> Listing:
        return listing(self.home / "etc", times=True)

    def lay(self, files: Mapping[str, str]) -> None:
        """These files below /etc/containerd and no others, with a containerd that was started with them."""
        for path in (self.home / "etc/containerd").iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.rmtree(self.home / "var/lib/sampan", ignore_errors=True)
        for name, text in files.items():
            path = self.home / "etc/containerd" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        answer = self.machine.run([str(self.home / ".bin" / "restart")])
        assert answer.code == 0, self.log()

    def status(self) -> Status:
        return self.runtime.status(self.tree, self.installed)

    def plan(self, config: str, runtimes: Sequence[Runtime] = ()) -> NodePlan:
        parsed = Config.parse(config, name="sampan.toml", environ={})
        asked = [(runtime, ask(runtime, self.machine)) for runtime in runtimes or (self.runtime,)]
        plan, refused = make_plan(self.tree, asked, wanted(parsed))
        assert not refused, refused
        return plan

    def apply(self, config: str, image: Reference | None) -> Snapshot | None:
        plan, installed = self.plan(config), self.installed
        journal = Journal(self.home)

        def verify() -> Sequence[Finding]:
            return () if image is None else self.runtime.verify(self.machine, installed, image)

        with journal.locked():
            return apply(journal, plan, self.steps, now=NOW, verify=verify)

    def revert(self) -> None:
        journal = Journal(self.home)
        with journal.locked():
            revert(journal, journal.snapshots()[-1][0], self.steps)

    def settle(self, name: str) -> Sequence[Finding]:
        assert name == "containerd"
        return self.runtime.settle(self.machine, self.tree, self.installed)

    def sampan(self, *words: str) -> subprocess.CompletedProcess[str]:
        """``sampan WORDS`` on that machine, as a person runs it."""
        command = ["nsenter", f"--mount=/proc/{self.process.popen.pid}/ns/mnt", "--"]
        command += [sys.executable, "-m", "sampan.cli", *words]
        path = f"{peers.program(self.name).parent}:{surroundings()['PATH']}"
        return subprocess.run(
            command,
            env=surroundings(PATH=path, HOME=str(self.home)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_SECONDS,
            check=False,
        )

    def log(self) -> str:
        return (self.home / "containerd.log").read_text()[-4000:]


@contextlib.contextmanager
def node(name: str) -> Iterator[Node]:
    """The containerd ``name`` on a machine that has no configuration of it yet."""
    home = Path(tempfile.mkdtemp(prefix="nod", dir=short_and_quick()))
    try:
        for part in (*SHARED, ".upper", ".work", ".bin"):
            (home / part).mkdir(parents=True)
        program, ctr = peers.program(name), peers.beside(name, "ctr")
        _script(
            home / ".supervise",
            _SUPERVISE.format(home=home, shared=" ".join(SHARED), starts=STARTS_MAX, program=program),
        )
        _script(home / ".bin/restart", _RESTART.format(home=home, ctr=ctr, socket=SOCKET))
        with (
            Cri(home / SOCKET) as cri,
            running(
                "supervise",
                ["unshare", "--mount", "--propagation", "private", "--", home / ".supervise"],
                directory=home,
                ready=lambda: (home / SOCKET).exists() and cri.ready(),
            ) as process,
        ):
            for each in (program, ctr):
                _script(home / ".bin" / each.name, _INSIDE.format(holder=process.popen.pid, program=each))
            yield Node(name, home, cri, process)
    finally:
        shutil.rmtree(home)


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
