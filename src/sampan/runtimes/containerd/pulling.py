"""One image pulled to see whether pulls work: by crictl, which asks the CRI, or by ctr, which asks no CRI."""

from __future__ import annotations

from dataclasses import dataclass

from sampan.runtimes.contract import Finding, Installed, Machine
from sampan.words import sentence

PULL_SECONDS_MAX = 180.0
NAMESPACE = "k8s.io"  # the kubelet's


@dataclass(frozen=True, slots=True)
class Puller:
    """The beginning of each command, to be followed by an image's name. ``prints``: ``there`` succeeds in any
    case, and prints the name of an image that is there."""

    pull: tuple[str, ...]
    there: tuple[str, ...]
    remove: tuple[str, ...]
    prints: bool = False


def choose_puller(installed: Installed, address: str, hosts_directory: str | None) -> Puller:
    """By crictl where there is one; ctr is told the hosts, since it reads no configuration."""
    if "crictl" in installed.answers:
        socket = f"unix://{address}"
        crictl: tuple[str, ...] = ("crictl", "--runtime-endpoint", socket, "--image-endpoint", socket)
        crictl += ("--timeout", f"{PULL_SECONDS_MAX:.0f}s")
        return Puller((*crictl, "pull"), (*crictl, "inspecti", "--quiet"), (*crictl, "rmi"))
    ctr = ("ctr", "--address", address, "--namespace", NAMESPACE, "images")
    hosts = ("--hosts-dir", hosts_directory) if hosts_directory else ()
    return Puller((*ctr, "pull", *hosts), (*ctr, "ls", "--quiet"), (*ctr, "rm"), prints=True)


def pull_once(machine: Machine, puller: Puller, name: str) -> tuple[Finding, ...]:
    """Pull ``name``, and remove it unless it was there before."""
    there = _is_there(machine, puller, name)
    answer = machine.run((*puller.pull, name), timeout_seconds=PULL_SECONDS_MAX)
    if answer.code != 0:
        message = sentence(
            "{pull} cannot pull {name}: {words}", pull=puller.pull[0], name=name, words=answer.words
        )
        return (
            Finding(
                "PULL_FAILS", message, "error", hint=sentence("sampan pull {name} says which host", name=name)
            ),
        )
    if not there:
        machine.run((*puller.remove, name))
    return ()


def _is_there(machine: Machine, puller: Puller, name: str) -> bool:
    if puller.prints:
        return name in machine.run(puller.there).output.split()
    return machine.run((*puller.there, name)).code == 0
