"""Docker Engine and podman, with storage of their own, for as long as a ``with`` block lasts.

Both guarantee that nothing of the machine's configuration is read, that no network, firewall or service is
touched, and that no mount is left when the block ends.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interop import peers
from interop.containerd import MOUNTS, containerd, short_and_quick
from interop.processes import run, running, surroundings

# Engine -> the containerd beside it, and whether it is told to use the containerd image store.
ENGINES = {
    "docker-20": ("containerd-1.6", False),
    "docker-28": ("containerd-2", False),
    "docker-28 containerd store": ("containerd-2", True),
}
ASK_TIMEOUT_SECONDS = 30.0
LOAD_TIMEOUT_SECONDS = 120.0
# A layer over /etc, since /etc/docker need not be there; both are gone with the program.
OWN_ETC_DOCKER = """
home=$1; shift
mkdir $home/layer $home/layer/upper $home/layer/work &&
mount -t overlay overlay -o lowerdir=/etc,upperdir=$home/layer/upper,workdir=$home/layer/work /etc &&
mkdir -p /etc/docker && mount --bind $home/etc/docker /etc/docker && exec "$@"
"""


# -- Docker Engine ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Docker:
    """A running engine behind :attr:`socket`, without images. Its daemon.json is in ``home/etc/docker``."""

    name: str
    socket: Path
    home: Path

    @property
    def environ(self) -> dict[str, str]:
        return surroundings(DOCKER_HOST=f"unix://{self.socket}")

    def get(self, url: str) -> Any:
        """The answer of the API, parsed; None for a 404."""
        said = self.raw(url)
        return json.loads(said) if said is not None and url != "/_ping" else None

    def raw(self, url: str) -> bytes | None:
        """The answer of the API as it is; None for a 404."""
        connection = http.client.HTTPConnection("docker")
        connection.sock = socket.socket(socket.AF_UNIX)
        with contextlib.closing(connection):
            connection.sock.settimeout(ASK_TIMEOUT_SECONDS)
            connection.sock.connect(str(self.socket))
            connection.request("GET", url)
            with connection.getresponse() as response:
                said = response.read()
                if response.status == 404:
                    return None
                assert response.status == 200, said
                return said

    def image(self, name: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.get(f"/images/{name}/json")
        return found

    def load(self, archive: Path) -> str:
        """What it answers to ``docker load`` of the file."""
        connection = http.client.HTTPConnection("docker")
        connection.sock = socket.socket(socket.AF_UNIX)
        with contextlib.closing(connection), archive.open("rb") as body:
            connection.sock.settimeout(LOAD_TIMEOUT_SECONDS)
            connection.sock.connect(str(self.socket))
            headers = {"Content-Type": "application/x-tar", "Content-Length": str(archive.stat().st_size)}
            connection.request("POST", "/images/load?quiet=1", body, headers)
            with connection.getresponse() as response:
                return response.read().decode()

    def tags(self) -> set[str]:
        """All names of all images."""
        return {tag for image in self.get("/images/json") for tag in image["RepoTags"] or ()}

    def answers(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            self.get("/_ping")
            return True
        return False


@contextlib.contextmanager
def docker(name: str, *, own_files: bool = False) -> Iterator[Docker]:
    """The engine ``name`` of :data:`ENGINES`, on a containerd of its own. ``own_files``: ``/etc/docker``,
    where it looks for certs.d, is the one below ``home``."""
    beside, containerd_store = ENGINES[name]
    program = peers.program(name.split()[0])
    home = Path(tempfile.mkdtemp(prefix="dkr", dir=short_and_quick()))
    engine = Docker(name, home / "d.sock", home)
    configuration = {"features": {"containerd-snapshotter": containerd_store}}
    daemon_json = home / "etc" / "docker" / "daemon.json"
    daemon_json.parent.mkdir(parents=True)
    daemon_json.write_text(json.dumps(configuration))
    try:
        with containerd(beside) as own:
            command: list[str | Path] = [program, "--config-file", daemon_json]
            command += ["--data-root", home / "root", "--exec-root", home / "exec", "--pidfile", home / "pid"]
            command += ["--host", f"unix://{engine.socket}", "--containerd", own.socket]
            command += ["--iptables=false", "--ip6tables=false", "--bridge=none"]
            command += ["--userland-proxy=false"]
            if own_files:
                command = ["unshare", "--mount", "sh", "-c", OWN_ETC_DOCKER, "sh", home, *command]
            environment = surroundings(HOME=str(home), TMPDIR=str(home))
            with running(
                name.split()[0], command, directory=home, ready=engine.answers, environment=environment
            ):
                yield engine
    finally:
        _remove(home)


# -- podman -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Podman:
    """podman with empty storage below ``home``; :attr:`environ` makes a ``podman`` on its path use it."""

    home: Path

    @property
    def environ(self) -> dict[str, str]:
        path = f"{self.home / 'bin'}:{surroundings()['PATH']}"
        return surroundings(PATH=path, HOME=str(self.home), TMPDIR=str(self.home))

    def __call__(self, *words: str) -> str:
        """Standard output of ``podman WORDS``."""
        return run([self.home / "bin" / "podman", *words], environment=self.environ)

    def skopeo(self, *words: str) -> str:
        """Standard output of ``skopeo WORDS``, which reads the same files where ``own_files`` was said."""
        return run([self.home / "bin" / "skopeo", *words], environment=self.environ)


@contextlib.contextmanager
def podman(*, own_files: bool = False) -> Iterator[Podman]:
    """podman as a person has it: a program on the path, told by no option where its storage is.

    ``own_files``: ``/etc/containers`` is the one below ``home``, for it and for skopeo.
    """
    home = Path(tempfile.mkdtemp(prefix="pod", dir=short_and_quick()))
    try:
        (home / "bin").mkdir()
        if own_files:
            _write_script(home / "bin" / "skopeo", _own_files(home, str(peers.program("skopeo"))))
        # Its locks are shared by all podmans of a machine, and stay, unless they are files.
        (home / "containers.conf").write_text('[engine]\nlock_type = "file"\n')
        command = _podman_command(home)
        _write_script(
            home / "bin" / "podman", _own_files(home, command) if own_files else f'exec {command} "$@"'
        )
        yield Podman(home)
    finally:
        _remove(home)


def _podman_command(home: Path) -> str:
    """podman takes the place of its storage from the machine's files or its own options."""
    options = {
        "root": home / "root",
        "runroot": home / "run",
        "tmpdir": home / "tmp",
        "conmon": peers.program("conmon"),
        "cgroup-manager": "cgroupfs",
        "events-backend": "file",
    }
    words = " ".join(f"--{name} {value}" for name, value in options.items())
    libraries = peers.program("libsubid").parent
    own = f"CONTAINERS_CONF={home / 'containers.conf'} LD_LIBRARY_PATH={libraries}"
    return f"env {own} {peers.program('podman')} {words}"


def _own_files(home: Path, command: str) -> str:
    """``command`` in a mount namespace of its own, which goes when it ends."""
    (home / "etc" / "containers").mkdir(parents=True, exist_ok=True)
    mount = f"mount --bind {home}/etc/containers /etc/containers"
    return f'exec unshare --mount sh -c \'{mount} && exec {command} "$@"\' sh "$@"'


def _write_script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def _remove(home: Path) -> None:
    """What these programs mount for good they mount below their own storage."""
    for line in reversed(MOUNTS.read_text().splitlines()):
        place = line.split()[1]
        if place.startswith(f"{home}/"):
            subprocess.run(["umount", place], check=True, timeout=ASK_TIMEOUT_SECONDS)
    shutil.rmtree(home)
