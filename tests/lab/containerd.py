"""containerd on a machine of the lab, at the paths that it has on any machine."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from interop import peers
from interop.cri import Cri
from interop.processes import Process
from lab.machine import Machine

SOCKET = "/run/containerd/containerd.sock"
CONFIG = "/etc/containerd/config.toml"
CONTAINERDS = {"1.6": "containerd-1.6", "1.7": "containerd-1.7", "2.1": "containerd-2"}
ETC = "/etc/containerd"


@dataclass(eq=False)
class Containerd:
    """The containerd called ``name`` in :mod:`interop.peers`; :meth:`start` before anything else."""

    name: str
    machine: Machine
    logs: Path
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    cri: Cri | None = None
    process: Process | None = None

    @property
    def version(self) -> str:
        """``1.6.20``, as it says itself."""
        return peers.version(self.name).partition("~")[0].partition("+")[0]

    def install(self) -> None:
        """Its programs are where a package puts them."""
        for program in ("containerd", "ctr"):
            link = self.machine.path(f"/usr/bin/{program}")
            link.unlink(missing_ok=True)
            link.symlink_to(peers.beside(self.name, program))

    def lay(self, files: Mapping[str, str]) -> None:
        """These files below /etc/containerd, and no others."""
        shutil.rmtree(self.machine.path(ETC), ignore_errors=True)
        self.machine.path(ETC).mkdir(parents=True)
        for path, text in files.items():
            if path.endswith("/"):
                self.machine.path(f"{ETC}/{path}").mkdir(parents=True)
            else:
                self.machine.write(f"{ETC}/{path}", text)

    def start(self, *, whole: bool = True, environment: Mapping[str, str] | None = None) -> None:
        """Start it (again). ``whole``: its CRI loads. ``environment``: of its unit."""
        self.stop()
        self.cri = Cri(self.machine.path(SOCKET))
        self._stack.enter_context(self.cri)
        self.process = self._stack.enter_context(
            self.machine.running(
                "containerd",
                "/usr/bin/containerd",
                "--log-level",
                "debug",
                ready=self._is_up(whole=whole),
                log=self.logs,
                environment=environment,
            )
        )

    def stop(self) -> None:
        self._stack.close()
        self.machine.path(SOCKET).unlink(missing_ok=True)

    def _is_up(self, *, whole: bool) -> Callable[[], bool]:
        def look() -> bool:
            if not self.machine.path(SOCKET).exists():
                return False
            return self.cri is not None and (
                self.cri.ready() if whole else self.machine.run("ctr", "version").returncode == 0
            )

        return look


@contextlib.contextmanager
def containerd(name: str, machine: Machine, logs: Path) -> Iterator[Containerd]:
    made = Containerd(name, machine, logs)
    made.install()
    try:
        yield made
    finally:
        made.stop()
