"""What Docker Engine's files are to be: daemon.json's keys, and the certificates of certs.d.

Guarantees that keys are set one by one, so that everything else in daemon.json stays as it is, and that a
mirror which Docker cannot use as it is meant is told and not written.
"""

from __future__ import annotations

from collections.abc import Iterator

from sampan.errors import printable
from sampan.oci.reference import DOCKER_HUB
from sampan.runtimes.contract import FILE_MODE, SECRET_MODE, Change
from sampan.runtimes.docker.files import CERTS, INSECURE, MIRRORS, Daemon
from sampan.runtimes.hosts_directory import Planned
from sampan.runtimes.json_text import JsonObject
from sampan.runtimes.plan import refuse
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import BOTH, EVERY_REGISTRY, Hop, Route, Wanted
from sampan.words import sentence

_EMPTY = b"{}\n"


def usable(route: Route) -> tuple[list[Hop], list[str]]:
    """The mirrors of docker.io that ``registry-mirrors`` can hold, and a sentence for each that it cannot."""
    hops: list[Hop] = []
    notes: list[str] = []
    for hop in route.mirrors:
        reason = _unusable(hop)
        if reason is None:
            hops.append(hop)
        else:
            notes.append(
                sentence(
                    "{registry}: {hop} is left out: {reason}", registry=DOCKER_HUB, hop=hop, reason=reason
                )
            )
    return hops, notes


def plan_mirrors(daemon: Daemon, tree: Tree, wanted: Wanted) -> Planned:
    """daemon.json with the mirrors of docker.io, and the certificates of their hosts. Raises PlanMismatch."""
    others = [r.registry for r in wanted.routes if r.registry not in (DOCKER_HUB, EVERY_REGISTRY)]
    notes = [_only_hub(others)] if others else []
    route = wanted.route(DOCKER_HUB)
    if route is None:
        return (), tuple(notes)
    hops, left_out = usable(route)
    notes += left_out
    if route.origin is None:
        notes.append(
            sentence(
                "{registry}: Docker asks Docker Hub last all the same; this store cannot be told not to",
                registry=DOCKER_HUB,
            )
        )
    change = _daemon_change(daemon, hops)
    if change is not None:
        old = [url for url in daemon.urls(MIRRORS) if url.rstrip("/") not in {hop.base for hop in hops}]
        notes += [
            sentence(
                "{registry}: {url} is no mirror any more: sampan.toml does not name it",
                registry=DOCKER_HUB,
                url=printable(url),
            )
            for url in old
        ]
    certificates = [found for hop in hops for found in _certificates(tree, hop)]
    return (*certificates, *([change] if change else ())), tuple(notes)


def _unusable(hop: Hop) -> str | None:
    if hop.username is not None or hop.headers:
        return sentence("Docker logs in to no mirror")
    if hop.prefix_for(DOCKER_HUB, sends_ns=False):
        return sentence("Docker cannot ask below a path of a mirror; sampan serve can")
    if hop.capabilities != BOTH:
        return sentence("Docker would believe what it says of tags")
    return None


def _only_hub(registries: list[str]) -> str:
    names = ", ".join(registries)
    return sentence(
        "this image store of Docker has mirrors for {registry} alone: {names} are asked directly",
        registry=DOCKER_HUB,
        names=names,
    )


def _daemon_change(daemon: Daemon, hops: list[Hop]) -> Change | None:
    path, before = daemon.file.path, daemon.file.editable()
    if daemon.problem is not None:
        raise refuse(path, daemon.problem.message, line=daemon.problem.line)
    old = daemon.document or JsonObject.parse(_EMPTY)
    for key in (MIRRORS, INSECURE):
        if old.get(key) is not None and not isinstance(old.get(key), list):
            raise refuse(
                path, sentence("{key}: expected a list, got something else", key=key), line=old.line(key)
            )
    mirrors = [hop.base for hop in hops]
    new, interim = old, old
    if [url.rstrip("/") for url in daemon.urls(MIRRORS)] != mirrors:
        new = new.with_key(MIRRORS, mirrors)
    known = daemon.urls(INSECURE)
    insecure = [hop.netloc for hop in hops if _is_insecure(hop) and hop.netloc not in known]
    if insecure:
        new = new.with_key(INSECURE, [*known, *insecure])
    if new.text == old.text:
        return None
    for key in new.members:
        if key not in old.members:
            interim = interim.with_key(key, [])
    forgets = interim.text.encode() if interim is not old else None
    return Change(path, before, new.text.encode(), interim=forgets)


def _is_insecure(hop: Hop) -> bool:
    """Whether Docker must be told that the host has no TLS, or one that proves nothing. It knows loopback."""
    host = hop.netloc.rpartition(":")[0] or hop.netloc
    loopback = host.startswith("127.") or host == "[::1]"
    return hop.insecure or (hop.is_plain_http and not loopback)


def _certificates(tree: Tree, hop: Hop) -> Iterator[Change]:
    """Where Docker looks for them: by the mirror's host."""
    directory = f"{CERTS}/{hop.netloc}"
    if hop.ca is not None:
        yield from _change(tree, f"{directory}/sampan.crt", hop.ca)
    if hop.client_cert is not None:
        key = hop.client_cert if hop.client_key is None else hop.client_key.reveal()
        yield from _change(tree, f"{directory}/sampan.cert", hop.client_cert, secret=hop.client_key is None)
        yield from _change(tree, f"{directory}/sampan.key", key, secret=True)


def _change(tree: Tree, path: str, text: str, *, secret: bool = False) -> list[Change]:
    before, after = tree.file(path).editable(), text.encode()
    mode = SECRET_MODE if secret else FILE_MODE
    return [] if before == after else [Change(path, before, after, mode, secret=secret)]
