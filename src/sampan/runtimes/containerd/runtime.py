"""containerd 1.5 to 2.3, as a kubelet pulls by it: hosts.toml files, and the ``config_path`` that names them.

What decides, per version, file format and way of pulling, is in :mod:`.registry`; docs/node.md says which of
it was seen with the real programs. ``ctr`` reads none of it but what ``--hosts-dir`` names, Docker none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sampan.oci.reference import Reference
from sampan.runtimes.containerd.facts import (
    CRI,
    address_of,
    config_path_of,
    dump_of,
    plugins_of,
    running,
)
from sampan.runtimes.containerd.files import Flags, flags_of, read_config, read_flags
from sampan.runtimes.containerd.plan import plan_files
from sampan.runtimes.containerd.pulling import choose_puller, pull_once
from sampan.runtimes.containerd.registry import read_registry
from sampan.runtimes.containerd.status import status_of
from sampan.runtimes.contract import Finding, Installed, Machine, Plan, Status, Step
from sampan.runtimes.tree import Tree
from sampan.runtimes.units import split_words
from sampan.runtimes.wanted import Wanted
from sampan.words import sentence

TRACES = (
    "/usr/bin/containerd",
    "/usr/local/bin/containerd",
    "/usr/sbin/containerd",
    "/etc/containerd/config.toml",
)
RESTART = ("systemctl", "restart", "containerd.service")
RESTARTED = sentence(
    "running containers go on, their shims stay; pulls under way fail, and the kubelet tries again"
)
LOOK_SECONDS = 0.1
_BY_CTR = sentence(
    "crictl is not here: the pull afterwards is by ctr, from the same hosts, but not by the CRI itself"
)


@dataclass(frozen=True, slots=True)
class Containerd:
    """``patience_seconds``: how long a restarted containerd may take to load its plugins."""

    patience_seconds: float = 20.0

    @property
    def name(self) -> str:
        return "containerd"

    @property
    def questions(self) -> Mapping[str, tuple[str, ...]]:
        return {
            "version": ("containerd", "--version"),
            "plugins": ("ctr", "plugins", "ls"),
            "active": ("systemctl", "is-active", "containerd.service"),
            "unit": ("systemctl", "show", "--property=ExecStart", "--value", "containerd.service"),
            "crictl": ("crictl", "--version"),
        }

    def detect(self, tree: Tree) -> bool:
        """Whether a trace of it is there."""
        return any(tree.exists(path) for path in TRACES)

    def status(self, tree: Tree, installed: Installed) -> Status:
        """What config.toml, its drop-ins and the hosts.toml files say."""
        return status_of(tree, installed)

    def plan(self, tree: Tree, installed: Installed, wanted: Wanted) -> Plan:
        """See :mod:`.plan` for what is written where."""
        config = read_config(tree, read_flags(tree).config, installed)
        planned = plan_files(tree, config, wanted)
        changes = (*planned.hosts_changes, *planned.config_changes)
        if not changes:
            return Plan(self.name, notes=planned.notes)
        notes = list(planned.notes)
        if installed.answers and running(installed) and "crictl" not in installed.answers:
            notes.append(_BY_CTR)
        if not planned.config_changes:
            step = Step("none", sentence("hosts.toml is read at every pull"))
        elif running(installed) is False:
            step = Step("none", sentence("containerd is not running: it counts from its next start"))
        else:
            step = Step("restart", RESTARTED, RESTART)
        return Plan(self.name, changes, (step,), tuple(notes))

    def settle(self, machine: Machine, tree: Tree, installed: Installed) -> tuple[Finding, ...]:
        """Wait until it runs with its CRI, by the directory that its files name."""
        if running(installed) is False:
            return ()
        flags = read_flags(tree)
        config = read_config(tree, flags.config, installed)
        registry = read_registry(config)
        dump: dict[str, Any] = {}
        if config.main.file.state != "absent":
            answer = machine.run(_dump(flags))
            if answer.code != 0:
                message = sentence("containerd cannot read it: {words}", words=answer.words)
                return (Finding("CONFIG_REFUSED", message, "error", flags.config),)
            dump = dump_of(answer.output)
            found = config_path_of(dump)
            if registry.path_part is not None and found != registry.config_path:
                message = sentence(
                    "config_path is {found} in force, and not {config_path}",
                    found=found or sentence("nothing"),
                    config_path=registry.config_path,
                )
                return (Finding("CONFIG_PATH_NOT_IN_FORCE", message, "error", flags.config),)
        if config.disabled is not None or registry.broken is not None:
            return ()  # as it was before, when this is a revert
        return self._loaded(machine, flags.address or address_of(dump))

    def verify(self, machine: Machine, installed: Installed, image: Reference) -> tuple[Finding, ...]:
        """Pull ``image`` as a kubelet would, and leave nothing behind that was not there before."""
        if running(installed) is not True:
            return ()
        flags = flags_of(split_words(installed.answers.get("unit", "")))
        dump = dump_of(machine.run(_dump(flags)).output)
        puller = choose_puller(installed, flags.address or address_of(dump), config_path_of(dump))
        return pull_once(machine, puller, str(image))

    def _loaded(self, machine: Machine, address: str) -> tuple[Finding, ...]:
        said: str = sentence("it does not answer")
        for _ in range(max(1, round(self.patience_seconds / LOOK_SECONDS))):
            answer = machine.run(("ctr", "--address", address, "plugins", "ls"))
            state = plugins_of(answer.output).get(CRI) if answer.code == 0 else None
            if state == "ok":
                return ()
            said = sentence("its CRI plugin is {state}", state=state or sentence("not there"))
            said = answer.words if answer.code != 0 else said
            machine.wait(LOOK_SECONDS)
        message = sentence(
            "containerd at {address} after {seconds:g} s: {said}",
            address=address,
            seconds=self.patience_seconds,
            said=said,
        )
        return (
            Finding("CRI_NOT_LOADED", message, "error", hint=sentence("journalctl -u containerd says why")),
        )


def _dump(flags: Flags) -> tuple[str, ...]:
    return ("containerd", "--config", flags.config, "config", "dump")
