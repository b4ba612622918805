"""What ``sampan doctor`` looks at, out of the configuration: its part of the composition root.

Guarantees that no program is run but where the tree is this machine's own, and none for longer than there is
time; and that everything is asked at once: the slowest daemon, not their sum, is what it costs.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sampan.clock import Clock
from sampan.config.catalogue import built_in
from sampan.config.node import wanted
from sampan.config.probing import build_probe
from sampan.config.settings import Config
from sampan.doctor.aside import aside
from sampan.doctor.contract import Scene, Seen
from sampan.doctor.hosts.names import nameservers_of
from sampan.errors import InvalidReference, SampanError, UsageError, printable
from sampan.oci.reference import Reference
from sampan.pull.detect import platform_of_machine
from sampan.runtimes import RUNTIMES
from sampan.runtimes.contract import Answer, Finding, Machine, Runtime, Version
from sampan.runtimes.examine import Chosen, ask, choose
from sampan.runtimes.machine import SystemMachine
from sampan.runtimes.tree import Tree

EXAMINATION_SECONDS = 16.0  # all of it: a person waits, and three dead hosts take some 10 s side by side
PULL_SECONDS = 180.0  # besides, where images are really pulled
ANSWER_SECONDS_MAX = 5.0  # of a daemon that says what it is: one that hangs must leave time to say so
ASKED_FOR = "docker.io/library/hello-world:latest"  # where no reference is given: 13 KB, for every platform


@asynccontextmanager
async def scene_of(
    config: Config,
    typed: Sequence[str],
    *,
    root: str = "/",
    runtimes: Sequence[str] = (),
    clock: Clock,
    seconds: float = EXAMINATION_SECONDS,
) -> AsyncIterator[Scene]:
    """All that checks look at, for as long as the block lasts. ``runtimes``: these alone, each as
    ``NAME[@VERSION]``. Raises UsageError for a root that is no directory, RuntimeUnsupported, ConfigError."""
    deadline = clock.monotonic() + seconds
    tree = _tree(root)
    machine = Hurried(SystemMachine(config.environ), clock, deadline) if tree.is_machine else None
    nameservers = nameservers_of(tree) if tree.is_machine else ()
    probe = build_probe(config, clock, platform_of_machine(os.uname().machine), nameservers=nameservers)
    try:
        yield Scene(
            typed=tuple(typed),
            references=_references(typed),
            tree=tree,
            machine=machine,
            runtimes=await _seen(runtimes, tree, machine),
            hosts_for=lambda registry: config.hosts_for(registry) or (),
            environ=config.environ,
            probe=probe,
            clock=clock,
            deadline=deadline,
            after=partial(_after, config, tree),
            catalogue=built_in(),
            config_file=None if config.path is None else os.fspath(config.path),
            store=os.fspath(config.store.path) if tree.is_machine else None,
        )
    finally:
        await probe.close()


def _references(typed: Sequence[str]) -> tuple[Reference, ...]:
    """Those that are some; what is wrong with others is for the check of names to say."""
    found = []
    for text in typed or (ASKED_FOR,):
        try:
            found.append(Reference.parse(text))
        except InvalidReference:
            continue
    return tuple(dict.fromkeys(found))


def _tree(root: str) -> Tree:
    place = Path(os.path.realpath(root))
    if not place.is_dir():
        raise UsageError(f"--root: no such directory: {printable(root)}")
    return Tree(place)


async def _seen(named: Sequence[str], tree: Tree, machine: Machine | None) -> tuple[Seen, ...]:
    """All runtimes of the tree, or those that are named, each asked on its own."""
    chosen = [Chosen.parse(text) for text in named]
    found = await aside(choose, RUNTIMES, chosen, tree, None)
    looks = (aside(_look, runtime, known.version, tree, machine) for runtime, known in found)
    return tuple(await asyncio.gather(*looks))


def _look(runtime: Runtime, version: Version | None, tree: Tree, machine: Machine | None) -> Seen:
    installed = ask(runtime, machine, version)
    return Seen(runtime, installed, runtime.status(tree, installed))


def _after(config: Config, tree: Tree, seen: Seen) -> Sequence[Finding] | None:
    """See :class:`~sampan.doctor.contract.Scene`. Without a configuration there is nothing to apply."""
    if config.path is None:
        return None
    try:
        plan = seen.runtime.plan(tree, seen.installed, wanted(config))
    except SampanError:  # what it is, sampan node plan says
        return None
    return seen.runtime.status(tree.changed(plan.changes), seen.installed).findings if plan.changes else None


@dataclass(frozen=True, slots=True)
class Hurried:
    """The machine's programs: questions for a moment, whatever else as long as it may, none longer than there
    is time."""

    machine: Machine
    clock: Clock
    deadline: float

    def run(self, command: Sequence[str], *, timeout_seconds: float = ANSWER_SECONDS_MAX) -> Answer:
        """See :class:`~sampan.runtimes.contract.Machine`."""
        left = max(0.1, self.deadline - self.clock.monotonic())
        return self.machine.run(command, timeout_seconds=min(timeout_seconds, left))

    def wait(self, seconds: float) -> None:
        """See :class:`~sampan.runtimes.contract.Machine`."""
        self.machine.wait(min(seconds, max(0.0, self.deadline - self.clock.monotonic())))
