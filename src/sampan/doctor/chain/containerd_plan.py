"""Whom containerd's CRI asks for an image, by the files of a tree: the pure half of the chain.

Guarantees that nothing is asked here. The order and the rules are those of the real programs: see
docs/chain.md and tests/golden/chain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from sampan.doctor.chain.certificates import Unusable
from sampan.doctor.chain.contract import Chain, Entry, Login
from sampan.doctor.chain.hosts_entries import Reader, default_entry, entries_of, namespace_for
from sampan.oci.loose_url import split_loosely
from sampan.oci.reference import Reference
from sampan.runtimes.containerd.faults import config_findings
from sampan.runtimes.containerd.files import Config, read_config, read_flags
from sampan.runtimes.containerd.legacy import with_scheme
from sampan.runtimes.containerd.plan import dialect_of
from sampan.runtimes.containerd.registry import Part, Registry, read_registry
from sampan.runtimes.containerd.status import STOPS
from sampan.runtimes.contract import Installed, Version
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import EVERY_REGISTRY
from sampan.secret import Secret

NO_SERVICE = "unknown service runtime.v1.ImageService"
NOT_RUNNING = (
    'connection error: desc = "transport: Error while dialing: '
    'dial unix /run/containerd/containerd.sock: connect: no such file or directory"'
)


def containerd_chain(tree: Tree, installed: Installed, reference: Reference) -> Chain:
    """What the CRI of a containerd with the files of ``tree`` does for ``reference``."""
    config = read_config(tree, read_flags(tree).config, installed)
    registry = read_registry(config)
    chain = Chain(
        "containerd",
        "containerd",
        reference if reference.digest is None else replace(reference, tag=None),
        version=config.version,
        transfer=bool(registry.transfer),
        is_off=config.disabled is not None,
    )
    if (refusal := _refusal(tree, config, registry, installed)) is not None:
        return replace(chain, refusal=refusal)
    try:
        return replace(chain, entries=_entries(tree, config, registry, reference.registry))
    except Unusable as error:
        where = "image" if chain.transfer else f'reference "{chain.reference}"'
        words = f'failed to pull and unpack image "{chain.reference}": failed to resolve {where}: {error}'
        return replace(chain, refusal=words)


def _refusal(tree: Tree, config: Config, registry: Registry, installed: Installed) -> str | None:
    """What a pull says when nobody is there to take it."""
    found = config_findings(tree, config, installed)
    if any(each.level == "error" and each.code in STOPS for each in found):
        return NOT_RUNNING
    return NO_SERVICE if registry.broken is not None or config.disabled is not None else None


def _entries(tree: Tree, config: Config, registry: Registry, host: str) -> tuple[Entry, ...]:
    if registry.config_path:
        reader = Reader(tree, dialect_of(config.version), tls_first(config.version))
        found = entries_of(reader, registry.read_roots, host)
    else:
        found = tuple(_legacy(registry, host))
    return tuple(_with_login(entry, registry) for entry in found)


def tls_first(version: Version | None) -> bool:
    """Whether keys of TLS make an ``http://`` host be asked by HTTPS first."""
    known = version or Version(2)
    return known >= Version(1, 7, 7) or Version(1, 6, 25) <= known < Version(1, 7)


def _legacy(registry: Registry, host: str) -> Iterator[Entry]:
    """``registry.mirrors`` of ``host``, or of all registries; and the registry itself, unless it is named."""
    key = host if host in registry.mirrors else EVERY_REGISTRY
    part = registry.mirrors.get(key)
    endpoints = _endpoints(part, key) if part is not None else []
    place = None if part is None else f"{part.layer.path}:{part.line('mirrors', key) or 1}"
    for endpoint in endpoints:
        yield _endpoint(registry, with_scheme(endpoint), host, place)
    if host not in [split_loosely(with_scheme(each)).netloc for each in endpoints]:
        last = default_entry(host)
        yield replace(last, **_tls(registry, last.netloc))


def _endpoints(part: Part, key: str) -> list[str]:
    found = part.tables("mirrors")[key].get("endpoint", [])
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def _endpoint(registry: Registry, url: str, host: str, place: str | None) -> Entry:
    """Its path is taken as it is written: ``/`` alone leaves no ``/v2``."""
    parts = split_loosely(url)
    path = parts.path or "/v2"
    namespace = namespace_for(parts.netloc, host)
    options = _tls(registry, parts.netloc)
    return Entry(parts.scheme, parts.netloc, path, namespace=namespace, place=place, **options)


def _tls(registry: Registry, netloc: str) -> dict[str, Any]:
    """``configs.HOST.tls``, which 2.x does not read."""
    if registry.is_2 or netloc not in registry.tls:
        return {}
    table = registry.configs[netloc].tables("configs")[netloc].get("tls")
    if not isinstance(table, dict):
        return {}
    found: dict[str, Any] = {"insecure": table.get("insecure_skip_verify") is True}
    if isinstance(table.get("ca_file"), str) and table["ca_file"]:
        found["certificates"] = (table["ca_file"],)
    if isinstance(table.get("cert_file"), str) and table["cert_file"]:
        found["client"] = (table["cert_file"], str(table.get("key_file") or table["cert_file"]))
    return found


def _with_login(entry: Entry, registry: Registry) -> Entry:
    """``configs.HOST.auth``, by the name of the host that is asked."""
    part = registry.configs.get(entry.netloc)
    table = part.tables("configs")[entry.netloc].get("auth") if part is not None else None
    if not isinstance(table, dict):
        return entry
    username, password = table.get("username"), table.get("password")
    if not isinstance(username, str) or not isinstance(password, str) or not username:
        return entry
    return replace(entry, login=Login(username, Secret(password)))
