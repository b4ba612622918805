"""A real pull by a running runtime, as the one who uses it would have it: its words, and nothing left behind.

containerd is asked by its CRI, by crictl where there is one, else by gRPC where that is installed; ctr would
ask by other rules. Guarantees a limit on the time, and that an image which was not there before is removed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sampan.doctor.chain import cri
from sampan.doctor.contract import Unseen
from sampan.errors import printable
from sampan.oci.reference import Reference
from sampan.runtimes.containerd.facts import address_of, dump_of, running
from sampan.runtimes.containerd.files import CONFIG, flags_of
from sampan.runtimes.contract import Answer, Installed, Machine
from sampan.runtimes.docker.facts import running as docker_runs
from sampan.runtimes.units import split_words
from sampan.words import sentence

PULL_SECONDS_MAX = 120.0
WORDS_CHARACTERS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Pulled:
    """How it ended: ``said`` None when the image came. ``was_there``: it was there before."""

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
        return Pulled(None if said is None else printable(said, characters_max=WORDS_CHARACTERS_MAX), there)


def puller_of(machine: Machine, installed: Installed, name: str) -> Puller | Unseen:
    """Who pulls by the runtime ``name``; Unseen: why nobody does."""
    if name == "containerd":
        return _by_cri(machine, installed)
    if name == "docker" and docker_runs(installed):
        docker = ("docker", "--host", "unix:///run/docker.sock")
        return _by_program(
            machine, docker, ("image", "inspect"), ("image", "rm"), "Error response from daemon: "
        )
    if name == "podman" and "version" in installed.answers:
        return _by_program(machine, ("podman",), ("image", "exists"), ("image", "rm"), "")
    return Unseen(name, sentence("it does not run, so nothing was pulled with it"))


def _by_cri(machine: Machine, installed: Installed) -> Puller | Unseen:
    if running(installed) is not True:
        return Unseen("containerd", sentence("it does not run, so nothing was pulled with it"))
    flags = flags_of(split_words(installed.answers.get("unit", "")))
    dump = dump_of(machine.run(("containerd", "--config", flags.config or CONFIG, "config", "dump")).output)
    address = flags.address or address_of(dump)
    if "crictl" in installed.answers:
        socket = f"unix://{address}"
        timeout = f"{PULL_SECONDS_MAX:.0f}s"
        options = ("--runtime-endpoint", socket, "--image-endpoint", socket, "--timeout", timeout)
        return _by_program(machine, ("crictl", *options), ("inspecti", "--quiet"), ("rmi",), "")
    if cri.is_available():
        images = cri.Images(address)
        return Puller(images.is_there, lambda name: images.pull(name, PULL_SECONDS_MAX), images.remove)
    hint = sentence("install crictl, or grpcio beside sampan")
    return Unseen(
        "containerd", sentence("nothing here speaks to its CRI, so nothing was pulled with it"), hint
    )


def _by_program(
    machine: Machine, program: Sequence[str], there: Sequence[str], remove: Sequence[str], prefix: str
) -> Puller:
    def pull(name: str) -> str | None:
        answer = machine.run((*program, "pull", name), timeout_seconds=PULL_SECONDS_MAX)
        return None if answer.code == 0 else _words(answer, prefix)

    return Puller(
        lambda name: machine.run((*program, *there, name)).code == 0,
        pull,
        lambda name: machine.run((*program, *remove, name)),
    )


def _words(answer: Answer, prefix: str) -> str:
    """What it said last, without what stands before each of its errors."""
    return answer.words.removeprefix(prefix) or "…"
