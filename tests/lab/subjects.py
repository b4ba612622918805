"""The programs whose pulls are recorded, each with its cases, its versions, and what we foretell of it by."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from interop.cri import CriError
from lab.case import Case
from lab.containerd import CONTAINERDS, Containerd, containerd
from lab.containerd_cases import ASKED
from lab.containerd_file_cases import FILES
from lab.docker import DOCKERS, Docker, DockerError, docker
from lab.docker_cases import DOCKER
from lab.laying import lay, with_store
from lab.machine import Machine, machine
from lab.network import Network
from lab.podman import Podman, PodmanError, podman
from lab.podman_cases import PODMAN
from sampan.doctor.chain.containerd_plan import containerd_chain
from sampan.doctor.chain.contract import Chain
from sampan.doctor.chain.docker_plan import docker_chain
from sampan.doctor.chain.podman_plan import podman_chain
from sampan.oci.reference import Reference
from sampan.runtimes.contract import Installed
from sampan.runtimes.tree import Tree

ELSEWHERE = ("/etc/docker/certs.d", "/root/.config/containers/certs.d")  # where podman looks too


@dataclass(frozen=True)
class Subject:
    """A program with its cases. ``directory``: where a case's files are laid; ``versions``: what each is
    called among the peers; ``chain``: our plan of it. ``elsewhere``: other directories that it reads."""

    name: str
    directory: str
    cases: tuple[Case, ...]
    versions: Mapping[str, str]
    chain: Callable[[Tree, Installed, Reference], Chain]
    real: Callable[[str, Network], contextlib.AbstractContextManager[Real]]
    elsewhere: tuple[str, ...] = ()

    def cases_of(self, version: str) -> Iterator[Case]:
        """Those that are for ``version``."""
        return (case for case in self.cases if version in (case.versions or self.versions))


@dataclass(frozen=True)
class Real:
    """A running program on its ``machine``: ``version`` in full; ``pull`` lays the files, pulls, and returns
    what is said."""

    version: str
    machine: Machine
    pull: Callable[[Case, Mapping[str, str], str], str | None]


@contextlib.contextmanager
def ground(network: Network) -> Iterator[tuple[Machine, Path]]:
    with machine(network.authority) as found, network.open(found), tempfile.TemporaryDirectory() as logs:
        yield found, Path(logs)


@contextlib.contextmanager
def _real_containerd(name: str, network: Network) -> Iterator[Real]:
    with ground(network) as (found, logs), containerd(name, found, logs) as running:
        yield Real(running.version, found, lambda case, files, ref: _by_cri(running, case, files, ref))


def _by_cri(running: Containerd, case: Case, files: Mapping[str, str], reference: str) -> str | None:
    config = running.machine.path("/etc/containerd/config.toml")
    before = config.read_text() if config.exists() else None
    running.lay(files)
    if running.process is None or before != files.get("config.toml"):
        running.start(whole=case.cri)
    assert running.cri is not None
    try:
        running.cri.pull(reference)
    except CriError as error:
        return error.details
    return None


@contextlib.contextmanager
def _real_docker(name: str, network: Network) -> Iterator[Real]:
    with ground(network) as (found, logs), docker(name, found, logs) as running:
        yield Real(running.version, found, lambda _, files, ref: _by_api(running, files, ref))


def _by_api(running: Docker, files: Mapping[str, str], reference: str) -> str | None:
    etc = running.machine.path("/etc/docker")
    wanted = with_store(files.get("daemon.json", "{}"), running.name)
    before = (etc / "daemon.json").read_text() if (etc / "daemon.json").exists() else None
    shutil.rmtree(etc, ignore_errors=True)
    lay(etc, {**files, "daemon.json": wanted})
    if running.process is None or before != wanted:
        running.start()
    try:
        running.pull(reference)
    except DockerError as error:
        return str(error)
    return None


@contextlib.contextmanager
def _real_podman(_: str, network: Network) -> Iterator[Real]:
    with ground(network) as (found, _logs), podman(found) as running:
        yield Real(running.version, found, lambda _, files, ref: _by_podman(running, files, ref))


def _by_podman(running: Podman, files: Mapping[str, str], reference: str) -> str | None:
    for path in ("/etc/containers/certs.d", *ELSEWHERE):
        shutil.rmtree(running.machine.path(path), ignore_errors=True)
    lay(running.machine.path("/etc/containers"), files)
    running.configure(files["registries.conf"])
    try:
        running.pull(reference)
    except PodmanError as error:
        return str(error)
    return None


SUBJECTS = {
    subject.name: subject
    for subject in (
        Subject(
            "containerd", "/etc/containerd", (*ASKED, *FILES), CONTAINERDS, containerd_chain, _real_containerd
        ),
        Subject("docker", "/etc/docker", DOCKER, DOCKERS, docker_chain, _real_docker),
        Subject(
            "podman", "/etc/containers", PODMAN, {"4.3": "podman"}, podman_chain, _real_podman, ELSEWHERE
        ),
    )
}
