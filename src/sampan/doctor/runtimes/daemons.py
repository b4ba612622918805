"""Daemons that pull: whether one runs at all, and whether it answers.

That a daemon is not asked is no fault of its: an ordinary user may not, and is told so.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

from sampan.doctor.aside import aside
from sampan.doctor.contract import Finding, Scene, Seen, Unseen
from sampan.doctor.daemons import Running, running_of
from sampan.words import sentence

# Those without which nothing is pulled, the question that each must answer, and the socket it is asked at.
_ASKED = {
    "containerd": ("plugins", "/run/containerd/containerd.sock"),
    "docker": ("info", "/run/docker.sock"),
    "crio": (None, ""),
    "k3s": (None, ""),
    "rke2": (None, ""),
    "microk8s": (None, ""),
}


async def check_daemons(scene: Scene) -> AsyncIterator[Finding | Unseen]:
    """Which of them does not run, or does not answer, where the tree is this machine."""
    if scene.machine is None:
        return
    pulling = [seen for seen in scene.runtimes if seen.status.runtime in _ASKED]
    names = [seen.status.runtime for seen in pulling]
    running = {each.name: each for each in await aside(running_of, scene.tree, names)}
    up = [seen for seen in pulling if _is_up(seen, running[seen.status.runtime])]
    for seen in pulling:
        name = seen.status.runtime
        if seen not in up and seen.status.running is False:
            yield _down(running[name], alone=not up)
        elif seen in up and _is_silent(scene, seen):
            yield _silent(name)


def _is_up(seen: Seen, running: Running) -> bool:
    return seen.status.running is True or running.process is not None


def _is_silent(scene: Scene, seen: Seen) -> bool:
    """Whether it has not answered what it was asked; one with a socket elsewhere was not asked."""
    question, socket = _ASKED[seen.status.runtime]
    return question is not None and question not in seen.installed.answers and scene.tree.exists(socket)


def _silent(name: str) -> Finding | Unseen:
    if os.geteuid() != 0:
        return Unseen(name, sentence("what the running daemon says of itself"), sentence("run as root"))
    return Finding(
        "DAEMON_SILENT",
        name,
        sentence("the daemon runs and does not answer"),
        "warning",
        why=sentence("who asks it for an image waits"),
        hint=sentence("see its log: journalctl -u {name}", name=name),
    )


def _down(running: Running, *, alone: bool) -> Finding:
    """``alone``: no other runtime runs either, so that nobody can pull."""
    return Finding(
        "DAEMON_DOWN",
        running.name,
        sentence("it is installed and does not run"),
        "error" if alone else "note",
        why=sentence("no image can be pulled with it") if alone else None,
        hint=sentence("start it, and see its log when it ends again"),
        command=("sudo", "systemctl", "start", running.unit) if running.unit else (),
    )
