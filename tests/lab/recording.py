"""Real programs and our own foretelling, each pulling by the same files in the same network."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from interop.cri import CriError
from interop.engines import ENGINES
from lab.chain_cases import CASES, Case
from lab.containerd import Containerd, containerd
from lab.docker import Docker, DockerError, docker
from lab.machine import Machine, machine
from lab.network import Network
from lab.other_cases import DOCKER, DOCKERS, PODMAN
from lab.podman import Podman, PodmanError, podman
from sampan.doctor.chain import containerd_walk, docker_walk, podman_walk
from sampan.doctor.chain.containerd_plan import containerd_chain
from sampan.doctor.chain.contract import Chain, Walk
from sampan.doctor.chain.docker_plan import docker_chain
from sampan.doctor.chain.podman_plan import podman_chain
from sampan.oci.platform import Platform
from sampan.oci.reference import Reference
from sampan.runtimes.contract import Installed, Version
from sampan.runtimes.tree import Tree
from sampan.testing.images import Image

AMD64 = Platform("linux", "amd64")
_UNSTABLE = (
    (re.compile(r"(read tcp )[\d.]+:\d+->"), r"\1…->"),
    (re.compile(r"( is blocked in \S+ or ).*"), r"\1…"),
    (re.compile(r"current time \S+ is"), "current time … is"),
)
CONTAINERDS = {"1.6": "containerd-1.6", "1.7": "containerd-1.7", "2.1": "containerd-2"}


@dataclass(frozen=True)
class Recorded:
    """What was asked, in order, and what was said; None: the image came."""

    asked: tuple[str, ...]
    said: str | None


@dataclass(frozen=True)
class Subject:
    """A program with its cases. ``directory``: where a case's files are laid; ``versions``: what each is
    called among the peers; ``chain``: our plan of it."""

    name: str
    directory: str
    cases: tuple[Case, ...]
    versions: Mapping[str, str]
    chain: Callable[[Tree, Installed, Reference], Chain]
    real: Callable[[str, Network], contextlib.AbstractContextManager[Real]]

    def pairs(self) -> Iterator[tuple[Case, str]]:
        """Each case with each of its versions, versions outermost."""
        for version in self.versions:
            yield from ((case, version) for case in self.cases if version in case.versions or _all(case))


@dataclass(frozen=True)
class Real:
    """A running program: ``version`` in full; ``pull`` lays the files and pulls, and returns what is said."""

    version: str
    pull: Callable[[Case, Mapping[str, str], str], str | None]


def _all(case: Case) -> bool:
    return case.versions == Case.versions


def prepared(case: Case, network: Network) -> tuple[Image, str]:
    """The network as the case has it: its image, and the reference that is pulled."""
    found = case.make(zlib.crc32(case.name.encode()) % 1_000_000)
    network.renew(found)
    case.spoil(network, found)
    return found, case.reference.replace("DIGEST", found.digest)


def laid(case: Case, version: str, network: Network) -> dict[str, str]:
    """The case's files, below the subject's directory."""
    strangers = network.strangers.cert_pem.bytes().decode()
    return {path: text.replace("STRANGERS", strangers) for path, text in case.laid(version).items()}


def record(case: Case, version: str, real: Real, network: Network) -> Recorded:
    """The real one pulls."""
    _, reference = prepared(case, network)
    said = real.pull(case, laid(case, version, network), reference)
    return Recorded(_ordered(network.asked()), None if said is None else stable(said))


# -- ours, without a socket ------------------------------------------------------------------------


def foretell(subject: Subject, case: Case, version: str, full: str, network: Network) -> Recorded:
    """What sampan foretells of the program in the version ``full``."""
    _, reference = prepared(case, network)
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory, subject.directory.lstrip("/"))
        place.mkdir(parents=True)
        files = laid(case, version, network)
        if subject.name == "docker":
            files["daemon.json"] = with_store(files.get("daemon.json", "{}"), DOCKERS[version])
        lay(place, files)
        chain = subject.chain(Tree(Path(directory)), _installed(full), Reference.parse(reference))
        said = walked(procedure(chain), network)
    return Recorded(_ordered(network.asked()), said)


def procedure(chain: Chain) -> Walk:
    """The walk of ``chain``, all layers."""
    walks = {"containerd": containerd_walk, "docker": docker_walk, "containers-image": podman_walk}
    return walks[chain.family].walk(chain, AMD64)


def walked(walk: Walk, network: Network) -> str | None:
    """What is said at the end of ``walk`` in ``network``."""
    try:
        ask = next(walk)
        while True:
            ask = walk.send(network.answer(ask))
    except StopIteration as done:
        outcome = done.value
    said: str | None = outcome.printed
    return said


def lay(place: Path, files: Mapping[str, str]) -> None:
    """``files`` below ``place``; a name that ends in a slash is a directory."""
    for name, text in files.items():
        path = place / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_text(text)


def with_store(daemon_json: str, engine: str) -> str:
    """daemon.json with the image store of that engine."""
    return json.dumps({"features": {"containerd-snapshotter": ENGINES[engine][1]}, **json.loads(daemon_json)})


def _installed(full: str) -> Installed:
    return Installed(Version.find(full))


# -- comparing --------------------------------------------------------------------------------------


def comparable(asked: Sequence[str]) -> tuple[str, ...]:
    """Requests without what redirects led to: whoever asks follows them."""
    return tuple(line for line in asked if "//cdn.lan" not in line)


def _ordered(asked: Sequence[str]) -> tuple[str, ...]:
    """Requests in their order, but that those for blobs, made side by side, stand together by blob."""
    rest: list[str] = []
    blobs: dict[str, list[str]] = {}
    for line in asked:
        found = re.search(r"/(?:blobs|data)/(sha256:\w+)", line)
        if found is None:
            rest += _flat(blobs)
            rest.append(line)
        else:
            blobs.setdefault(found[1], []).append(line)
    return tuple([*rest, *_flat(blobs)])


def _flat(blobs: dict[str, list[str]]) -> list[str]:
    found = [line for digest in sorted(blobs) for line in blobs[digest]]
    blobs.clear()
    return found


def stable(text: str) -> str:
    """``text`` without what differs from one pull to the next."""
    for pattern, replacement in _UNSTABLE:
        text = pattern.sub(replacement, text)
    return text


# -- the real ones ----------------------------------------------------------------------------------


@contextlib.contextmanager
def _ground(network: Network) -> Iterator[tuple[Machine, Path]]:
    with machine(network.authority) as found, network.open(found), tempfile.TemporaryDirectory() as logs:
        yield found, Path(logs)


@contextlib.contextmanager
def _real_containerd(name: str, network: Network) -> Iterator[Real]:
    with _ground(network) as (found, logs), containerd(name, found, logs) as running:
        yield Real(running.version, lambda case, files, name: _by_cri(running, case, files, name))


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
    with _ground(network) as (found, logs), docker(name, found, logs) as running:
        yield Real(running.version, lambda case, files, ref: _by_api(running, files, ref))


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
    with _ground(network) as (found, _), podman(found) as running:
        yield Real(running.version, lambda case, files, reference: _by_podman(running, files, reference))


def _by_podman(running: Podman, files: Mapping[str, str], reference: str) -> str | None:
    running.configure(files["registries.conf"])
    try:
        running.pull(reference)
    except PodmanError as error:
        return str(error)
    return None


SUBJECTS = {
    subject.name: subject
    for subject in (
        Subject("containerd", "/etc/containerd", CASES, CONTAINERDS, containerd_chain, _real_containerd),
        Subject("docker", "/etc/docker", DOCKER, DOCKERS, docker_chain, _real_docker),
        Subject("podman", "/etc/containers", PODMAN, {"4.3": "podman"}, podman_chain, _real_podman),
    )
}
