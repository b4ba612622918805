"""Documents for nodes that are not this machine: hosts.toml files, and the configuration of Talos.

Guarantees that no secret is in them, since they are shown, and that no node is sent to this machine's
loopback, which is its own there. What cannot be in them is a note.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import Any

from ruamel.yaml import YAML

from sampan.oci.reference import origin_url
from sampan.runtimes.containerd.plan import dialect_of
from sampan.runtimes.contract import Version
from sampan.runtimes.hosts_toml import directory_name, render
from sampan.runtimes.wanted import BOTH, EVERY_REGISTRY, Hop, Route, Wanted, is_loopback
from sampan.words import sentence

CONTAINERD = Version(1, 6)  # nodes of 2022 and later have at least that


@dataclass(frozen=True, slots=True)
class Documents:
    """``texts`` by the registry's directory, or one under an empty name; ``notes`` of what is left out."""

    texts: dict[str, str]
    notes: tuple[str, ...]


def hosts_tomls(wanted: Wanted) -> Documents:
    """One hosts.toml a registry."""
    texts: dict[str, str] = {}
    notes: list[str] = []
    for route in wanted.routes:
        reachable, said = _reachable(route)
        rendered = render(reachable, dialect_of(CONTAINERD))
        notes += [*said, *(rendered.notes if rendered else ())]
        if rendered is not None:
            texts[directory_name(route.registry)] = rendered.text
    return Documents(texts, tuple(notes))


def talos_patch(wanted: Wanted) -> Documents:
    """A patch of ``machine.registries``, which every version takes."""
    mirrors: dict[str, Any] = {}
    notes: list[str] = []
    insecure: dict[str, Any] = {}
    for route in wanted.routes:
        reachable, said = _reachable(route)
        notes += said
        hops = [hop for hop in reachable.hops if "{" not in hop.prefix and hop.capabilities == BOTH]
        notes += [
            sentence(
                "{registry}: {hop} is left out: Talos cannot say it as it is meant",
                registry=route.registry,
                hop=hop,
            )
            for hop in reachable.hops
            if hop not in hops
        ]
        if any(not hop.origin for hop in hops):
            mirrors[route.registry] = _talos_mirror(reachable, hops)
            insecure |= {h.netloc: {"tls": {"insecureSkipVerify": True}} for h in hops if h.insecure}
    if not mirrors:
        return Documents({}, tuple(notes))
    registries = {"mirrors": mirrors, **({"config": insecure} if insecure else {})}
    return Documents({"": _yaml({"machine": {"registries": registries}})}, tuple(notes))


def _talos_mirror(route: Route, hops: list[Hop]) -> dict[str, Any]:
    """Paths are taken as they are written for all endpoints of a registry, or for none."""
    if hops[-1].origin and hops[-1].base == origin_url(route.registry):
        hops = hops[:-1]
    paths = [hop.prefix_for(route.registry, sends_ns=True) for hop in hops]
    found: dict[str, Any] = {"endpoints": [hop.base for hop in hops]}
    if any(paths):
        urls = [
            f"{hop.base}/v2/{path}" if path else f"{hop.base}/v2"
            for hop, path in zip(hops, paths, strict=True)
        ]
        found = {"endpoints": urls, "overridePath": True}
    if route.origin is None and route.registry != EVERY_REGISTRY:
        found["skipFallback"] = True  # since 1.9; before that it is an unknown key, which is refused
    return found


def _reachable(route: Route) -> tuple[Route, list[str]]:
    hops: list[Hop] = []
    notes: list[str] = []
    for hop in route.hops:
        reason = _unusable(hop)
        if reason is None:
            hops.append(hop)
        else:
            notes.append(
                sentence(
                    "{registry}: {hop} is left out: {reason}", registry=route.registry, hop=hop, reason=reason
                )
            )
    return replace(route, hops=tuple(hops)), notes


def _unusable(hop: Hop) -> str | None:
    if is_loopback(hop.netloc):
        return sentence("a node has a loopback of its own; --via with another address helps")
    if hop.has_secrets or hop.username is not None:
        return sentence("it wants a secret, and a document is shown")
    if hop.ca is not None or hop.client_cert is not None:
        return sentence("it needs certificates on each node")
    return None


def _yaml(table: dict[str, Any]) -> str:
    yaml, stream = YAML(typ="rt", pure=True), io.StringIO()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump(table, stream)
    return stream.getvalue()
