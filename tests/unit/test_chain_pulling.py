"""Real pulls: by which program, with which words, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from sampan.doctor.chain.pulling import Pulled, Puller, puller_of
from sampan.doctor.contract import Unseen
from sampan.oci import Reference
from sampan.runtimes.contract import Answer, Installed

ALPINE = Reference.parse("alpine:3")
NAME = "docker.io/library/alpine:3"


@dataclass
class Programs:
    """A machine whose programs end as ``answer`` says of a command."""

    answer: Callable[[tuple[str, ...]], Answer]
    ran: list[tuple[str, ...]] = field(default_factory=list)

    def run(self, command: Sequence[str], *, timeout_seconds: float = 0) -> Answer:
        self.ran.append(tuple(command))
        return self.answer(tuple(command))

    def wait(self, seconds: float) -> None:
        raise AssertionError("nobody waits here")


def pulled(
    name: str, answers: dict[str, str], said: Answer, *, there: bool = False
) -> tuple[Pulled, list[tuple[str, ...]]]:
    """How it ends, and what was done after the pull."""
    known = {"inspect": there, "exists": there, "inspecti": there}

    def answer(command: tuple[str, ...]) -> Answer:
        if "pull" in command:
            return said
        return Answer(next((0 if known[word] else 1 for word in command if word in known), 0), "")

    machine = Programs(answer)
    puller = puller_of(machine, Installed(answers=answers), name)
    assert isinstance(puller, Puller)
    found = puller.pull(ALPINE)
    at = next(at for at, command in enumerate(machine.ran) if "pull" in command)
    return found, machine.ran[at + 1 :]


RUNNING = {
    "docker": {"version": "Docker version 28.5.2", "active": "active"},
    "podman": {"version": "podman version 5.0.0"},
    "containerd": {"version": "containerd 1.7.27", "active": "active", "crictl": "crictl version 1.30"},
}
REMOVAL = {
    "docker": ("image", "rm", NAME),
    "podman": ("image", "rm", NAME),
    "containerd": ("rmi", NAME),
}
SAID = {
    "docker": ("3: Pulling from library/alpine\nError response from daemon: no such host\n", "no such host"),
    "podman": (
        "Trying to pull docker.io/library/alpine:3...\nError: initializing source: no such host\n",
        "Error: initializing source: no such host",
    ),
    "containerd": (
        (
            'E0101 remote_image.go:180] "PullImage failed" err="rpc error: code = Unknown desc = a"\n'
            "FATA[0000] pulling image: rpc error: code = Unknown desc = no such host\n"
        ),
        "no such host",
    ),
}


@pytest.mark.parametrize("name", RUNNING)
def test_an_image_that_came_is_removed_again(name: str) -> None:
    found, after = pulled(name, RUNNING[name], Answer(0, "done"))
    assert found == Pulled(None)
    assert [command[-len(REMOVAL[name]) :] for command in after] == [REMOVAL[name]]


@pytest.mark.parametrize("name", RUNNING)
def test_one_that_was_there_stays(name: str) -> None:
    found, after = pulled(name, RUNNING[name], Answer(0, "done"), there=True)
    assert found == Pulled(None, was_there=True)
    assert after == []


@pytest.mark.parametrize("name", RUNNING)
def test_the_error_that_it_ended_with_is_what_is_told(name: str) -> None:
    errors, wanted = SAID[name]
    found, after = pulled(name, RUNNING[name], Answer(1, "", "the first line", errors=errors))
    assert found == Pulled(wanted)
    assert after == []


def test_an_error_of_another_form_is_told_whole() -> None:
    found, _ = pulled("docker", RUNNING["docker"], Answer(1, "", "no", errors="cannot reach it\nat all\n"))
    assert found == Pulled("cannot reach it\nat all")
    found, _ = pulled("docker", RUNNING["docker"], Answer(None, "", "it took longer than 120 s"))
    assert found == Pulled("it took longer than 120 s")


@pytest.mark.parametrize("name", ["docker", "containerd", "podman", "k3s"])
def test_nothing_is_pulled_by_what_does_not_run(name: str) -> None:
    unseen = puller_of(Programs(lambda _: Answer(0, "")), Installed(), name)
    assert isinstance(unseen, Unseen)
    assert unseen.what == "it does not run, so nothing was pulled with it"
