"""Docker Engine on a machine of the lab, at the paths that it has on any machine."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from interop import peers
from interop.engines import ENGINES
from interop.processes import Process
from lab.machine import Machine, child_of

SOCKET = "/run/docker.sock"
DAEMON_JSON = "/etc/docker/daemon.json"
BESIDE = "/run/docker-containerd/c.sock"
ASK_SECONDS_MAX = 60.0
DOCKERS = {"20.10": "docker-20", "28.5": "docker-28", "28.5-store": "docker-28 containerd store"}
BESIDE_TOML = f"""\
version = 2
root = "/var/lib/docker-containerd"
state = "/run/docker-containerd/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{BESIDE}"
[ttrpc]
address = "{BESIDE}.t"
"""


class DockerError(Exception):
    """What the daemon says of a pull that fails."""


@dataclass(eq=False)
class Docker:
    """The engine called ``name`` in :data:`interop.engines.ENGINES`; :meth:`start` before anything else."""

    name: str
    machine: Machine
    logs: Path
    process: Process | None = None
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def version(self) -> str:
        """``28.5.2``, as it says itself."""
        return peers.version(self.name.split()[0]).partition("+")[0]

    def install(self) -> None:
        """Its programs are where a package puts them; 28's own client is in another."""
        program = peers.program(self.name.split()[0])
        for path, target in (
            ("/usr/sbin/dockerd", program),
            ("/usr/bin/docker", peers.program("docker-20").parents[1] / "bin/docker"),
        ):
            link = self.machine.path(path)
            link.unlink(missing_ok=True)
            link.symlink_to(target)

    def configure(self, keys: Mapping[str, object]) -> None:
        """daemon.json with these keys, and the image store that its name says."""
        features = {"containerd-snapshotter": ENGINES[self.name][1]}
        self.machine.write(DAEMON_JSON, json.dumps({"features": features, **keys}))

    def start(self) -> None:
        """Start it (again), with a containerd of its own beside it."""
        self.stop()
        beside = peers.program(ENGINES[self.name][0])
        self.machine.write("/run/docker-containerd/config.toml", BESIDE_TOML)
        self._stack.enter_context(
            self.machine.running(
                "beside",
                beside,
                "--config",
                "/run/docker-containerd/config.toml",
                ready=lambda: _listens(self.machine.path(BESIDE)),
                log=self.logs,
            )
        )
        self.process = self._stack.enter_context(
            self.machine.running(
                "dockerd",
                "/usr/sbin/dockerd",
                *("--containerd", BESIDE, "--host", f"unix://{SOCKET}"),
                *("--iptables=false", "--ip6tables=false", "--bridge=none", "--userland-proxy=false"),
                ready=self._answers,
                log=self.logs,
            )
        )

    def stop(self) -> None:
        self._stack.close()
        self.machine.path("/run/docker.pid").unlink(missing_ok=True)  # it was not asked to clean up

    def reload(self) -> None:
        """SIGHUP, as ``systemctl reload docker`` sends it."""
        assert self.process is not None
        pid = child_of(self.process.popen.pid)
        assert pid is not None
        os.kill(pid, signal.SIGHUP)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.get("/_ping")[0] == 200
        return False

    @property
    def mirrors(self) -> list[str]:
        """Those in force."""
        found: list[str] = json.loads(self.get("/info")[1])["RegistryConfig"]["Mirrors"] or []
        return found

    def has_label(self, label: str) -> None:
        """Wait until a reload has taken it over."""
        for _ in range(400):
            if label in json.loads(self.get("/info")[1])["Labels"]:
                return
            time.sleep(0.02)
        raise AssertionError(f"dockerd has no label {label}")

    def pull(self, reference: str) -> None:
        """As ``docker pull`` does. Raises DockerError."""
        name, colon, tag = reference.rpartition(":") if "@" not in reference else (reference, "", "")
        status, said = self.ask(
            "POST",
            f"/images/create?{urlencode({'fromImage': name, 'tag': tag} if colon else {'fromImage': name})}",
        )
        documents = [json.loads(line) for line in said.decode().splitlines() if line.strip()]
        for document in documents:
            if "error" in document or (status >= 400 and "message" in document):
                raise DockerError(document.get("error") or document["message"])

    def get(self, url: str) -> tuple[int, bytes]:
        return self.ask("GET", url)

    def ask(self, method: str, url: str) -> tuple[int, bytes]:
        """Status and body of the API's answer."""
        connection = http.client.HTTPConnection("docker")
        connection.sock = socket.socket(socket.AF_UNIX)
        with contextlib.closing(connection):
            connection.sock.settimeout(ASK_SECONDS_MAX)
            connection.sock.connect(str(self.machine.path(SOCKET)))
            connection.request(method, url)
            with connection.getresponse() as response:
                return response.status, response.read()


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@contextlib.contextmanager
def docker(name: str, machine: Machine, logs: Path) -> Iterator[Docker]:
    made = Docker(name, machine, logs)
    made.install()
    try:
        yield made
    finally:
        made.stop()
