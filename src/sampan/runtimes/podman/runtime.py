"""podman, skopeo and buildah: a drop-in for registries.conf, which all of them read at every start.

What decides:

* ``registries.conf.d/99-sampan.conf`` has one ``[[registry]]`` a route; nobody else's file is edited. There
  is no entry for all registries.
* These programs send no ``?ns=``, so a mirror of many registries has the registry in its path.
* ``unqualified-search-registries`` is set when nobody else has, so that short names like ``alpine`` work.
* A host that may not say what a tag means is ``pull-from-mirror = "digest-only"``, since podman 4.2.
* Where root has a registries.conf of its own, the system's files are not read for root: the drop-in is then
  in both places. Files of other people are told and left alone.
* What keeps running keeps what it read: ``podman system service`` is restarted where it runs as a service.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sampan.errors import printable
from sampan.oci.reference import Reference
from sampan.runtimes.contract import Finding, Installed, Machine, Plan, Status, Step
from sampan.runtimes.homes import root_home
from sampan.runtimes.podman import status
from sampan.runtimes.podman.files import InUse, read_in_use
from sampan.runtimes.podman.planning import plan_files
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import Wanted
from sampan.words import listed, sentence

PROGRAMS = ("podman", "skopeo", "buildah")
TRACES = tuple(f"/usr/{place}/{name}" for place in ("bin", "local/bin") for name in PROGRAMS)
SERVICE = "podman.service"
RESTART = ("systemctl", "try-restart", SERVICE)
PULL_SECONDS_MAX = 180.0


@dataclass(frozen=True, slots=True)
class Podman:
    """``program``: podman's name or path."""

    program: str = "podman"

    @property
    def name(self) -> str:
        return "podman"

    @property
    def questions(self) -> Mapping[str, tuple[str, ...]]:
        return {
            "version": (self.program, "--version"),
            "skopeo": ("skopeo", "--version"),
            "buildah": ("buildah", "--version"),
            "active": ("systemctl", "is-active", SERVICE),
        }

    def detect(self, tree: Tree) -> bool:
        """Whether a trace of it is there."""
        return any(tree.exists(path) for path in TRACES)

    def status(self, tree: Tree, installed: Installed) -> Status:
        """What root's programs read and ask."""
        merged = _merges(installed)
        in_use = read_in_use(tree, root_home(tree), merged=merged)
        found = [*status.findings(tree, in_use, merged=merged), *status.short_names(in_use)]
        return Status(
            self.name,
            installed.version,
            _mode(in_use, installed),
            None if not installed.answers else "active" in installed.answers,
            status.sources(tree, in_use),
            status.in_force(in_use),
            tuple(found),
        )

    def plan(self, tree: Tree, installed: Installed, wanted: Wanted) -> Plan:
        """See the module's docstring for what is written where."""
        digest_only = installed.at_least(4, 2)
        planned = plan_files(tree, wanted, merged=_merges(installed), digest_only=digest_only)
        if not planned.changes:
            return Plan(self.name, notes=planned.notes)
        step = Step("none", sentence("read by the next pull"))
        if "active" in installed.answers:
            step = Step(
                "restart", sentence("requests to podman's API under way end; containers go on"), RESTART
            )
        return Plan(self.name, planned.changes, (step,), planned.notes)

    def settle(self, machine: Machine, tree: Tree, installed: Installed) -> tuple[Finding, ...]:
        """What podman itself makes of the files, now: each process reads them."""
        if "version" not in installed.answers:
            return ()
        answer = machine.run((self.program, "info", "--format", "json"))
        if answer.code != 0:
            return (
                Finding("PODMAN_SILENT", sentence("podman info fails: {words}", words=answer.words), "error"),
            )
        in_use = read_in_use(tree, root_home(tree), merged=_merges(installed))
        differing = _differing(in_use, json.loads(answer.output).get("registries") or {})
        if differing is None:
            return ()
        return (
            Finding(
                "MIRRORS_NOT_IN_FORCE",
                sentence("podman has other mirrors for {differing}", differing=differing),
                "error",
            ),
        )

    def verify(self, machine: Machine, installed: Installed, image: Reference) -> tuple[Finding, ...]:
        """Pull ``image``, and leave nothing behind that was not there before."""
        name = str(image)
        if "version" in installed.answers:
            there = machine.run((self.program, "image", "exists", name)).code == 0
            answer = machine.run((self.program, "pull", "--quiet", name), timeout_seconds=PULL_SECONDS_MAX)
            if answer.code == 0 and not there:
                machine.run((self.program, "image", "rm", name))
        elif "skopeo" in installed.answers:
            command = ("skopeo", "inspect", "--raw", f"docker://{name}")
            answer = machine.run(command, timeout_seconds=PULL_SECONDS_MAX)
        else:
            return ()
        if answer.code == 0:
            return ()
        hint = sentence("sampan pull {name} says which host", name=name)
        return (
            Finding(
                "PULL_FAILS",
                sentence("{name} cannot be pulled: {words}", name=name, words=answer.words),
                "error",
                hint=hint,
            ),
        )


def _merges(installed: Installed) -> bool:
    """Whether drop-ins of several directories are merged by name."""
    return installed.at_least(6)


def _mode(in_use: InUse, installed: Installed) -> str:
    others = [installed.answers[name].strip() for name in PROGRAMS[1:] if name in installed.answers]
    search = ", ".join(map(printable, in_use.search())) or sentence("nowhere")
    return listed([*others, sentence("short names looked for in {search}", search=search)])


def _differing(in_use: InUse, found: Mapping[str, Any]) -> str | None:
    """The prefix for which podman has other hosts than the files say."""
    for prefix, registry in in_use.registries().items():
        said = found.get(prefix) or {}
        mirrors = [(m.get("Location"), m.get("Insecure")) for m in said.get("Mirrors") or ()]
        expected = [(mirror.location, mirror.insecure) for mirror in registry.mirrors]
        if mirrors != expected or said.get("Location") != registry.location:
            return printable(prefix)
    return None
