"""Whom containerd asks in truth, and in which files it is told so."""

from __future__ import annotations

from collections.abc import Iterator

from sampan.oci.reference import origin_url
from sampan.runtimes.containerd.facts import running
from sampan.runtimes.containerd.faults import config_findings
from sampan.runtimes.containerd.files import Config, read_config, read_flags
from sampan.runtimes.containerd.legacy import never_read, with_scheme
from sampan.runtimes.containerd.plan import dialect_of
from sampan.runtimes.containerd.registry import DEFAULT_DIRECTORY, Registry, read_registry
from sampan.runtimes.contract import Finding, InForce, Installed, Source, Status
from sampan.runtimes.hosts_status import HostsFile, hosts_files
from sampan.runtimes.hosts_toml import HEADER
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import EVERY_REGISTRY
from sampan.words import sentence

STOPS = ("CONFIG_PARSE", "CONFIG_FORMAT", "IMPORT_ABSENT", "PLUGIN_NAME")  # when they are errors


def status_of(tree: Tree, installed: Installed) -> Status:
    """See :meth:`sampan.runtimes.contract.Runtime.status`."""
    config = read_config(tree, read_flags(tree).config, installed)
    registry = read_registry(config)
    findings = config_findings(tree, config, installed)
    idle = _idle(config, registry, findings)
    files = list(_files(tree, config, registry, idle))
    in_force: list[InForce] = []
    if idle is None:
        in_force = _joined(files) if registry.read_roots else list(_mirrors_in_force(registry))
    return Status(
        "containerd",
        installed.version,
        idle or _mode(registry),
        running(installed),
        (*_config_sources(config), *(each.source for each in files)),
        tuple(in_force),
        (*findings, *(finding for each in files for finding in each.findings)),
    )


def _idle(config: Config, registry: Registry, findings: list[Finding]) -> str | None:
    """Why nobody pulls by these files at all."""
    if any(each.level == "error" and each.code in STOPS for each in findings):
        return sentence("does not start")
    if config.disabled is not None:
        return sentence("the CRI is disabled")
    return None if registry.broken is None else sentence("the CRI does not load")


def _mode(registry: Registry) -> str:
    if registry.transfer is None:
        return sentence("not known how it pulls")
    if registry.transfer:
        return sentence("pulls by the transfer service")
    if registry.local_because:
        return sentence("pulls by itself, for {reason}", reason=registry.local_because)
    return sentence("pulls by itself")


def _files(tree: Tree, config: Config, registry: Registry, idle: str | None) -> Iterator[HostsFile]:
    """All in the directories of ``config_path``, and in that which people take for the usual one."""
    for root in dict.fromkeys([*registry.roots, DEFAULT_DIRECTORY]):
        unread = idle or _unread(root, registry)
        yield from hosts_files(tree, root, dialect_of(config.version), unread)


def _unread(root: str, registry: Registry) -> str | None:
    """Why the CRI does not look into ``root``."""
    if root not in registry.roots:
        return sentence("no config_path names {root}", root=root)
    return (
        None
        if root in registry.read_roots
        else sentence("config_path is a list, which is taken for one directory")
    )


def _joined(files: list[HostsFile]) -> list[InForce]:
    """The first for each registry; that for all registries hides the directories behind its own."""
    found: dict[str, InForce] = {}
    every: str | None = None
    for each in (file.in_force for file in files if file.in_force is not None):
        root = each.file.rsplit("/", 2)[0] if each.file else None
        if every is None or root == every:
            found.setdefault(each.registry, each)
        every = root if each.registry == EVERY_REGISTRY and every is None else every
    return list(found.values())


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
