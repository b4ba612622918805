"""Docker Engine: ``registry-mirrors`` of daemon.json, and hosts.toml files where it has the containerd store.

What decides, per version and image store:

* The classic store (graph drivers) asks mirrors for docker.io alone, as ``MIRROR/v2/…``, and Docker Hub last,
  always. It takes no mirror with a path below /v2, none with a login, and cannot tell pulling from resolving.
* The containerd store reads certs.d/REGISTRY/hosts.toml for every registry since 28.0, at each pull; such a
  file stands above ``registry-mirrors``. Before 28.0 it has only ``registry-mirrors``, and asks them by HTTPS
  unless they are ``insecure-registries`` or loopback.
* A reload takes over the keys that are in the file, and forgets none that has gone: to remove mirrors the key
  must be there, empty, once (:attr:`~sampan.runtimes.contract.Change.interim`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sampan.oci.reference import Reference
from sampan.runtimes.contract import Finding, Installed, Machine, Plan, Status, Step
from sampan.runtimes.docker.facts import not_in_force, reads_hosts_toml, running
from sampan.runtimes.docker.files import CERTS, DAEMON_JSON, MIRRORS, read_daemon, read_flags
from sampan.runtimes.docker.mirrors import plan_mirrors
from sampan.runtimes.docker.status import status_of
from sampan.runtimes.hosts_directory import plan_hosts
from sampan.runtimes.hosts_toml import Dialect
from sampan.runtimes.plan import refuse
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import Wanted
from sampan.words import sentence

TRACES = ("/usr/bin/dockerd", "/usr/sbin/dockerd", "/usr/local/bin/dockerd", "/etc/docker")
RELOAD = ("systemctl", "reload", "docker.service")
RELOADED = sentence("running containers go on; pulls under way end as they began")
LOOK_SECONDS = 0.2
PULL_SECONDS_MAX = 180.0


@dataclass(frozen=True, slots=True)
class Docker:
    """Docker Engine behind ``host``, whatever the environment of this process says of others.
    ``patience_seconds``: how long a reload may take; usually it is done within milliseconds."""

    host: str = "unix:///run/docker.sock"
    patience_seconds: float = 10.0

    @property
    def name(self) -> str:
        return "docker"

    @property
    def questions(self) -> Mapping[str, tuple[str, ...]]:
        return {
            "version": ("dockerd", "--version"),
            "info": self._docker("info", "--format", "{{json .}}"),
            "active": ("systemctl", "is-active", "docker.service"),
        }

    def detect(self, tree: Tree) -> bool:
        """Whether a trace of it is there."""
        return any(tree.exists(path) for path in TRACES)

    def status(self, tree: Tree, installed: Installed) -> Status:
        """What daemon.json, certs.d and the running daemon say."""
        return status_of(tree, installed)

    def plan(self, tree: Tree, installed: Installed, wanted: Wanted) -> Plan:
        """See the module's docstring for what is written where."""
        flags = read_flags(tree)
        daemon = read_daemon(tree, flags.config_file)
        if reads_hosts_toml(tree, daemon, installed):
            changes, notes = plan_hosts(tree, CERTS, wanted, Dialect())
            step = Step("none", sentence("hosts.toml is read at every pull"))
        else:
            if MIRRORS in flags.values:
                raise refuse(
                    flags.file or DAEMON_JSON,
                    sentence(
                        "it starts dockerd with --registry-mirror, which may not also be in daemon.json"
                    ),
                    hint=sentence("remove the flag, then run this again"),
                )
            changes, notes = plan_mirrors(daemon, tree, wanted)
            step = Step("reload", RELOADED, RELOAD)
        if not changes:
            return Plan(self.name, notes=tuple(notes))
        if step.command and running(installed) is False:
            step = Step("none", sentence("docker is not running: it counts from its next start"))
        return Plan(self.name, changes, (step,), tuple(notes))

    def settle(self, machine: Machine, tree: Tree, installed: Installed) -> tuple[Finding, ...]:
        """Wait until the daemon has taken over daemon.json: a signal is sent before it is obeyed."""
        flags = read_flags(tree)
        daemon = read_daemon(tree, flags.config_file)
        if running(installed) is not True or daemon.problem is not None:
            return ()
        differing: str | None = None
        for _ in range(max(1, round(self.patience_seconds / LOOK_SECONDS))):
            answer = machine.run(self.questions["info"])
            if answer.code != 0:
                return (
                    Finding(
                        "DOCKER_SILENT", sentence("docker info fails: {words}", words=answer.words), "error"
                    ),
                )
            differing = not_in_force(daemon, flags, Installed(answers={"info": answer.output}))
            if differing is None:
                return ()
            machine.wait(LOOK_SECONDS)
        message = sentence(
            "{differing}, {seconds:g} s after the reload",
            differing=differing,
            seconds=self.patience_seconds,
        )
        hint = sentence("journalctl -u docker says why")
        return (Finding("MIRRORS_NOT_IN_FORCE", message, "error", daemon.file.path, hint=hint),)

    def verify(self, machine: Machine, installed: Installed, image: Reference) -> tuple[Finding, ...]:
        """Pull ``image``, and leave nothing behind that was not there before."""
        if running(installed) is not True:
            return ()
        name = str(image)
        there = machine.run(self._docker("image", "inspect", name)).code == 0
        answer = machine.run(self._docker("pull", "--quiet", name), timeout_seconds=PULL_SECONDS_MAX)
        if answer.code != 0:
            message = sentence("docker pull {name} fails: {words}", name=name, words=answer.words)
            return (
                Finding(
                    "PULL_FAILS",
                    message,
                    "error",
                    hint=sentence("sampan pull {name} says which host", name=name),
                ),
            )
        if not there:
            machine.run(self._docker("image", "rm", name))
        return ()

    def _docker(self, *words: str) -> tuple[str, ...]:
        return ("docker", "--host", self.host, *words)
