"""BuildKit: ``buildkitd.toml`` of a daemon, and the default that buildx gives to the builders that it makes.

What decides:

* A table ``[registry."docker.io"]`` has ``mirrors``, each ``host[:port][/path]`` without a scheme; the path
  goes behind /v2. How a mirror is asked (``http``, ``insecure``, ``ca``, ``keypair``) stands in its own
  table. There is no table for all registries, and the registry itself is asked last in any case.
* buildkitd reads its file when it starts. A builder keeps what it was made with: only a new one has another.
* A builder in a container has a loopback of its own: a sampan on 127.0.0.1 is not for it.
* A build with docker's own builder is docker's matter. So are builders of other people: for them there is a
  document and a command.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sampan.oci.reference import Reference
from sampan.runtimes.buildkit import status
from sampan.runtimes.buildkit.files import (
    BUILDX,
    BUILDX_DEFAULT,
    OF_A_PERSON,
    UNIT,
    Config,
    builders,
    configs,
    has_buildx,
    has_daemon,
)
from sampan.runtimes.buildkit.mirrors import edits_for, plan_config
from sampan.runtimes.contract import Advice, Change, Finding, Installed, Machine, Plan, Status, Step
from sampan.runtimes.homes import people
from sampan.runtimes.toml_text import edited
from sampan.runtimes.tree import File, Tree
from sampan.runtimes.wanted import Hop, Wanted
from sampan.words import sentence

RESTART = ("systemctl", "restart", UNIT)


@dataclass(frozen=True, slots=True)
class BuildKit:
    """buildkitd as a service, and root's buildx."""

    @property
    def name(self) -> str:
        return "buildkit"

    @property
    def questions(self) -> Mapping[str, tuple[str, ...]]:
        return {
            "version": ("buildkitd", "--version"),
            "buildx": ("docker", "buildx", "version"),
            "active": ("systemctl", "is-active", UNIT),
        }

    def detect(self, tree: Tree) -> bool:
        """Whether a trace of it is there."""
        return has_daemon(tree) or has_buildx(tree)

    def status(self, tree: Tree, installed: Installed) -> Status:
        """What the daemon is told, and what new builders will be."""
        found = configs(tree)
        made = sum(1 for _ in builders(tree))
        return Status(
            self.name,
            installed.version,
            sentence("buildx with {made} builders of root's", made=made) if has_buildx(tree) else None,
            None if not installed.answers else "active" in installed.answers,
            tuple(status.sources(found)),
            tuple(status.in_force(found)),
            tuple(status.findings(tree, found)),
        )

    def plan(self, tree: Tree, installed: Installed, wanted: Wanted) -> Plan:
        """See the module's docstring for what is written where."""
        changes: list[Change] = []
        notes: list[str] = []
        steps: list[Step] = []
        for config in configs(tree):
            planned, said = plan_config(tree, config, wanted)
            changes += planned
            notes += said
            if planned:
                steps.append(_step(config, installed))
        advice = _advice(tree, wanted)
        return Plan(self.name, tuple(changes), tuple(steps), tuple(dict.fromkeys(notes)), advice)

    def settle(self, machine: Machine, tree: Tree, installed: Installed) -> tuple[Finding, ...]:
        """Whether the daemon runs with its file: it says nowhere what it read."""
        if "active" not in installed.answers or not has_daemon(tree):
            return ()
        if machine.run(self.questions["active"]).code == 0:
            return ()
        hint = sentence("journalctl -u {unit} says why", unit=UNIT)
        return (
            Finding("BUILDKIT_SILENT", sentence("it runs no more after the restart"), "error", hint=hint),
        )

    def verify(self, machine: Machine, installed: Installed, image: Reference) -> tuple[Finding, ...]:
        """Whether the daemon answers: without a build there is no pull."""
        answer = machine.run(("buildctl", "debug", "workers")) if "active" in installed.answers else None
        if answer is None or answer.code == 0:
            return ()
        message = sentence(
            "no build could pull {image}: buildctl says {words}", image=image, words=answer.words
        )
        return (
            Finding(
                "BUILDKIT_SILENT", message, "error", hint=sentence("journalctl -u {unit} says why", unit=UNIT)
            ),
        )


def _step(config: Config, installed: Installed) -> Step:
    if config.in_container:
        return Step(
            "none", sentence("for builders made from now on; those that are there keep what they have")
        )
    if installed.answers and "active" not in installed.answers:
        return Step("none", sentence("{unit} is not running: it counts from its next start", unit=UNIT))
    return Step("restart", sentence("builds under way end; containers are not touched"), RESTART)


def _without_certificates(wanted: Wanted) -> Wanted:
    """What a document can say by itself, without files beside it."""

    def usable(hop: Hop) -> bool:
        return hop.ca is None and hop.client_cert is None

    return Wanted(tuple(replace(route, hops=tuple(filter(usable, route.hops))) for route in wanted.routes))


def _advice(tree: Tree, wanted: Wanted) -> tuple[Advice, ...]:
    """For those who have builders or a daemon of their own: what root must not write into their homes."""
    places = {BUILDX: f"{BUILDX}/{BUILDX_DEFAULT}", OF_A_PERSON.rpartition("/")[0]: OF_A_PERSON}
    found = []
    for directory, path in places.items():
        users = [home.user for home in people(tree) if tree.directory(f"{home.path}/{directory}").exists]
        blank = Config(File(path, "absent"), beside="", in_container=True)
        edits, _, _ = edits_for(blank, _without_certificates(wanted))
        if users and edits:
            title = sentence(
                "{names}: the document is for ~/{path}, if nothing is there yet",
                names=", ".join(users),
                path=path,
            )
            command = f"install -D -m 644 DOCUMENT ~/{path}"
            found.append(Advice(title, (command,), edited(b"", edits).decode()))
    return tuple(found)
