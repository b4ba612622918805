"""A machine of its own for a world of the lab: this one's files under a layer of memory, and a network that
ends at its own loopback.

It guarantees that nothing of this machine is written, that no runtime of this machine is seen in there, that
no packet leaves, and that all of it is gone when the ``with`` block ends. Public addresses are given to its
loopback (:meth:`Machine.address`), so that whoever looks at them sees what a real machine sees.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import trustme

from interop.containerd import short_and_quick
from interop.lines import Namespace
from interop.processes import Process, alive, running, surroundings

COMMAND_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 10.0
NAMESERVER = "10.0.0.2"
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
BOOT = """\
#!/bin/sh
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs {layer}
mkdir {layer}/upper {layer}/work {root}
mount -t overlay overlay -o lowerdir=/,upperdir={layer}/upper,workdir={layer}/work {root}
mount -t proc proc {root}/proc
mount -t sysfs -o ro sysfs {root}/sys
mount --rbind /sys/fs/cgroup {root}/sys/fs/cgroup
mount --rbind /dev {root}/dev
for directory in run tmp var/lib var/log opt; do mount -t tmpfs tmpfs {root}/$directory; done
for program in skopeo podman buildah docker dockerd containerd ctr crictl nerdctl; do
  rm -f {root}/usr/bin/$program {root}/usr/sbin/$program {root}/usr/local/bin/$program
done
rm -rf {root}/etc/containerd {root}/etc/docker {root}/etc/containers {root}/usr/share/containers
rm -rf {root}/usr/local/share/ca-certificates {root}/etc/systemd/system {root}/etc/sampan
ip link set lo up
cd {root}
mkdir before
pivot_root . before
umount --lazy /before
rmdir /before
touch /run/booted
exec sleep infinity
"""


@dataclass(eq=False)
class Machine:
    """``authority`` is the one whose certificates it believes."""

    pid: int
    namespace: Namespace
    authority: trustme.CA

    @property
    def root(self) -> Path:
        """Its root directory, seen from here."""
        return Path(f"/proc/{self.pid}/root")

    def path(self, path: str) -> Path:
        """What is at an absolute path of it, seen from here."""
        return self.root / path.lstrip("/")

    def write(self, path: str, text: str) -> None:
        """A file of it, directories and all."""
        self.path(path).parent.mkdir(parents=True, exist_ok=True)
        self.path(path).write_text(text)

    def address(self, address: str) -> str:
        """``address`` is one of its own from now on."""
        with contextlib.suppress(RuntimeError):  # it has it already
            self.namespace.run("ip", "address", "add", f"{address}/32", "dev", "lo")
        return address

    def command(self, *words: str | Path) -> list[str]:
        """``words`` as a command that runs there."""
        spaces = ("--target", str(self.pid), "--mount", "--net", "--pid", "--root", "--wd")
        tied = ("setpriv", "--pdeathsig", "KILL", "--")  # nsenter stays behind as the parent
        return ["nsenter", *spaces, "--", *tied, *map(str, words)]

    def run(
        self, *words: str | Path, seconds: float = COMMAND_SECONDS_MAX, stdin: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """``words`` there, to their end, whatever that is."""
        return subprocess.run(
            self.command(*words),
            env=environ(**environment),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    @contextlib.contextmanager
    def running(
        self,
        name: str,
        *words: str | Path,
        ready: Callable[[], bool],
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> Iterator[Process]:
        """``words`` there, while the block lasts; its log is in the directory ``log``."""
        with running(
            name,
            self.command(*words),
            directory=log,
            ready=ready,
            environment=environ(**(environment or {})),
        ) as process:
            try:
                yield process
            finally:
                _end(process)


def _end(process: Process) -> None:
    """The program is asked to end, not the nsenter that is its parent: it would be killed with that one."""
    child = child_of(process.popen.pid)
    if child is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.popen.wait(STOP_SECONDS_MAX)


def child_of(pid: int) -> int | None:
    """The process that ``pid`` has begun; None: it has not, or has ended."""
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            return int(child)
    return None


def environ(**more: str) -> dict[str, str]:
    """What programs there run with: no proxy, since nothing is beyond its loopback anyway."""
    base = {key: value for key, value in surroundings().items() if not key.endswith("_PROXY")}
    return {
        **base,
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        **more,
    }


@contextlib.contextmanager
def machine(authority: trustme.CA) -> Iterator[Machine]:
    """A machine that has no runtime and knows no name."""
    home = Path(tempfile.mkdtemp(prefix="mach", dir=short_and_quick()))
    try:
        (home / "layer").mkdir()
        (home / "boot").write_text(BOOT.format(layer=home / "layer", root=home / "layer" / "root"))
        (home / "boot").chmod(0o755)
        spaces = ("--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation", "private")
        command = ["unshare", *spaces, "--", str(home / "boot")]

        def is_up() -> bool:
            pid = child_of(alive[-1].popen.pid)
            return pid is not None and Path(f"/proc/{pid}/root/run/booted").exists()

        with running("machine", command, directory=home, ready=is_up) as process:
            pid = child_of(process.popen.pid)
            assert pid is not None
            handle = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                made = Machine(pid, Namespace(handle), authority)
                made.write("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")
                made.write("/etc/resolv.conf", f"nameserver {NAMESERVER}\n")
                made.path(AUTHORITIES).unlink()
                made.write(AUTHORITIES, authority.cert_pem.bytes().decode())
                yield made
            finally:
                os.close(handle)
                process.kill()  # it takes no other signal, and all that runs there with it
    finally:
        shutil.rmtree(home)
