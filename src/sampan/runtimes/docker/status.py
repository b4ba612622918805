"""What Docker Engine asks in truth, and what is configured without effect."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from sampan.errors import printable
from sampan.oci.reference import DOCKER_HUB, origin_url
from sampan.runtimes import hosts_toml
from sampan.runtimes.contract import Finding, InForce, Installed, Source, Status, Version
from sampan.runtimes.docker.facts import info_of, mode_of, not_in_force, reads_hosts_toml, running, told
from sampan.runtimes.docker.files import CERTS, INSECURE, MIRRORS, Daemon, Flags, read_daemon, read_flags
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import EVERY_REGISTRY

_PATHS_SINCE = Version(24)
_SINGULAR = {"registry-mirror": MIRRORS, "insecure-registry": INSECURE}  # flags' names: silently ignored


def status_of(tree: Tree, installed: Installed) -> Status:
    """See :meth:`sampan.runtimes.contract.Runtime.status`."""
    flags = read_flags(tree)
    daemon = read_daemon(tree, flags.config_file)
    reads_hosts = reads_hosts_toml(tree, daemon, installed)
    files = list(_hosts_files(tree))
    sources = [Source(path, reads_hosts, _writer(text)) for path, text in files]
    if daemon.file.state != "absent":
        sources.insert(0, Source(daemon.file.path, daemon.problem is None))
    findings = [*_daemon_findings(daemon, flags, installed), *_hosts_findings(files, read=reads_hosts)]
    in_force = dict(_hosts_in_force(files)) if reads_hosts else {}
    hub = in_force.get(DOCKER_HUB) or in_force.get(EVERY_REGISTRY)
    mirrors = _mirrors_in_force(daemon, flags, installed)
    if hub is None:
        in_force[DOCKER_HUB] = InForce(DOCKER_HUB, (*mirrors, origin_url(DOCKER_HUB)), daemon.file.path)
    elif daemon.urls(MIRRORS):
        message = f"{MIRRORS} has no effect: {hub.file} stands above it"
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
            hint = f"write {right}, a list"
            message = f"{wrong} is ignored without a word: it is the name of a flag"
            yield Finding("DOCKER_KEY_SINGULAR", message, "dead", path, daemon.line(wrong), hint)
    for key in set(flags.values) & {MIRRORS, INSECURE}:
        if daemon.get(key) is not None:
            message = f"{key} is here and among the flags in {flags.file}: dockerd does not start"
            yield Finding("FLAG_AND_FILE", message, "error", path, daemon.line(key), "remove one of the two")
    for url in daemon.urls(MIRRORS):
        problem = _wrong_mirror(url, installed)
        if problem is not None:
            yield Finding("DOCKER_MIRROR_INVALID", problem, "error", path, daemon.line(MIRRORS))
    yield from _not_reloaded(daemon, flags, installed)


def _not_reloaded(daemon: Daemon, flags: Flags, installed: Installed) -> Iterator[Finding]:
    """A reload that was forgotten, or one that does not forget: the key is gone, and its mirrors are not."""
    message = not_in_force(daemon, flags, installed)
    if message is not None:
        hint = "systemctl reload docker; a key that was removed must be there once, as []"
        yield Finding("MIRRORS_NOT_IN_FORCE", message, "dead", daemon.file.path, daemon.line(MIRRORS), hint)


def _wrong_mirror(url: str, installed: Installed) -> str | None:
    shown = printable(url, characters_max=100)
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"not a URL: {shown}"
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return f"a mirror must begin with https:// or http://: {shown}"
    if "@" in parts.netloc:
        return "a mirror may hold no user and password"
    if parts.query or parts.fragment:
        return f"a mirror may have no query and no fragment: {shown}"
    version = installed.version
    if parts.path.strip("/") and version is not None and version < _PATHS_SINCE:
        return f"before Docker 24 a mirror may have no path, and dockerd does not start: {shown}"
    return None


def _hosts_files(tree: Tree) -> Iterator[tuple[str, str]]:
    for name in tree.directory(CERTS).names:
        file = tree.file(f"{CERTS}/{name}/{hosts_toml.FILE_NAME}")
        if file.data is not None:
            yield file.path, file.text


def _hosts_in_force(files: list[tuple[str, str]]) -> Iterator[tuple[str, InForce]]:
    for path, text in files:
        registry = path.split("/")[-2]
        registry = EVERY_REGISTRY if registry == hosts_toml.DEFAULT_DIRECTORY else registry
        try:
            hosts = hosts_toml.read(text)
        except ValueError:
            continue
        default = None if registry == EVERY_REGISTRY else origin_url(registry)
        last = hosts.server or default
        yield registry, InForce(registry, (*hosts.urls, *([last] if last else ())), path)


def _hosts_findings(files: list[tuple[str, str]], *, read: bool) -> Iterator[Finding]:
    for path, text in files:
        if not read:
            message = "nobody reads it: this Docker has no containerd image store, or is older than 28"
            yield Finding("HOSTS_TOML_UNREAD", message, "dead", path)
        try:
            hosts = hosts_toml.read(text)
        except ValueError as error:
            yield Finding("HOSTS_TOML_PARSE", f"ignored as a whole: {error}", "dead", path)
        else:
            if hosts.server in ("https://docker.io", "http://docker.io"):
                hint = f'server = "{origin_url(DOCKER_HUB)}"'
                message = "server names a web site: docker.io is no registry's host"
                yield Finding("SERVER_IS_DOCKER_IO", message, "error", path, hint=hint)


def _writer(text: str) -> str | None:
    return "sampan" if text.startswith(hosts_toml.HEADER) else None
