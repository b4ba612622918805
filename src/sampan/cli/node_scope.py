"""What every ``sampan node`` command is about: a tree, its runtimes, and what the configuration wants.

It guarantees that programs are asked and run only where the tree is this machine.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from sampan.config import Config
from sampan.config.node import wanted
from sampan.errors import NodeError, UsageError, printable
from sampan.oci import Reference
from sampan.runtimes import RUNTIMES
from sampan.runtimes.contract import Finding, Installed, Runtime, Status
from sampan.runtimes.examine import Chosen, ask, choose, with_writers
from sampan.runtimes.journal import Journal
from sampan.runtimes.machine import SystemMachine
from sampan.runtimes.plan import NodePlan, make_plan
from sampan.runtimes.service import Service
from sampan.runtimes.steps import Steps
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import Wanted
from sampan.words import listed

NONE_FOUND = 3
SYSTEMD = "/run/systemd/system"
SERVICE = Service().name
Function = TypeVar("Function", bound=Callable[..., Any])

root_option = click.option(
    "--root",
    default="/",
    metavar="DIR",
    help="The tree to look at or change: an image, a chroot. Nothing is run there.",
)
runtime_option = click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    metavar="NAME[@VERSION]",
    help="This runtime, and not all that are found; may be given again. "
    f"There are: {', '.join(RUNTIMES)}. Without a version under --root: what all versions read.",
)
via_option = click.option("--via", metavar="URL", help="A sampan elsewhere first, not this machine's.")
direct_option = click.option("--direct", is_flag=True, help="No sampan: the mirrors of sampan.toml alone.")
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
service_option = click.option(
    "--service", is_flag=True, help="Install sampan serve as a service of systemd first."
)
no_steps_option = click.option(
    "--no-steps", is_flag=True, help="Change the files alone: reload, restart and check nothing."
)


def options(*several: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """Some of the above, in their order."""

    def add(function: Function) -> Function:
        for option in reversed(several):
            function = option(function)
        return function

    return add


@dataclass(frozen=True, slots=True)
class Scope:
    """A tree and its runtimes. ``machine`` None: it is not this machine, or nothing is to be run."""

    tree: Tree
    machine: SystemMachine | None
    runtimes: list[tuple[Runtime, Installed]]
    config: Config

    @classmethod
    def of(cls, config: Config, root: str, runtimes: Sequence[str], *, service: bool = False) -> Scope:
        """``service``: sampan's own as well, before all. Raises UsageError for a root that is no directory,
        RuntimeUnsupported."""
        chosen = [Chosen.parse(text) for text in runtimes]
        place = Path(os.path.realpath(root))
        if not place.is_dir():
            raise UsageError(f"--root: no such directory: {printable(root)}")
        tree = Tree(place)
        machine = SystemMachine(config.environ) if tree.is_machine else None
        found = choose(RUNTIMES, chosen, tree, machine)
        if service and SERVICE not in [runtime.name for runtime, _ in found]:
            found.insert(0, (RUNTIMES[SERVICE], ask(RUNTIMES[SERVICE], machine)))
        return cls(tree, machine, found, config)

    @property
    def journal(self) -> Journal:
        return Journal(self.tree.root)

    def steps(self, *, run: bool) -> Steps:
        """How steps are run, if at all."""
        machine = self.machine if run else None
        return Steps(machine, self.config.node_commands, self.tree.exists(SYSTEMD), self._settle)

    def statuses(self) -> list[Status]:
        """Of all its runtimes."""
        snapshots = []
        with contextlib.suppress(NodeError):  # another user's: then nobody knows who wrote a file
            snapshots = [snapshot for snapshot, state in self.journal.snapshots() if state == "applied"]
        found = [runtime.status(self.tree, installed) for runtime, installed in self.runtimes]
        return [with_writers(status, self.tree, snapshots) for status in found]

    def planning(self, *, via: str | None, direct: bool) -> Planning:
        """What is wanted, and the plan for it."""
        asked = wanted(self.config, via=via, direct=direct)
        plan, refused = make_plan(self.tree, self.runtimes, asked)
        return Planning(asked, plan, dict(refused))

    def verify(self, planning: Planning, image: Reference | None) -> list[Finding]:
        """What is not in force of what needed no step, and why the changed runtimes cannot pull ``image``, if
        it is of a registry that has a route."""
        changed = {plan.runtime for plan in planning.plan.plans if plan.changes}
        settled = {run.runtime for run in planning.plan.steps}
        found = [finding for name in sorted(changed - settled) for finding in self._settle(name)]
        if self.machine is None or image is None or planning.wanted.route(image.registry) is None:
            return found
        return found + [
            finding
            for runtime, installed in self.runtimes
            if runtime.name in changed
            for finding in runtime.verify(self.machine, installed, image)
        ]

    def _settle(self, name: str) -> Sequence[Finding]:
        """Wait until the runtime has taken notice of the tree's files, as they are now."""
        if self.machine is None or name not in RUNTIMES:
            return ()
        known = {runtime.name: installed for runtime, installed in self.runtimes}
        installed = known.get(name) or ask(RUNTIMES[name], self.machine)
        return RUNTIMES[name].settle(self.machine, Tree(self.tree.root), installed)


@dataclass(frozen=True, slots=True)
class Planning:
    """``refused``: by runtime, why it has no plan."""

    wanted: Wanted
    plan: NodePlan
    refused: dict[str, NodeError]

    @property
    def notes(self) -> list[str]:
        """Those of all runtimes, then those of each."""
        left_out = [note for route in self.wanted.routes for note in route.left_out]
        own = [listed([plan.runtime, note], ": ") for plan in self.plan.plans for note in plan.notes]
        return list(dict.fromkeys([*self.wanted.notes, *left_out, *own]))
