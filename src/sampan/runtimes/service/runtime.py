"""``sampan serve`` as a service of systemd, so that the mirror is there before the runtimes that ask it.

What decides:

* It is one file, a unit that systemd enables and starts. Its user exists while it runs, its store is below
  /var/lib/private, and nothing else of the machine can be written by it.
* The configuration is /etc/sampan/sampan.toml, and must be readable for that user; the program must not be in
  anybody's home. Both are seen to before anything is written.
* It is planned when it is asked for (``--service``), before the runtimes. A revert stops and disables it
  while the unit is still there, then takes the file away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sampan.oci.reference import Reference
from sampan.runtimes.contract import Change, Finding, Installed, Machine, Plan, Source, Status, Step
from sampan.runtimes.plan import refuse
from sampan.runtimes.service.unit import CONFIG, PATH, STORE, UNIT, listen_of, port, store_of, unit_text
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import Wanted
from sampan.words import sentence

SYSTEMCTL = "systemctl"
WORDS = ("journalctl", "--unit", UNIT, "--lines", "3", "--output", "cat", "--no-pager")


@dataclass(frozen=True, slots=True)
class Service:
    """The service of this machine."""

    @property
    def name(self) -> str:
        return "sampan"

    @property
    def questions(self) -> Mapping[str, tuple[str, ...]]:
        return {
            "version": ("sampan", "--version"),
            "systemd": (SYSTEMCTL, "--version"),
            "active": (SYSTEMCTL, "is-active", UNIT),
            "enabled": (SYSTEMCTL, "is-enabled", UNIT),
        }

    def detect(self, tree: Tree) -> bool:  # noqa: ARG002 - it is told of where its unit is, and planned when asked
        """Never: it is no runtime that pulls."""
        return False

    def is_installed(self, tree: Tree) -> bool:
        """Whether its unit is there."""
        return tree.file(PATH).state != "absent"

    def status(self, tree: Tree, installed: Installed) -> Status:
        """Its unit, and whether it runs."""
        file = tree.file(PATH)
        findings = [file.problem] if file.problem else []
        running = None if "systemd" not in installed.answers else "active" in installed.answers
        if running is False and file.data is not None:
            hint = sentence("{command} says why", command=" ".join(WORDS[:3]))
            message = sentence("it does not run: whoever is told to ask it first goes past it")
            findings.append(Finding("SERVICE_STOPPED", message, "warning", PATH, hint=hint))
        sources = (Source(PATH, file.data is not None),) if file.state != "absent" else ()
        return Status(self.name, installed.version, "service", running, sources, (), tuple(findings))

    def plan(self, tree: Tree, installed: Installed, wanted: Wanted) -> Plan:
        """The unit, enabled and started. Raises PlanMismatch when it could not start."""
        before, after = tree.file(PATH).editable(), unit_text(tree).encode()
        listen = listen_of(tree)
        for told in _local_ports(wanted):
            if told != port(listen):
                hint = sentence("run this with --config {config}", config=CONFIG)
                raise refuse(
                    CONFIG,
                    sentence(
                        "it listens at {listen}, and runtimes are told port {told}", listen=listen, told=told
                    ),
                    hint=hint,
                )
        if before == after:
            return Plan(self.name)
        notes = []
        if before is not None:
            notes.append(sentence("{path} is there already, and is replaced", path=PATH))
        if store_of(tree) not in (None, STORE):
            notes.append(
                sentence(
                    "its store is {store}, not {other}: another disk can be mounted there",
                    store=STORE,
                    other=store_of(tree),
                )
            )
        if not tree.is_machine:
            notes.append(
                sentence("nothing is enabled in a tree: systemctl --root DIR enable {unit}", unit=UNIT)
            )
        if before is None:
            # While a revert stops it the unit has to be there still.
            return Plan(self.name, (Change(PATH, None, after, interim=after),), (_start(),), tuple(notes))
        return Plan(self.name, (Change(PATH, before, after),), _restart(installed), tuple(notes))

    def settle(self, machine: Machine, tree: Tree, installed: Installed) -> tuple[Finding, ...]:  # noqa: ARG002
        """Whether it runs: its start is over when it answers, for it says so itself."""
        if machine.run(self.questions["active"]).code == 0:
            return ()
        said = " ".join(machine.run(WORDS).output.split()) or sentence("nothing is in its log")
        return (
            Finding("SERVICE_STOPPED", sentence("it does not run: {said}", said=said[:400]), "error", PATH),
        )

    def verify(self, machine: Machine, installed: Installed, image: Reference) -> tuple[Finding, ...]:  # noqa: ARG002
        """Nothing more: it pulls for those who ask it."""
        return ()


def _local_ports(wanted: Wanted) -> set[int]:
    """The ports of this machine's own sampan that runtimes are to be told."""
    hops = [hop for route in wanted.routes for hop in route.hops if hop.gateway is not None]
    local = [hop.netloc for hop in hops if hop.netloc.startswith(("127.", "[::1]", "localhost"))]
    return {port(netloc) for netloc in local}


def _start() -> Step:
    enable = (SYSTEMCTL, "enable", "--now", UNIT)
    return Step(
        "start",
        sentence("it starts now, and with the machine"),
        enable,
        (SYSTEMCTL, "disable", "--now", UNIT),
    )


def _restart(installed: Installed) -> tuple[Step, ...]:
    """For a unit that was there: back to as it was, whether it ran or not."""
    anew = Step("reload", sentence("systemd reads the unit again"), (SYSTEMCTL, "daemon-reload"))
    restart = (SYSTEMCTL, "restart", UNIT)
    back = restart if "active" in installed.answers else (SYSTEMCTL, "stop", UNIT)
    return (anew, Step("restart", sentence("answers under way have 30 s"), restart, back))
