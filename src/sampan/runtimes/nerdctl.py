"""nerdctl: hosts.toml files in its own ``hosts_dir``, for every registry; it reads nothing of config.toml.

What decides: before containerd 2.0 nerdctl asks the hosts itself, and looks into all directories of
``hosts_dir``; since then it lets containerd's transfer service pull, and hands on the first directory alone.
So the first is what is written. Taken from its sources, and not tried: no package of it is to be had here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sampan.oci.reference import Reference
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
from sampan.runtimes.hosts_directory import plan_hosts
from sampan.runtimes.hosts_status import hosts_files
from sampan.runtimes.hosts_toml import Dialect
from sampan.runtimes.plan import refuse
from sampan.runtimes.toml_text import NotTomlError, TomlText, parse
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import Wanted
from sampan.words import sentence

CONFIG = "/etc/nerdctl/nerdctl.toml"
HOSTS_DIR = ("/etc/containerd/certs.d", "/etc/docker/certs.d")
TRACES = ("/usr/bin/nerdctl", "/usr/local/bin/nerdctl", "/etc/nerdctl")
PULL_SECONDS_MAX = 180.0


@dataclass(frozen=True, slots=True)
class Nerdctl:
    """nerdctl as root has it; a user's own is in their home."""

    @property
    def name(self) -> str:
        return "nerdctl"

    @property
    def questions(self) -> Mapping[str, tuple[str, ...]]:
        return {"version": ("nerdctl", "--version"), "containerd": ("containerd", "--version")}

    def detect(self, tree: Tree) -> bool:
        """Whether a trace of it is there."""
        return any(tree.exists(path) for path in TRACES)

    def status(self, tree: Tree, installed: Installed) -> Status:
        """What its hosts directories say."""
        toml, problem = _config(tree)
        findings = [] if problem is None else [problem]
        sources = [Source(CONFIG, problem is None)] if tree.file(CONFIG).state != "absent" else []
        in_force: dict[str, InForce] = {}
        for index, root in enumerate(_roots(toml)):
            second = index > 0 and (_containerd(installed) is None or _by_transfer(installed))
            unread = (
                sentence("containerd 2 is handed the first directory of hosts_dir alone") if second else None
            )
            for each in hosts_files(tree, root, _dialect(installed), unread):
                sources.append(each.source)
                findings += each.findings
                if each.in_force is not None:
                    in_force.setdefault(each.in_force.registry, each.in_force)
        mode = (
            sentence("pulls by the transfer service")
            if _by_transfer(installed)
            else sentence("pulls by itself")
        )
        mode = mode if _containerd(installed) is not None else sentence("not known how it pulls")
        hosts = tuple(in_force.values())
        return Status(self.name, installed.version, mode, None, tuple(sources), hosts, tuple(findings))

    def plan(self, tree: Tree, installed: Installed, wanted: Wanted) -> Plan:
        """One hosts.toml a registry, in the first directory."""
        toml, problem = _config(tree)
        if problem is not None:
            raise refuse(CONFIG, problem.message, line=problem.line)
        changes, notes = plan_hosts(tree, _roots(toml)[0], wanted, _dialect(installed))
        steps = (Step("none", sentence("hosts.toml is read at every pull")),) if changes else ()
        return Plan(self.name, changes, steps, notes)

    def settle(
        self,
        machine: Machine,  # noqa: ARG002 - the contract's
        tree: Tree,  # noqa: ARG002
        installed: Installed,  # noqa: ARG002
    ) -> tuple[Finding, ...]:
        """There is nothing to wait for: each nerdctl reads its files anew."""
        return ()

    def verify(self, machine: Machine, installed: Installed, image: Reference) -> tuple[Finding, ...]:
        """Pull ``image``, and leave nothing behind that was not there before."""
        if "containerd" not in installed.answers:
            return ()
        name = str(image)
        there = machine.run(("nerdctl", "image", "inspect", name)).code == 0
        answer = machine.run(("nerdctl", "pull", "--quiet", name), timeout_seconds=PULL_SECONDS_MAX)
        if answer.code != 0:
            message = sentence("nerdctl pull {name} fails: {words}", name=name, words=answer.words)
            return (
                Finding(
                    "PULL_FAILS",
                    message,
                    "error",
                    hint=sentence("sampan pull {name} says which host", name=name),
                ),
            )
        if not there:
            machine.run(("nerdctl", "image", "rm", name))
        return ()


def _config(tree: Tree) -> tuple[TomlText, Finding | None]:
    file = tree.file(CONFIG)
    if file.data is None:
        return TomlText(), file.problem
    try:
        return parse(file.data), None
    except NotTomlError as error:
        hint = sentence("nerdctl does not run with it: repair the file")
        return TomlText(), Finding("CONFIG_PARSE", error.reason, "error", CONFIG, error.line, hint)


def _roots(toml: TomlText) -> tuple[str, ...]:
    found = toml.table.get("hosts_dir")
    roots = [root.rstrip("/") for root in found if isinstance(root, str)] if isinstance(found, list) else []
    return tuple(roots) or HOSTS_DIR


def _containerd(installed: Installed) -> Version | None:
    return Version.find(installed.answers.get("containerd", ""))


def _by_transfer(installed: Installed) -> bool:
    version = _containerd(installed)
    return version is not None and version >= Version(2)


def _dialect(installed: Installed) -> Dialect:
    return dialect_of(_containerd(installed) or Version(1, 6, 17))
