"""containerd, of each version that people run, with the CRI on and a store of its own.

A :func:`containerd` is fresh: no image is in it, its directories are its own, and nothing of the
machine's configuration is read. It guarantees that it never asks a real registry: each hosts.toml
that is written here names a closed loopback port as its ``server``, and a namespace that has none
falls to ``_default``, which has nothing else. When it ends, no mount of it is left.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from interop import peers
from interop.cri import Cri
from interop.processes import Process, run, running, surroundings

VERSIONS = ("containerd-1.6", "containerd-1.7", "containerd-2")
CLOSED = "http://127.0.0.1:1"  # nobody may listen on port 1 in these tests
PULL_TIMEOUT_SECONDS = 60.0
ROOM_BYTES_MIN = 4 * 1024**3  # the largest image twice, packed and unpacked, for a few runtimes at once
MOUNTS = Path("/proc/self/mounts")


@dataclass(frozen=True, slots=True)
class Containerd:
    """A running containerd: pull by :attr:`cri` as a kubelet does, or by :meth:`ctr`."""

    name: str
    home: Path
    cri: Cri
    process: Process

    @property
    def socket(self) -> Path:
        return self.home / "c.sock"

    @property
    def hosts_directory(self) -> Path:
        """The ``config_path`` of its CRI; also for ``ctr --hosts-dir``."""
        return self.home / "hosts"

    def use(self, namespace: str, urls: Sequence[str]) -> None:
        """Write the hosts.toml of ``namespace`` ("docker.io"): these hosts in this order, then nobody."""
        directory = self.hosts_directory / namespace
        directory.mkdir(exist_ok=True)
        (directory / "hosts.toml").write_text(hosts_toml(urls))

    def ctr(self, *words: str | Path, timeout_seconds: float = PULL_TIMEOUT_SECONDS) -> str:
        """Standard output of ``ctr WORDS``, in a namespace that the CRI does not look into."""
        command = [peers.beside(self.name, "ctr"), "--address", self.socket, "--namespace", "by-ctr", *words]
        return run(command, timeout_seconds=timeout_seconds)

    def ctr_pull(self, reference: str, *words: str) -> str:
        """``ctr images pull`` by the hosts directory: the digest that the name got."""
        self.ctr("images", "pull", "--hosts-dir", self.hosts_directory, *words, reference)
        listed = self.ctr("images", "ls", f"name=={reference}").splitlines()
        return listed[1].split()[2]

    def ctr_fetch(self, reference: str) -> None:
        """``ctr content fetch``: the whole closure into the content store, nothing unpacked."""
        self.ctr("content", "fetch", "--hosts-dir", self.hosts_directory, reference)

    def content(self) -> dict[str, int]:
        """Digest -> size of all that its content store holds."""
        found = {}
        for path in self._blobs.iterdir():
            with contextlib.suppress(FileNotFoundError):  # it collects what nothing names any more
                found[f"sha256:{path.name}"] = path.stat().st_size
        return found

    def corrupt(self) -> list[str]:
        """The digests of its content store whose bytes do not hash to them: none, always."""
        wrong = []
        for path in self._blobs.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if hashlib.sha256(path.read_bytes()).hexdigest() != path.name:
                    wrong.append(path.name)
        return wrong

    @property
    def _blobs(self) -> Path:
        return self.home / "root/io.containerd.content.v1.content/blobs/sha256"


def hosts_toml(urls: Sequence[str]) -> str:
    """A hosts.toml that names ``urls`` in this order, and a closed port as the last resort.

    It always has a host table: containerd 1.6 drops a file without one and asks the real registry.
    """
    tables = "".join(f'\n[host."{url}"]\n  capabilities = ["pull", "resolve"]\n' for url in urls or [CLOSED])
    return f'server = "{CLOSED}"\n{tables}'


@contextlib.contextmanager
def containerd(
    name: str, directory: Path | None = None, *, more: str = "", environment: Mapping[str, str] | None = None
) -> Iterator[Containerd]:
    """The containerd ``name`` of :data:`VERSIONS`, running with an empty store; ``more`` is put behind its
    configuration, ``environment`` stands above its surroundings."""
    program = peers.program(name)
    home = Path(tempfile.mkdtemp(prefix="ctd", dir=directory or short_and_quick()))
    try:
        (home / "hosts" / "_default").mkdir(parents=True)
        (home / "hosts" / "_default" / "hosts.toml").write_text(hosts_toml(()))
        (home / "config.toml").write_text(_config(name, home) + more)
        with (
            Cri(home / "c.sock") as cri,
            running(
                name,
                [program, "--config", home / "config.toml"],
                directory=home,
                ready=lambda: _listens(home / "c.sock") and cri.ready(),
                environment=surroundings(
                    **{"TMPDIR": str(home), "XDG_RUNTIME_DIR": str(home), **(environment or {})}
                ),
            ) as process,
        ):
            yield Containerd(name, home, cri, process)
    finally:
        left = [line.split()[1] for line in MOUNTS.read_text().splitlines() if str(home) in line]
        assert not left, f"{name} left mounts behind: {left}"
        shutil.rmtree(home)


def short_and_quick() -> Path:
    """Memory where there is room: unpacking thousands of small files on a disk takes five times as long.

    Not pytest's directories: a socket's path may have 107 characters.
    """
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free >= ROOM_BYTES_MIN
    return memory if roomy else Path("/tmp")


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _config(name: str, home: Path) -> str:
    newer = name.startswith("containerd-2")
    images = "io.containerd.cri.v1.images" if newer else "io.containerd.grpc.v1.cri"
    # What 1.6 does not have yet it ignores without a word.
    return f"""
version = {3 if newer else 2}
root = "{home}/root"
state = "{home}/state"
temp = "{home}/temp"
[grpc]
  address = "{home}/c.sock"
[ttrpc]
  address = "{home}/t.sock"
[plugins."{images}".registry]
  config_path = "{home}/hosts"
[plugins."io.containerd.grpc.v1.cri"]
  disable_tcp_service = true
[plugins."io.containerd.internal.v1.opt"]
  path = "{home}/opt"
[plugins."io.containerd.nri.v1.nri"]
  disable = true
"""
