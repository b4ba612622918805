"""CRI-O: the same files as podman's, and a reload.

What decides, beside what :mod:`sampan.runtimes.podman` says:

* CRI-O reads registries.conf when it starts and at SIGHUP, where a configuration that is refused leaves
  the old one in force. With ``auto_reload_registries`` (1.30) it sees changes by itself; the reload does no
  harm then.
* ``crio.conf`` and its drop-ins have no mirrors. ``insecure_registries`` and ``registries`` there are dead;
  ``short_name_mode`` is ``enforcing`` where nothing else is said, which refuses a short name that more than
  one search registry could have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sampan.oci.reference import Reference
from sampan.runtimes import toml_text
from sampan.runtimes.contract import Finding, Installed, Machine, Plan, Source, Status, Step
from sampan.runtimes.homes import root_home
from sampan.runtimes.podman import status
from sampan.runtimes.podman.files import read_in_use
from sampan.runtimes.podman.planning import plan_files
from sampan.runtimes.tree import File, Tree
from sampan.runtimes.wanted import Wanted
from sampan.words import sentence

TRACES = ("/usr/bin/crio", "/usr/local/bin/crio", "/etc/crio")
CONFIG, DROP_INS = "/etc/crio/crio.conf", "/etc/crio/crio.conf.d"
UNIT = "crio.service"
RELOAD = ("systemctl", "reload", UNIT)
ENDPOINT = "unix:///var/run/crio/crio.sock"
PULL_SECONDS_MAX = 180.0
_DEAD = {
    "registries": sentence("CRI-O reads it no more: registries.conf says where short names are looked for"),
    "insecure_registries": sentence(
        "CRI-O reads it no more: insecure = true in registries.conf is what counts"
    ),
}


@dataclass(frozen=True, slots=True)
class Crio:
    """CRI-O behind its usual socket."""

    @property
    def name(self) -> str:
        return "crio"

    @property
    def questions(self) -> Mapping[str, tuple[str, ...]]:
        return {"version": ("crio", "--version"), "active": ("systemctl", "is-active", UNIT)}

    def detect(self, tree: Tree) -> bool:
        """Whether a trace of it is there."""
        return any(tree.exists(path) for path in TRACES)

    def status(self, tree: Tree, installed: Installed) -> Status:
        """What registries.conf and crio.conf say."""
        in_use = read_in_use(tree, root_home(tree), merged=False)
        files = [file for file in _files(tree) if file.state != "absent"]
        settings: dict[str, object] = {}
        found = list(status.findings(tree, in_use, merged=False))
        for file in files:
            settings |= _image_settings(file)
            found += _file_findings(file)
        mode = settings.get("short_name_mode", status.ENFORCING)
        found += status.short_names(in_use, mode if isinstance(mode, str) else None)
        return Status(
            self.name,
            installed.version,
            sentence("watches registries.conf.d") if settings.get("auto_reload_registries") is True else None,
            None if not installed.answers else "active" in installed.answers,
            (*(Source(file.path, read=_parses(file)) for file in files), *status.sources(tree, in_use)),
            status.in_force(in_use),
            tuple(found),
        )

    def plan(self, tree: Tree, installed: Installed, wanted: Wanted) -> Plan:
        """The drop-in of podman, and a reload where CRI-O runs."""
        planned = plan_files(tree, wanted, merged=False, digest_only=installed.at_least(1, 25))
        if not planned.changes:
            return Plan(self.name, notes=planned.notes)
        step = Step("reload", sentence("running containers go on; pulls under way end as they began"), RELOAD)
        if installed.answers and "active" not in installed.answers:
            step = Step("none", sentence("crio is not running: it counts from its next start"))
        return Plan(self.name, planned.changes, (step,), planned.notes)

    def settle(self, machine: Machine, tree: Tree, installed: Installed) -> tuple[Finding, ...]:
        """Whether it still runs, with files that it takes. Only its log says what is in force."""
        if "active" not in installed.answers:
            return ()
        if machine.run(self.questions["active"]).code != 0:
            hint = sentence("journalctl -u crio says why")
            return (Finding("CRIO_SILENT", sentence("it runs no more after the reload"), "error", hint=hint),)
        return tuple(read_in_use(tree, root_home(tree), merged=False).problems)

    def verify(self, machine: Machine, installed: Installed, image: Reference) -> tuple[Finding, ...]:
        """Pull ``image`` by CRI, and leave nothing behind that was not there before."""
        if "active" not in installed.answers:
            return ()
        name, crictl = str(image), ("crictl", "--runtime-endpoint", ENDPOINT)
        there = machine.run((*crictl, "inspecti", name)).code == 0
        answer = machine.run((*crictl, "pull", name), timeout_seconds=PULL_SECONDS_MAX)
        if answer.code != 0:
            hint = sentence(
                "sampan pull {name} says which host; journalctl -u crio what CRI-O asked", name=name
            )
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


def _files(tree: Tree) -> Iterator[File]:
    yield tree.file(CONFIG)
    for name in tree.directory(DROP_INS).names:
        yield tree.file(f"{DROP_INS}/{name}")


def _parses(file: File) -> bool:
    return _parse_problem(file) is None


def _parse_problem(file: File) -> Finding | None:
    if file.problem is not None:
        return file.problem
    try:
        toml_text.parse(file.data or b"")
    except toml_text.NotTomlError as error:
        message = sentence("CRI-O does not start with it: {reason}", reason=error.reason)
        return Finding("CRIO_CONF_INVALID", message, "error", file.path, error.line, sentence("repair it"))
    return None


def _image_settings(file: File) -> dict[str, object]:
    """What ``[crio.image]`` says in one file."""
    if not _parses(file):
        return {}
    crio = toml_text.parse(file.data or b"").table.get("crio", {})
    image = crio.get("image", {}) if isinstance(crio, dict) else {}
    return image if isinstance(image, dict) else {}


def _file_findings(file: File) -> Iterator[Finding]:
    problem = _parse_problem(file)
    if problem is not None:
        yield problem
    for key, reason in _DEAD.items():
        if _image_settings(file).get(key):
            line = toml_text.parse(file.data or b"").line("crio", "image", key)
            yield Finding(
                "CRIO_KEY_DEAD", sentence("{key}: {reason}", key=key, reason=reason), "dead", file.path, line
            )
