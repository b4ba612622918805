"""What a buildkitd.toml is to be, and the certificates that it names.

Guarantees that keys are set one by one, that a mirror's options stand in the mirror's own table (BuildKit
reads them nowhere else), and that a builder in a container is not sent to this machine's loopback. What
cannot be written is a note.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tomlkit

from sampan.errors import printable
from sampan.oci.reference import origin_url
from sampan.runtimes.buildkit.files import Config
from sampan.runtimes.contract import FILE_MODE, SECRET_MODE, Change
from sampan.runtimes.plan import refuse
from sampan.runtimes.toml_text import Edit, NotTomlError, edited
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import BOTH, EVERY_REGISTRY, Hop, Route, Wanted, is_loopback
from sampan.words import sentence

Planned = tuple[tuple[Change, ...], tuple[str, ...]]  # changes, notes


def plan_config(tree: Tree, config: Config, wanted: Wanted) -> Planned:
    """The changes for one file, and notes. Raises PlanMismatch."""
    path, before = config.file.path, config.file.editable()
    if config.problem is not None:
        raise refuse(path, config.problem.message, line=config.problem.line, hint=config.problem.hint)
    edits, notes, hops = edits_for(config, wanted)
    changes = [change for hop in hops for change in _certificates(tree, config, hop)]
    try:
        after = edited(before or b"", edits)
    except NotTomlError as error:
        raise refuse(path, error.reason, line=error.line) from error
    if after != (before or b""):
        changes.append(Change(path, before, after))
    return tuple(dict.fromkeys(changes)), tuple(notes)


def edits_for(config: Config, wanted: Wanted) -> tuple[list[Edit], list[str], list[Hop]]:
    """The keys to be set, notes, and the hops that are in them."""
    edits: list[Edit] = []
    notes: list[str] = []
    hops: list[Hop] = []
    for route in wanted.routes:
        usable, said = _usable(route, in_container=config.in_container)
        notes += said
        mirrors = usable[:-1] if usable and _is_itself(usable[-1], route.registry) else usable
        if not any(not hop.origin for hop in mirrors):
            continue
        if route.origin is None:
            notes.append(
                sentence(
                    "{registry} is asked itself last: BuildKit cannot be told not to", registry=route.registry
                )
            )
        names = [_mirror(hop, route.registry) for hop in mirrors]
        old = config.mirrors(route.registry)
        if old != names:
            edits.append(Edit(("registry", route.registry, "mirrors"), names))
            notes += [_gone(route.registry, name) for name in old if name not in names]
        hops += [hop for hop in mirrors if hop not in hops]
    return [*edits, *(edit for hop in hops for edit in _options(config, hop))], notes, hops


def _is_itself(hop: Hop, registry: str) -> bool:
    """Whether it is what BuildKit asks last without being told."""
    return hop.origin and hop.base == origin_url(registry)


def _usable(route: Route, *, in_container: bool) -> tuple[list[Hop], list[str]]:
    if route.registry == EVERY_REGISTRY:
        note = sentence(
            "BuildKit has no mirrors for all registries: those without a table are asked directly"
        )
        return [], [note] if route.mirrors else []
    hops: list[Hop] = []
    notes: list[str] = []
    for hop in route.hops:
        reason = _unusable(hop, in_container=in_container)
        if reason is None:
            hops.append(hop)
        else:
            notes.append(
                sentence(
                    "{registry}: {hop} is left out: {reason}", registry=route.registry, hop=hop, reason=reason
                )
            )
    return hops, notes


def _unusable(hop: Hop, *, in_container: bool) -> str | None:
    if hop.username is not None or hop.headers:
        return sentence("buildkitd.toml holds no login and no headers")
    if hop.capabilities != BOTH:
        return sentence("BuildKit would believe what it says of tags")
    if in_container and is_loopback(hop.netloc):
        return sentence(
            "a builder in a container has a loopback of its own; --via with another address helps"
        )
    return None


def _mirror(hop: Hop, registry: str) -> str:
    prefix = hop.prefix_for(registry, sends_ns=True)
    return f"{hop.netloc}/{prefix}" if prefix else hop.netloc


def _gone(registry: str, name: str) -> str:
    return sentence(
        "{registry}: {name} is no mirror any more: sampan.toml does not name it",
        registry=registry,
        name=printable(name),
    )


def _options(config: Config, hop: Hop) -> Iterator[Edit]:
    """The mirror's own table, where it is not as it must be."""
    table = config.registries.get(hop.netloc, {})
    values: dict[str, Any] = {"http": hop.is_plain_http, "insecure": hop.insecure}
    values = {key: value for key, value in values.items() if value or table.get(key)}
    if hop.ca is not None:
        values["ca"] = [_path(config, hop, "ca")]
    if hop.client_cert is not None:
        key = "cert" if hop.client_key is None else "key"
        values["keypair"] = [{"key": _path(config, hop, key), "cert": _path(config, hop, "cert")}]
    for key, value in values.items():
        if table.get(key) != value:
            written = _inline(value) if key == "keypair" else value
            yield Edit(("registry", hop.netloc, key), written)


def _inline(pairs: list[dict[str, str]]) -> object:
    array = tomlkit.array()
    for pair in pairs:
        table = tomlkit.inline_table()
        table.update(pair)
        array.append(table)
    return array


def _path(config: Config, hop: Hop, kind: str) -> str:
    name = "".join(c if c.isalnum() or c in ".-" else "_" for c in hop.netloc)
    return f"{config.beside}/{name}.{kind}.pem"


def _certificates(tree: Tree, config: Config, hop: Hop) -> Iterator[Change]:
    if hop.ca is not None:
        yield from _file(tree, _path(config, hop, "ca"), hop.ca, secret=False)
    if hop.client_cert is not None:
        yield from _file(tree, _path(config, hop, "cert"), hop.client_cert, secret=hop.client_key is None)
    if hop.client_key is not None:
        yield from _file(tree, _path(config, hop, "key"), hop.client_key.reveal(), secret=True)


def _file(tree: Tree, path: str, text: str, *, secret: bool) -> list[Change]:
    before, after = tree.file(path).editable(), text.encode()
    mode = SECRET_MODE if secret else FILE_MODE
    return [] if before == after else [Change(path, before, after, mode, secret=secret)]
