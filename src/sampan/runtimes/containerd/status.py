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
from sampan.runtimes.contract import InForce, Installed, Source, Status
from sampan.runtimes.hosts_status import hosts_files
from sampan.runtimes.hosts_toml import HEADER
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import EVERY_REGISTRY

STOPS = ("CONFIG_PARSE", "CONFIG_FORMAT", "IMPORT_ABSENT", "PLUGIN_NAME")  # when they are errors


def status_of(tree: Tree, installed: Installed) -> Status:
    """See :meth:`sampan.runtimes.contract.Runtime.status`."""
    config = read_config(tree, read_flags(tree).config, installed)
    registry = read_registry(config)
    roots = registry.read_roots if config.disabled is None else ()
    sources, findings = _config_sources(config), config_findings(tree, config, installed)
    hosts: dict[str, InForce] = {}
    dialect = dialect_of(config.version)
    for root in dict.fromkeys([*roots, *registry.roots, DEFAULT_DIRECTORY]):
        files = list(hosts_files(tree, root, dialect, _unread(root, config, registry)))
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
