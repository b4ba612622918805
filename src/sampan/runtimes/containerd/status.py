"""Whom containerd asks in truth, and in which files it is told so."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from sampan.oci.reference import origin_url
from sampan.runtimes.containerd.facts import running
from sampan.runtimes.containerd.faults import config_findings
from sampan.runtimes.containerd.files import Config, read_config, read_flags
from sampan.runtimes.containerd.legacy import never_read, with_scheme
from sampan.runtimes.containerd.plan import dialect_of
from sampan.runtimes.containerd.registry import DEFAULT_DIRECTORY, Registry, read_registry
from sampan.runtimes.contract import Finding, InForce, Installed, Source, Status
from sampan.runtimes.hosts_check import check
from sampan.runtimes.hosts_directory import directories, registry_of
from sampan.runtimes.hosts_toml import DEFAULT_DIRECTORY as EVERYBODY
from sampan.runtimes.hosts_toml import FILE_NAME, HEADER
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import EVERY_REGISTRY

STOPS = ("CONFIG_PARSE", "CONFIG_FORMAT", "IMPORT_ABSENT", "PLUGIN_NAME")  # when they are errors
_HUB_ALIASES = ("index.docker.io", "registry-1.docker.io", "hub.docker.com")


def status_of(tree: Tree, installed: Installed) -> Status:
    """See :meth:`sampan.runtimes.contract.Runtime.status`."""
    config = read_config(tree, read_flags(tree).config, installed)
    registry = read_registry(config)
    roots = registry.read_roots if config.disabled is None else ()
    sources, findings = _config_sources(config), config_findings(tree, config, installed)
    hosts: dict[str, InForce] = {}
    for root in dict.fromkeys([*roots, *registry.roots, DEFAULT_DIRECTORY]):
        files = list(_Directory(tree, root, config, _unread(root, config, registry)).files())
        sources += [each.source for each in files]
        findings += [finding for each in files for finding in each.findings]
        if EVERY_REGISTRY not in hosts:  # which shadows the directories behind it
            found = [each.in_force for each in files if each.in_force is not None]
            hosts = {each.registry: each for each in found} | hosts
    in_force = list(hosts.values()) if roots else list(_mirrors_in_force(registry))
    stopped = any(each.level == "error" and each.code in STOPS for each in findings)
    if config.disabled is not None or registry.broken is not None or stopped:
        in_force = []
    version = installed.version
    state = running(installed)
    return Status(
        "containerd",
        version,
        _mode(config, registry),
        state,
        tuple(sources),
        tuple(in_force),
        tuple(findings),
    )


def _unread(root: str, config: Config, registry: Registry) -> str | None:
    """Why the CRI does not look into ``root``."""
    if config.disabled is not None:
        return "the CRI is disabled"
    if registry.broken is not None:
        return "the CRI does not load"
    if root not in registry.roots:
        return f"no config_path names {root}"
    return None if root in registry.read_roots else "config_path is a list, which is taken for one directory"


def _mode(config: Config, registry: Registry) -> str:
    if config.disabled is not None:
        return "the CRI disabled"
    if registry.broken is not None:
        return "the CRI does not load"
    if registry.transfer is None:
        return "not known how it pulls"
    if registry.transfer:
        return "pulls by the transfer service"
    return "pulls by itself" + (f", for {registry.local_because}" if registry.local_because else "")


def _config_sources(config: Config) -> list[Source]:
    return [
        Source(
            layer.path,
            layer.problem is None,
            "sampan" if layer.file.text.startswith(HEADER) else None,
        )
        for layer in config.layers
        if layer.file.state != "absent"
    ]


def _mirrors_in_force(registry: Registry) -> Iterator[InForce]:
    for key, part in registry.mirrors.items():
        if never_read(key) is not None:
            continue
        endpoints = part.tables("mirrors")[key].get("endpoint", [])
        hosts = [with_scheme(each) for each in endpoints if isinstance(each, str)]
        origin = [] if key == EVERY_REGISTRY else [origin_url(key)]
        last = [url for url in origin if url not in hosts]
        yield InForce(key, (*hosts, *last), part.layer.path)


class _File:
    """One directory of a registry: its source, what is in force of it, and what is wrong with it."""

    def __init__(self, source: Source, in_force: InForce | None, findings: list[Finding]) -> None:
        self.source, self.in_force, self.findings = source, in_force, findings


class _Directory:
    """One directory of hosts.toml files; ``unread``: why the CRI does not look there, if so."""

    def __init__(self, tree: Tree, root: str, config: Config, unread: str | None) -> None:
        self._tree, self._root, self._config, self._unread = tree, root, config, unread

    def files(self) -> Iterator[_File]:
        answering = directories(self._tree, self._root)
        for name in self._tree.directory(self._root).names:
            directory = f"{self._root}/{name}"
            if self._tree.file(f"{directory}/{FILE_NAME}").state != "absent":
                yield self._file(directory, name, answers=directory in answering.values())
            elif self._shadows(directory, name, answering):
                yield self._empty(directory)

    def _file(self, directory: str, name: str, *, answers: bool) -> _File:
        file = self._tree.file(f"{directory}/{FILE_NAME}")
        nobody = self._nobody(name, answers=answers)
        source = Source(file.path, nobody is None, "sampan" if file.text.startswith(HEADER) else None)
        findings = [] if file.problem is None else [file.problem]
        if nobody is not None:
            findings.append(Finding("HOSTS_TOML_UNREAD", f"nobody reads it: {nobody}", "dead", file.path))
        if file.data is None:
            return _File(source, None, findings)
        registry = registry_of(name)
        dialect = dialect_of(self._config.version)
        checked = check(file.path, file.data, registry, dialect, lambda path: self._exists(directory, path))
        findings += checked.findings
        in_force = InForce(registry, checked.hosts, file.path) if nobody is None and checked.hosts else None
        return _File(source, in_force, findings)

    def _nobody(self, name: str, *, answers: bool) -> str | None:
        """Why nobody reads the directory ``name``."""
        if self._unread is not None:
            return self._unread
        if name in _HUB_ALIASES:
            return "images of Docker Hub are looked up in the directory docker.io"
        if name != name.lower() or "://" in name:
            return "no image has such a registry"
        return None if answers else "another directory for the same registry is looked at first"

    def _shadows(self, directory: str, name: str, answering: dict[str, str]) -> bool:
        """Whether a directory without a hosts.toml keeps ``_default`` from being asked."""
        is_directory = self._tree.directory(directory).exists
        return self._unread is None and is_directory and EVERY_REGISTRY in answering and name != EVERYBODY

    def _empty(self, directory: str) -> _File:
        message = f"no {FILE_NAME} in it, and so _default is not asked for this registry either"
        finding = Finding("HOSTS_DIRECTORY_EMPTY", message, "warning", directory, hint="remove the directory")
        return _File(Source(directory), None, [finding])

    def _exists(self, directory: str, path: str) -> bool:
        return self._tree.file(posixpath.join(directory, path)).state != "absent"
