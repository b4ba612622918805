"""What daemons have written lately: hosts that they left, files that they threw away, plugins that failed.

containerd tells nobody else of the first two. It is history: what is said here may be mended since, so most
of it is a note, and evidence for what the files and the hosts say now.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sampan.doctor.aside import aside
from sampan.doctor.contract import Finding, Scene, Unseen
from sampan.doctor.daemons import Running, running_of
from sampan.errors import printable, redact
from sampan.words import sentence

RECENT_SECONDS = 2 * 3600.0
LINES_MAX = 3000
TAIL_BYTES = 512 * 1024
HOSTS_MAX = 8  # that are named
OFTEN = 3  # from so many failures on, a host is said to waver
SYSTEMD = "/run/systemd/system"
# Where there is no journal.
FILES: Mapping[str, tuple[str, ...]] = {
    "containerd": ("/var/log/containerd.log", "/var/log/containerd/containerd.log"),
    "docker": ("/var/log/docker.log", "/var/log/docker/docker.log"),
    "crio": ("/var/log/crio.log", "/var/log/crio/crio.log"),
    "k3s": ("/var/lib/rancher/k3s/agent/containerd/containerd.log", "/var/log/k3s.log"),
    "rke2": ("/var/lib/rancher/rke2/agent/containerd/containerd.log",),
}
_FIELD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)')
_STATUS = re.compile(r"\b([1-5]\d\d)\b")
_HOST = re.compile(r"https?://([^/\s\"\\]+)")
_NEXT = ("trying next host", "Attempting next endpoint for pull")
_DROPPED = "failed to decode"
_PLUGIN = "failed to load plugin"
_STARTED = "starting containerd"
_EMPTY = "-- No entries --"


@dataclass(slots=True)
class Told:
    """What one daemon's log says, by host; lines as they are, without a stranger's control characters."""

    left: dict[str, list[str]] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    plugins: list[str] = field(default_factory=list)

    def read(self, line: str) -> None:
        """Keep what matters of ``line``; what a plugin did before the last start matters no more."""
        fields = _fields(line)
        said = fields.get("msg", line)
        if _STARTED in said:
            self.plugins.clear()
        if any(word in said for word in _NEXT):
            self.left.setdefault(_host(fields, line), []).append(_shown(fields.get("error") or said))
        elif _DROPPED in said:
            self.dropped.append(_shown(line))
        elif _PLUGIN in said and "cri" in line:
            self.plugins.append(_shown(fields.get("error") or said))


async def check_logs(scene: Scene) -> AsyncIterator[Finding | Unseen]:
    """The logs of those daemons whose runtimes are there."""
    names = [seen.status.runtime for seen in scene.runtimes]
    for running in await aside(running_of, scene.tree, names):
        for each in await aside(_told, scene, running):
            yield each


def _told(scene: Scene, running: Running) -> list[Finding | Unseen]:
    return list(_look(scene, running))


def _look(scene: Scene, running: Running) -> Iterator[Finding | Unseen]:
    lines = _journal(scene, running)
    if lines is None:
        lines = _of_files(scene, running.name)
    elif not lines and running.process is not None and running.process.environ is None:
        yield Unseen(
            running.name, sentence("its log"), sentence("run as root, or as a member of systemd-journal")
        )
    told = Told()
    for line in lines:
        told.read(line)
    yield from _findings(running.name, told)


def _findings(name: str, told: Told) -> Iterator[Finding]:
    failures = {host: [e for e in errors if _status(e) != "404"] for host, errors in told.left.items()}
    failing = {host: errors for host, errors in failures.items() if errors}
    if failing:
        often = any(len(errors) >= OFTEN for errors in failing.values())
        yield Finding(
            "LOG_HOST_LEFT",
            name,
            sentence("it has gone on to the next host, since these failed"),
            "warning" if often else "note",
            tuple(f"{host}: {len(e)} ×, {e[-1]}" for host, e in list(failing.items())[:HOSTS_MAX]),
            sentence("it tells its log alone; what it prints is often the last host's error"),
            sentence("see what each host does now"),
            ("sampan", "mirrors", "test"),
            about=tuple(list(failing)[:HOSTS_MAX]),
        )
    if told.dropped:
        what = sentence("it has thrown away a hosts.toml that it could not read")
        yield Finding("LOG_FILE_DROPPED", name, what, "note", tuple(told.dropped[-1:]))
    if told.plugins:
        yield Finding(
            "LOG_PLUGIN_FAILED",
            name,
            sentence("its CRI plugin has failed to load"),
            "error",
            tuple(dict.fromkeys(told.plugins[-2:])),
            sentence("no kubelet can pull or start anything"),
        )


# -- where it is written --------------------------------------------------------------------------


def _journal(scene: Scene, running: Running) -> Sequence[str] | None:
    """None: there is no journal to ask."""
    if scene.machine is None or running.unit is None or not scene.tree.exists(SYSTEMD):
        return None
    since = f"--since=-{RECENT_SECONDS:.0f}s"
    command = (
        "journalctl",
        "--unit",
        running.unit,
        since,
        f"--lines={LINES_MAX}",
        "--output=cat",
        "--no-pager",
    )
    answer = scene.machine.run(command)
    if answer.code != 0:
        return None
    return [line for line in answer.output.splitlines() if line.strip() and _EMPTY not in line]


def _of_files(scene: Scene, name: str) -> Sequence[str]:
    lines = [
        line
        for path in FILES.get(name, ())
        for line in scene.tree.tail(path, TAIL_BYTES).text.splitlines()[-LINES_MAX:]
    ]
    now = scene.clock.time()
    return [line for line in lines if (at := _time(line)) is None or now - at < RECENT_SECONDS]


def _time(line: str) -> float | None:
    text = _fields(line).get("time", "")
    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text)).timestamp()
    except ValueError:
        return None


# -- one line -------------------------------------------------------------------------------------


def _fields(line: str) -> dict[str, str]:
    return {name: _unquoted(value) for name, value in _FIELD.findall(line)}


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    return re.sub(r"\\(.)", lambda match: {"n": " ", "t": " "}.get(match[1], match[1]), value[1:-1])


def _host(fields: Mapping[str, str], line: str) -> str:
    named = fields.get("host") or next(iter(_HOST.findall(line)), "?")
    return printable(named, characters_max=100)


def _status(error: str) -> str | None:
    match = _STATUS.search(error)
    if match is None and "StatusNotFound" in error:
        return "404"
    return None if match is None else match[1]


def _shown(text: str) -> str:
    return printable(redact(text), characters_max=200)
