"""MicroK8s: a snap with a containerd of its own, which has its hosts.toml files beside its arguments.

What decides:

* Since 1.23 its containerd reads ``args/certs.d/REGISTRY/hosts.toml`` of the current revision, at every pull.
  So nothing is restarted. ``current`` is a link; a refresh of the snap copies the files before it moves it.
* Before 1.23 mirrors stood in a template that is not for us: that is a note, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sampan.oci.reference import Reference
from sampan.runtimes import hosts_check
from sampan.runtimes.containerd.plan import dialect_of
from sampan.runtimes.contract import (
    Finding,
    InForce,
    Installed,
    Machine,
    Plan,
    Source,
    Status,
    Step,
    Version,
)
from sampan.runtimes.hosts_directory import directories, plan_hosts
from sampan.runtimes.hosts_toml import FILE_NAME, Dialect
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import Wanted
from sampan.words import sentence

CURRENT = "/var/snap/microk8s/current"
CERTS = f"{CURRENT}/args/certs.d"
UNIT = "snap.microk8s.daemon-containerd.service"
SINCE = Version(1, 23)
PULL_SECONDS_MAX = 180.0


@dataclass(frozen=True, slots=True)
class MicroK8s:
    """The snap of this machine."""

    @property
    def name(self) -> str:
        return "microk8s"

    @property
    def questions(self) -> Mapping[str, tuple[str, ...]]:
        return {"version": ("microk8s", "version"), "active": ("systemctl", "is-active", UNIT)}

    def detect(self, tree: Tree) -> bool:
        """Whether a trace of it is there."""
        return tree.exists(CURRENT) or tree.exists("/snap/bin/microk8s")

    def status(self, tree: Tree, installed: Installed) -> Status:
        """What the hosts.toml files say."""
        sources: list[Source] = []
        in_force: list[InForce] = []
        findings: list[Finding] = []
        for registry, directory in directories(tree, CERTS).items():
            file = tree.file(f"{directory}/{FILE_NAME}")
            if file.data is None:
                continue

            def exists(name: str, beside: str = directory) -> bool:
                return tree.exists(name if name.startswith("/") else f"{beside}/{name}")

            found = hosts_check.check(file.path, file.data, registry, _dialect(installed), exists)
            sources.append(Source(file.path, found.hosts is not None))
            findings += found.findings
            if found.hosts is not None:
                in_force.append(InForce(registry, found.hosts, file.path))
        running = None if not installed.answers else "active" in installed.answers
        return Status(
            self.name, installed.version, None, running, tuple(sources), tuple(in_force), tuple(findings)
        )

    def plan(self, tree: Tree, installed: Installed, wanted: Wanted) -> Plan:
        """One hosts.toml a route."""
        if installed.version is not None and installed.version < SINCE:
            note = sentence(
                "before 1.23 its mirrors stand in args/containerd-template.toml: refresh the snap"
            )
            return Plan(self.name, notes=(note,))
        changes, notes = plan_hosts(tree, CERTS, wanted, _dialect(installed))
        steps = (Step("none", sentence("hosts.toml is read at every pull")),) if changes else ()
        return Plan(self.name, changes, steps, notes)

    def settle(self, machine: Machine, tree: Tree, installed: Installed) -> tuple[Finding, ...]:
        """Whether its containerd runs, and takes the files as they are."""
        if "active" not in installed.answers:
            return ()
        if machine.run(self.questions["active"]).code != 0:
            return (Finding("MICROK8S_SILENT", sentence("its containerd runs no more"), "error"),)
        return tuple(each for each in self.status(tree, installed).findings if each.level == "error")

    def verify(self, machine: Machine, installed: Installed, image: Reference) -> tuple[Finding, ...]:
        """Pull ``image`` as its containerd would, and leave nothing behind that was not there before."""
        if "active" not in installed.answers:
            return ()
        name, images = str(image), ("microk8s", "ctr", "images")
        there = name in machine.run((*images, "ls", "--quiet", f"name=={name}")).output.split()
        command = (*images, "pull", "--hosts-dir", CERTS, name)
        answer = machine.run(command, timeout_seconds=PULL_SECONDS_MAX)
        if answer.code != 0:
            hint = sentence("sampan pull {name} says which host", name=name)
            return (
                Finding(
                    "PULL_FAILS",
                    sentence("{name} cannot be pulled: {words}", name=name, words=answer.words),
                    "error",
                    hint=hint,
                ),
            )
        if not there:
            machine.run((*images, "rm", name))
        return ()


def _dialect(installed: Installed) -> Dialect:
    """What its containerd reads: 1.6 or later since 1.26."""
    return dialect_of(Version(1, 6) if installed.at_least(1, 26) else None)
