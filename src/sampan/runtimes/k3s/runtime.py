"""k3s and rke2: registries.yaml, from which they make the configuration of a containerd of their own.

What decides:

* registries.yaml is read when the service starts, and at no other time. The files that it becomes (below
  ``agent/etc/containerd`` of the data directory) are read by us and written by k3s alone.
* Their containerd sends ``?ns=``, so a sampan needs no path. A mirror below a path is an endpoint with that
  path: it is taken as it is written. ``rewrite`` would say the same of all endpoints of a registry at once.
* The registry itself comes last, unless ``disable-default-registry-endpoint`` is set. An endpoint with its
  usual address is taken for that, so elsewhere in the order it is written with its port.
* A login stands in the file, so it is written only into one that its owner alone can read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sampan.oci.reference import Reference
from sampan.runtimes.contract import Finding, Installed, Machine, Plan, Status, Step
from sampan.runtimes.k3s import status
from sampan.runtimes.k3s.files import read_layout, read_registries
from sampan.runtimes.k3s.registries import plan_registries
from sampan.runtimes.tree import Tree
from sampan.runtimes.units import DIRECTORIES
from sampan.runtimes.wanted import Wanted
from sampan.words import sentence

LOOK_SECONDS = 1.0
PULL_SECONDS_MAX = 180.0
_EFFECT = sentence("containers go on; of a server, the API is away until it has started")
_UNIT_DIRECTORIES = (*DIRECTORIES, "/usr/local/lib/systemd/system")


@dataclass(frozen=True, slots=True)
class Rancher:
    """``name`` is k3s or rke2; ``server`` and ``agent`` are its units, of which a machine runs one.
    ``patience_seconds``: how long after a restart the generated files may take."""

    name: str
    server: str
    agent: str
    patience_seconds: float = 60.0

    @property
    def questions(self) -> Mapping[str, tuple[str, ...]]:
        return {
            "version": (self.name, "--version"),
            "server": ("systemctl", "is-active", self.server),
            "agent": ("systemctl", "is-active", self.agent),
        }

    def detect(self, tree: Tree) -> bool:
        """Whether a trace of it is there."""
        programs = [
            f"/usr/local/bin/{self.name}",
            f"/usr/bin/{self.name}",
            f"/opt/{self.name}/bin/{self.name}",
        ]
        return any(tree.exists(path) for path in (*programs, f"/etc/rancher/{self.name}"))

    def status(self, tree: Tree, installed: Installed) -> Status:
        """What registries.yaml says, and the files that were generated from it."""
        layout = read_layout(tree, self.name, (self.server, self.agent))
        registries = read_registries(tree, layout)
        return Status(
            self.name,
            installed.version,
            "agent" if self._unit(tree, installed) == self.agent else "server",
            self._running(installed),
            tuple(status.sources(tree, layout, registries, self.name)),
            tuple(status.in_force(tree, layout, registries)),
            tuple(status.findings(tree, layout, registries, self.name)),
        )

    def plan(self, tree: Tree, installed: Installed, wanted: Wanted) -> Plan:
        """See the module's docstring for what is written where."""
        layout = read_layout(tree, self.name, (self.server, self.agent))
        changes, notes = plan_registries(tree, layout, read_registries(tree, layout), wanted)
        if not changes:
            return Plan(self.name, notes=notes)
        step = Step("restart", _EFFECT, ("systemctl", "restart", self._unit(tree, installed)))
        if self._running(installed) is False:
            step = Step(
                "none", sentence("{name} is not running: it counts from its next start", name=self.name)
            )
        return Plan(self.name, changes, (step,), notes)

    def settle(self, machine: Machine, tree: Tree, installed: Installed) -> tuple[Finding, ...]:
        """Wait until its containerd has the endpoints of registries.yaml."""
        layout = read_layout(tree, self.name, (self.server, self.agent))
        registries = read_registries(tree, layout)
        if self._running(installed) is not True or registries.problem is not None:
            return ()
        differing: list[str] = []
        for _ in range(max(1, round(self.patience_seconds / LOOK_SECONDS))):
            differing = status.not_generated(tree, layout, registries)
            if not differing:
                return ()
            machine.wait(LOOK_SECONDS)
        late = sentence("{seconds:g} s after the restart", seconds=self.patience_seconds)
        message = sentence(
            "{names}: not in {generated}, {late}",
            names=", ".join(differing),
            generated=layout.generated,
            late=late,
        )
        hint = sentence("journalctl -u {unit} says why", unit=self._unit(tree, installed))
        return (Finding("MIRRORS_NOT_IN_FORCE", message, "error", layout.registries, hint=hint),)

    def verify(self, machine: Machine, installed: Installed, image: Reference) -> tuple[Finding, ...]:
        """Pull ``image`` by CRI, and leave nothing behind that was not there before."""
        if self._running(installed) is not True:
            return ()
        name, crictl = str(image), self._crictl()
        there = machine.run((*crictl, "inspecti", name)).code == 0
        answer = machine.run((*crictl, "pull", name), timeout_seconds=PULL_SECONDS_MAX)
        if answer.code != 0:
            hint = sentence("sampan pull {name} says which host", name=name)
            return (
                Finding(
                    "PULL_FAILS",
                    sentence("crictl pull {name} fails: {words}", name=name, words=answer.words),
                    "error",
                    hint=hint,
                ),
            )
        if not there:
            machine.run((*crictl, "rmi", name))
        return ()

    def _crictl(self) -> tuple[str, ...]:
        if self.name == "k3s":
            return ("k3s", "crictl")
        endpoint = "unix:///run/k3s/containerd/containerd.sock"  # rke2's as well
        return ("/var/lib/rancher/rke2/bin/crictl", "--runtime-endpoint", endpoint)

    def _running(self, installed: Installed) -> bool | None:
        if not installed.answers:
            return None
        return "server" in installed.answers or "agent" in installed.answers

    def _unit(self, tree: Tree, installed: Installed) -> str:
        """The one that runs, else the one that is there."""
        for role in ("server", "agent"):
            if role in installed.answers:
                return self.server if role == "server" else self.agent
        is_there = [
            any(tree.exists(f"{d}/{unit}") for d in _UNIT_DIRECTORIES) for unit in (self.server, self.agent)
        ]
        return self.agent if is_there == [False, True] else self.server


K3S = Rancher("k3s", "k3s.service", "k3s-agent.service")
RKE2 = Rancher("rke2", "rke2-server.service", "rke2-agent.service")
