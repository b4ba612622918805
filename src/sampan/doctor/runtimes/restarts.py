"""Files that are younger than the daemon that read them: what they say is not in force yet.

containerd reads its configuration at its start alone; hosts.toml files it reads at every pull.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from sampan.doctor.aside import aside
from sampan.doctor.contract import Finding, Scene, Unseen
from sampan.doctor.daemons import running_of
from sampan.runtimes.containerd.files import read_config, read_flags
from sampan.words import sentence

NAME = "containerd"
SLACK_SECONDS = 2.0  # the kernel counts a start in whole seconds since the machine's own


async def check_restarts(scene: Scene) -> AsyncIterator[Finding | Unseen]:
    """Whether the running containerd has read what its files say now."""
    for finding in await aside(lambda: _found(scene)):
        yield finding


def _found(scene: Scene) -> list[Finding]:
    seen = next((each for each in scene.runtimes if each.status.runtime == NAME), None)
    if seen is None or scene.machine is None:
        return []
    process = running_of(scene.tree, [NAME])[0].process
    if process is None or process.started is None:
        return []
    config = read_config(scene.tree, read_flags(scene.tree).config, seen.installed)
    read_by = process.started + SLACK_SECONDS
    return [
        Finding(
            "NOT_RESTARTED",
            NAME,
            sentence("the running containerd has not read this file: it was changed after its start"),
            "dead",
            why=sentence("its configuration is read at its start alone"),
            hint=sentence("restart it: running containers go on"),
            command=("sudo", "systemctl", "restart", NAME),
            file=layer.path,
        )
        for layer in config.layers
        if layer.file.modified is not None and layer.file.modified > read_by
    ]
