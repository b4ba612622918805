"""systemd itself as the first process of a machine of its own, for as long as a ``with`` block lasts.

The machine is this one's root file system under a layer of memory, in namespaces without a way out. It
guarantees that nothing of this machine is written, that none of its services start there, and that all of it
is gone when the block ends: the kernel ends whoever is left with the first process.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from interop import peers
from interop.processes import alive, running, surroundings

COMMAND_SECONDS_MAX = 60.0
SRC = peers.ROOT / "src"
# What a service waits for at boot, empty: none of this machine's services is wanted by them.
TARGETS = ("sysinit", "basic", "network", "multi-user", "shutdown")
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
mount -t tmpfs tmpfs {root}/run
mount -t tmpfs tmpfs {root}/tmp
rm -rf {root}/opt {root}/etc/systemd/system {root}/var/lib/sampan
mkdir -p {root}/opt/packages {root}/opt/python {root}/opt/src {root}/opt/sampan/bin
mkdir -p {root}/etc/systemd/system {root}/etc/sampan
mount --bind {packages} {root}/opt/packages
mount --bind {prefix} {root}/opt/python
mount --bind {src} {root}/opt/src
for target in {targets}; do
  printf '[Unit]\\nDefaultDependencies=no\\n' > {root}/etc/systemd/system/$target.target
done
cat > {root}/opt/sampan/bin/sampan <<'EOF'
#!/bin/sh
export LD_LIBRARY_PATH=/opt/python/lib  # where Python was built to find it, services see nothing
PYTHONPATH=/opt/src:/opt/packages exec /opt/python/bin/{python} -B -m sampan.cli "$@"
EOF
chmod +x {root}/opt/sampan/bin/sampan
ip link set lo up
export container=test
cd {root}
mkdir before
pivot_root . before
umount --lazy /before
rmdir /before
exec {systemd} --system --unit=multi-user.target --log-target=console --show-status=false
"""


@dataclass(frozen=True, slots=True)
class Booted:
    """A machine whose first process is ``pid`` here."""

    pid: int

    @property
    def root(self) -> Path:
        """Its root directory, seen from here."""
        return Path(f"/proc/{self.pid}/root")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """``words`` there, to their end."""
        spaces = ("--mount", "--pid", "--uts", "--ipc", "--net", "--root", "--wd")
        command = ["nsenter", "--target", str(self.pid), *spaces, "--", *words]
        return subprocess.run(
            command,
            env=surroundings(PATH="/opt/sampan/bin:/usr/sbin:/usr/bin:/sbin:/bin", HOME="/root"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
            check=False,
        )

    def is_up(self) -> bool:
        return self.run("systemctl", "is-active", "multi-user.target").returncode == 0


@contextlib.contextmanager
def booted() -> Iterator[Booted]:
    """A machine on which systemd has started, and nothing else."""
    systemd = peers.program("systemd-analyze").parents[2] / "lib" / "systemd" / "systemd"
    with tempfile.TemporaryDirectory(prefix="sysd") as directory:
        home = Path(directory)
        (home / "layer").mkdir()
        (home / "boot").write_text(
            BOOT.format(
                layer=home / "layer",
                root=home / "layer" / "root",
                packages=sysconfig.get_path("purelib"),
                prefix=sys.base_prefix,
                python=f"python{sys.version_info.major}.{sys.version_info.minor}",
                src=SRC,
                systemd=systemd,
                targets=" ".join(TARGETS),
            )
        )
        (home / "boot").chmod(0o755)
        spaces = ["--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup"]
        command = ["unshare", *spaces, "--fork", "--kill-child", str(home / "boot")]
        with running("systemd", command, directory=home, ready=_is_up) as process:
            first = _first_process()
            assert first is not None
            try:
                yield first
            finally:
                process.kill()


def _is_up() -> bool:
    return _first_process() is not None


def _first_process() -> Booted | None:
    """The child of what was started last, when it is up."""
    pid = alive[-1].popen.pid
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if Booted(int(child)).is_up():
                return Booted(int(child))
    return None
