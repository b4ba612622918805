"""What registries.yaml is to be, and the certificates that it names.

Guarantees that keys are set one by one, so that everything else in it stays, and that a login is written only
where nobody but its owner can read it. What cannot be written is a note.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sampan.errors import printable
from sampan.oci.reference import origin_url
from sampan.runtimes.contract import FILE_MODE, SECRET_MODE, Change
from sampan.runtimes.k3s.files import Layout, Registries
from sampan.runtimes.plan import refuse
from sampan.runtimes.toml_text import Edit
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import BOTH, EVERY_REGISTRY, Hop, Route, Wanted
from sampan.runtimes.yaml_text import NotYamlError, edited
from sampan.words import sentence

OTHERS_MAY_READ = 0o077


@dataclass(slots=True)
class _Draft:
    """What gathers while the routes are gone through."""

    edits: list[Edit] = field(default_factory=list)
    files: dict[str, tuple[str, bool]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    secret: bool = False


def plan_registries(
    tree: Tree, layout: Layout, old: Registries, wanted: Wanted
) -> tuple[tuple[Change, ...], tuple[str, ...]]:
    """The changes, and notes. Raises PlanMismatch for a registries.yaml that must not be touched."""
    path, before = old.file.path, old.file.editable()
    if old.problem is not None:
        raise refuse(path, old.problem.message, line=old.problem.line, hint=old.problem.hint)
    draft = _Draft()
    for route in wanted.routes:
        _add_route(draft, layout, old, route)
    changes = [c for at, (text, secret) in draft.files.items() for c in _file(tree, at, text, secret=secret)]
    if draft.edits:
        try:
            after = edited(before or b"", draft.edits)
        except NotYamlError as error:
            raise refuse(path, error.reason, line=error.line) from error
        mode = SECRET_MODE if draft.secret else FILE_MODE
        changes.append(Change(path, before, after, mode))
    return tuple(changes), tuple(draft.notes)


def _add_route(draft: _Draft, layout: Layout, old: Registries, route: Route) -> None:
    usable = []
    for hop in route.hops:
        reason = _unusable(hop, route.registry, old)
        if reason is None:
            usable.append(hop)
        else:
            draft.notes.append(
                sentence(
                    "{registry}: {hop} is left out: {reason}", registry=route.registry, hop=hop, reason=reason
                )
            )
    if not any(not hop.origin for hop in usable):
        return
    before = old.endpoints().get(route.registry)
    endpoints = _endpoints(route, usable, no_default=layout.no_default)
    if before != endpoints:
        draft.edits.append(Edit(("mirrors", route.registry, "endpoint"), endpoints))
        draft.notes += _gone(route.registry, before or [], endpoints)
    if "rewrite" in old.text.section("mirrors", route.registry):
        draft.edits.append(Edit(("mirrors", route.registry, "rewrite"), remove=True))
        draft.notes.append(
            sentence(
                "{registry}: rewrite is gone: it would be applied to every endpoint alike",
                registry=route.registry,
            )
        )
    if route.origin is None and not layout.no_default and route.registry != EVERY_REGISTRY:
        unless = sentence("unless disable-default-registry-endpoint is set")
        draft.notes.append(
            sentence(
                "{registry} is asked itself last all the same, {unless}",
                registry=route.registry,
                unless=unless,
            )
        )
    for hop in usable:
        _add_config(draft, layout, old, hop)


def _gone(registry: str, before: list[str], after: list[str]) -> Iterator[str]:
    for url in before:
        if url not in after:
            yield sentence(
                "{registry}: {url} is no mirror any more: sampan.toml does not name it",
                registry=registry,
                url=printable(url),
            )


def _unusable(hop: Hop, registry: str, old: Registries) -> str | None:
    if hop.headers:
        return sentence("registries.yaml has no headers")
    if hop.capabilities != BOTH:
        return sentence("it would be believed what it says of tags")
    if "{" in hop.prefix_for(registry, sends_ns=True):
        return sentence("an entry for all registries cannot name each in its path")
    if hop.username is not None and (old.file.mode or 0) & OTHERS_MAY_READ:
        return sentence(
            "it wants a login, and {path} can be read by everybody: chmod 600 it", path=old.file.path
        )
    return None


def _endpoints(route: Route, usable: list[Hop], *, no_default: bool) -> list[str]:
    """As URLs. The registry itself comes last without being named; anywhere else it needs its port, for by
    its usual name it would be taken for that."""
    found = []
    for index, hop in enumerate(usable):
        prefix = hop.prefix_for(route.registry, sends_ns=True)
        url = f"{hop.base}/v2/{prefix}" if prefix else hop.base
        if hop.origin and hop.base == origin_url(route.registry):
            if index == len(usable) - 1 and not no_default:
                continue
            url = hop.base if index == len(usable) - 1 or ":" in hop.netloc else f"{hop.base}:443"
        found.append(url)
    return found


def _add_config(draft: _Draft, layout: Layout, old: Registries, hop: Hop) -> None:
    """TLS and login of one endpoint, by its host; keys that are right already are left."""
    stem = f"{layout.directory}/sampan/{''.join(c if c.isalnum() or c in '.-' else '_' for c in hop.netloc)}"
    certificates = {"ca_file": (hop.ca, "ca"), "cert_file": (hop.client_cert, "cert")}
    values: dict[tuple[str, str], object] = {}
    for key, (text, name) in certificates.items():
        if text is not None:
            values["tls", key] = f"{stem}.{name}.pem"
            draft.files[f"{stem}.{name}.pem"] = (text, key == "cert_file" and hop.client_key is None)
    if hop.client_key is not None:
        values["tls", "key_file"] = f"{stem}.key.pem"
        draft.files[f"{stem}.key.pem"] = (hop.client_key.reveal(), True)
    elif hop.client_cert is not None:
        values["tls", "key_file"] = f"{stem}.cert.pem"
    if hop.insecure:
        values["tls", "insecure_skip_verify"] = True
    if hop.username is not None and hop.password is not None:
        values["auth", "username"] = hop.username
        values["auth", "password"] = hop.password.reveal()
        draft.secret = True
    known = old.text.section("configs", hop.netloc)
    for (table, key), value in values.items():
        there = known.get(table)
        if not isinstance(there, dict) or there.get(key) != value:
            draft.edits.append(Edit(("configs", hop.netloc, table, key), value))


def _file(tree: Tree, path: str, text: str, *, secret: bool) -> list[Change]:
    before, after = tree.file(path).editable(), text.encode()
    mode = SECRET_MODE if secret else FILE_MODE
    return [] if before == after else [Change(path, before, after, mode, secret=secret)]
