"""A real pull by a running runtime, as the one who uses it would have it: its words, and nothing left behind.

containerd is asked by its CRI, by crictl where there is one, else by gRPC where that is installed; ctr would
ask by other rules. Guarantees a limit on the time, and that an image which was not there before is removed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sampan.doctor.chain import cri
from sampan.doctor.contract import Unseen
from sampan.oci.reference import Reference
from sampan.runtimes.containerd.facts import address_of, dump_of, running
from sampan.runtimes.containerd.files import CONFIG, flags_of
from sampan.runtimes.contract import Answer, Installed, Machine
from sampan.runtimes.docker.facts import running as docker_runs
from sampan.runtimes.units import split_words
from sampan.words import sentence

PULL_SECONDS_MAX = 120.0


@dataclass(frozen=True, slots=True)
class Pulled:
    """How it ended: ``said``, a stranger's text, is None when the image came. ``was_there``: before it."""

    said: str | None
    was_there: bool = False


@dataclass(frozen=True, slots=True)
class Puller:
    """Pulls by one runtime. Each function blocks, within a limit."""

    is_there: Callable[[str], bool]
    pull_one: Callable[[str], str | None]
    remove: Callable[[str], object]

    def pull(self, reference: Reference) -> Pulled:
        """``reference`` pulled, and removed unless it was there."""
        name = str(reference)
        there = self.is_there(name)
        said = self.pull_one(name)
        if said is None and not there:
            self.remove(name)
        return Pulled(said, there)


def puller_of(machine: Machine, installed: Installed, name: str) -> Puller | Unseen:
    """Who pulls by the runtime ``name``; Unseen: why nobody does."""
    if name == "containerd" and running(installed):
        return _by_cri(machine, installed)
    if name == "docker" and docker_runs(installed):
        return _by_program(machine, DOCKER)
    if name == "podman" and "version" in installed.answers:
        return _by_program(machine, PODMAN)
    return Unseen(name, sentence("it does not run, so nothing was pulled with it"))


@dataclass(frozen=True, slots=True)
class Program:
    """A command line that pulls. ``there`` asks for an image, ``remove`` removes it; behind ``marker`` stands
    the error that it ends with."""

    command: tuple[str, ...]
    there: tuple[str, ...]
    remove: tuple[str, ...]
    marker: str
    before: str = ""


DOCKER = Program(
    ("docker", "--host", "unix:///run/docker.sock"),
    ("image", "inspect"),
    ("image", "rm"),
    "Error response from daemon: ",
)
PODMAN = Program(("podman",), ("image", "exists"), ("image", "rm"), "Error: ", before="Error: ")


def _crictl(address: str) -> Program:
    socket, timeout = f"unix://{address}", f"{PULL_SECONDS_MAX:.0f}s"
    options = ("--runtime-endpoint", socket, "--image-endpoint", socket, "--timeout", timeout)
    return Program(("crictl", *options), ("inspecti", "--quiet"), ("rmi",), " desc = ")


def _by_cri(machine: Machine, installed: Installed) -> Puller | Unseen:
    flags = flags_of(split_words(installed.answers.get("unit", "")))
    dump = dump_of(machine.run(("containerd", "--config", flags.config or CONFIG, "config", "dump")).output)
    address = flags.address or address_of(dump)
    if "crictl" in installed.answers:
        return _by_program(machine, _crictl(address))
    if cri.is_available():
        images = cri.Images(address)
        return Puller(images.is_there, lambda name: images.pull(name, PULL_SECONDS_MAX), images.remove)
    what = sentence("nothing here speaks to its CRI, so nothing was pulled with it")
    return Unseen("containerd", what, sentence("install crictl, or grpcio beside sampan"))


def _by_program(machine: Machine, program: Program) -> Puller:
    def pull(name: str) -> str | None:
        answer = machine.run((*program.command, "pull", name), timeout_seconds=PULL_SECONDS_MAX)
        return None if answer.code == 0 else _words(answer, program)

    return Puller(
        lambda name: machine.run((*program.command, *program.there, name)).code == 0,
        pull,
        lambda name: machine.run((*program.command, *program.remove, name)),
    )


def _words(answer: Answer, program: Program) -> str:
    """The error that it ended with; what it said on the way is left out."""
    _, found, words = answer.errors.rpartition(program.marker)
    return f"{program.before}{words.strip()}" if found else answer.errors.strip() or answer.words
