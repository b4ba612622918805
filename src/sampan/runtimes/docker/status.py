"""What Docker Engine asks in truth, and what is configured without effect."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from sampan.errors import printable
from sampan.oci.reference import DOCKER_HUB, origin_url
from sampan.runtimes.contract import Finding, InForce, Installed, Source, Status, Version
from sampan.runtimes.docker.facts import info_of, mode_of, not_in_force, reads_hosts_toml, running, told
from sampan.runtimes.docker.files import CERTS, INSECURE, MIRRORS, Daemon, Flags, read_daemon, read_flags
from sampan.runtimes.hosts_status import hosts_files
from sampan.runtimes.hosts_toml import Dialect
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import EVERY_REGISTRY
from sampan.words import sentence

_UNREAD = sentence("this Docker has no containerd image store, or is older than 28")
_PATHS_SINCE = Version(24)
_SINGULAR = {"registry-mirror": MIRRORS, "insecure-registry": INSECURE}  # flags' names: silently ignored


def status_of(tree: Tree, installed: Installed) -> Status:
    """See :meth:`sampan.runtimes.contract.Runtime.status`."""
    flags = read_flags(tree)
    daemon = read_daemon(tree, flags.config_file)
    reads_hosts = reads_hosts_toml(tree, daemon, installed)
    unread = None if reads_hosts else _UNREAD
    files = list(hosts_files(tree, CERTS, Dialect(), unread))
    sources = [each.source for each in files]
    if daemon.file.state != "absent":
        sources.insert(0, Source(daemon.file.path, daemon.problem is None))
    findings = [*_daemon_findings(daemon, flags, installed)]
    findings += [finding for each in files for finding in each.findings]
    in_force = {each.in_force.registry: each.in_force for each in files if each.in_force is not None}
    hub = in_force.get(DOCKER_HUB) or in_force.get(EVERY_REGISTRY)
    mirrors = _mirrors_in_force(daemon, flags, installed)
    if hub is None:
        in_force[DOCKER_HUB] = InForce(DOCKER_HUB, (*mirrors, origin_url(DOCKER_HUB)), daemon.file.path)
    elif daemon.urls(MIRRORS):
        message = sentence("{key} has no effect: {file} stands above it", key=MIRRORS, file=hub.file)
        findings.append(
            Finding("MIRRORS_OVERRIDDEN", message, "dead", daemon.file.path, daemon.line(MIRRORS))
        )
    return Status(
        "docker",
        installed.version,
        mode_of(tree, daemon, installed),
        running(installed),
        tuple(sources),
        tuple(in_force.values()),
        tuple(findings),
    )


def _mirrors_in_force(daemon: Daemon, flags: Flags, installed: Installed) -> list[str]:
    info = info_of(installed)
    if info.get("ServerVersion"):
        return [str(url).rstrip("/") for url in (info.get("RegistryConfig") or {}).get("Mirrors") or []]
    return told(daemon, flags, MIRRORS)


def _daemon_findings(daemon: Daemon, flags: Flags, installed: Installed) -> Iterator[Finding]:
    path = daemon.file.path
    if daemon.problem is not None:
        yield daemon.problem
    for wrong, right in _SINGULAR.items():
        if daemon.get(wrong) is not None:
            hint = sentence("write {right}, a list", right=right)
            message = sentence("{wrong} is ignored without a word: it is the name of a flag", wrong=wrong)
            yield Finding("DOCKER_KEY_SINGULAR", message, "dead", path, daemon.line(wrong), hint)
    for key in set(flags.values) & {MIRRORS, INSECURE}:
        if daemon.get(key) is not None:
            message = sentence(
                "{key} is here and among the flags in {file}: dockerd does not start",
                key=key,
                file=flags.file,
            )
            yield Finding(
                "FLAG_AND_FILE", message, "error", path, daemon.line(key), sentence("remove one of the two")
            )
    for url in daemon.urls(MIRRORS):
        problem = _wrong_mirror(url, installed)
        if problem is not None:
            yield Finding("DOCKER_MIRROR_INVALID", problem, "error", path, daemon.line(MIRRORS))
    yield from _not_reloaded(daemon, flags, installed)


def _not_reloaded(daemon: Daemon, flags: Flags, installed: Installed) -> Iterator[Finding]:
    """A reload that was forgotten, or one that does not forget: the key is gone, and its mirrors are not."""
    message = not_in_force(daemon, flags, installed)
    if message is not None:
        hint = sentence("systemctl reload docker; a key that was removed must be there once, as []")
        yield Finding("MIRRORS_NOT_IN_FORCE", message, "dead", daemon.file.path, daemon.line(MIRRORS), hint)


def _wrong_mirror(url: str, installed: Installed) -> str | None:
    shown = printable(url, characters_max=100)
    try:
        parts = urlsplit(url)
    except ValueError:
        return sentence("not a URL: {shown}", shown=shown)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return sentence("a mirror must begin with https:// or http://: {shown}", shown=shown)
    if "@" in parts.netloc:
        return sentence("a mirror may hold no user and password")
    if parts.query or parts.fragment:
        return sentence("a mirror may have no query and no fragment: {shown}", shown=shown)
    version = installed.version
    if parts.path.strip("/") and version is not None and version < _PATHS_SINCE:
        return sentence(
            "before Docker 24 a mirror may have no path, and dockerd does not start: {shown}", shown=shown
        )
    return None
