"""What a hosts.toml has from others, kept behind what sampan writes into it.

Guarantees that a host which sampan.toml does not name keeps its table with all keys, that whatever is lost is
a note, and that doing it again changes nothing: what is kept stands below :data:`MARK`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import tomlkit
from tomlkit.items import Table

from sampan.errors import printable
from sampan.oci.reference import DOCKER_HUB, origin_url
from sampan.runtimes.hosts_toml import HEADER, Dialect, Rendered, options_text, render, url_of
from sampan.runtimes.wanted import EVERY_REGISTRY, PULL, Route
from sampan.words import sentence

MARK = "\n# From before, and not of sampan.toml: asked behind what is above.\n"
_OPTIONS = ("ca", "client", "skip_verify", "header")  # what a host needs whoever names it
_WEB_SITES = ("https://docker.io", "http://docker.io")


@dataclass(frozen=True, slots=True)
class Kept:
    """``hosts`` by URL, each with its keys; ``server``, and the ``options`` that stand beside it."""

    hosts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    server: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def joined(self, more: Kept) -> Kept:
        """This one, with what only ``more`` has behind it."""
        known = {normal(url) for url in self.hosts}
        hosts = {url: table for url, table in more.hosts.items() if normal(url) not in known}
        return Kept({**self.hosts, **hosts}, self.server or more.server, {**more.options, **self.options})


def read_kept(text: str, registry: str) -> Kept:
    """What of a hosts.toml, which parses, is not sampan's: all, or where sampan wrote it, what it kept."""
    if not text.startswith(HEADER):
        return _read(text)
    above, _, below = text.partition(MARK)
    found = _read(below)
    beside = _read(above)
    is_origin = registry != EVERY_REGISTRY and beside.server == origin_url(registry)
    return replace(found, options=beside.options) if is_origin else found


def compose(route: Route, kept: Kept, dialect: Dialect) -> Rendered | None:
    """The hosts.toml of ``route`` with ``kept`` behind it; None when it would say nothing."""
    notes: list[str] = []
    hosts = dict(_not_named(route, kept, notes))
    options = kept.options if _normal_server(kept) in (None, _origin(route.registry)) else {}
    rendered = render(route, dialect, options)
    if rendered is None:
        if not hosts and not options:
            return None
        rendered = Rendered(_alone(route.registry, hosts, options, dialect))
    text = rendered.text if not hosts else rendered.text + MARK + _tables(hosts, route)
    return replace(rendered, text=text, notes=(*rendered.notes, *notes))


def normal(url: str) -> str:
    """A URL as it is compared: these mean the same place."""
    url = url if "://" in url else f"https://{url}"
    return url.rstrip("/").removesuffix("/v2")


def _read(text: str) -> Kept:
    document = tomlkit.parse(text)
    hosts = document.get("host")
    found = (
        {str(url): table for url, table in hosts.items() if isinstance(table, dict)}
        if isinstance(hosts, dict)
        else {}
    )
    server = document.get("server")
    options = {key: value for key, value in document.unwrap().items() if key in _OPTIONS}
    return Kept(found, str(server) if isinstance(server, str) else None, options)


def _origin(registry: str) -> str | None:
    return None if registry == EVERY_REGISTRY else origin_url(registry)


def _normal_server(kept: Kept) -> str | None:
    return None if kept.server is None else normal(kept.server)


def _not_named(route: Route, kept: Kept, notes: list[str]) -> Mapping[str, Mapping[str, Any]]:
    """The hosts of ``kept`` that ``route`` does not name itself; why any other is lost goes to ``notes``."""
    named = {normal(url_of(hop, route.registry)) for hop in route.hops}
    origin = _origin(route.registry)
    found: dict[str, Mapping[str, Any]] = {}
    for url, table in [*kept.hosts.items(), *_server_as_host(kept)]:
        lost = sorted(set(table) - {"capabilities", "override_path", "dial_timeout"})
        if normal(url) == origin and origin not in named and route.hops:
            notes.append(
                sentence(
                    "{registry}: {url} is left out: sampan.toml says origin = never",
                    registry=route.registry,
                    url=printable(url),
                )
            )
        elif url in _WEB_SITES and route.registry == DOCKER_HUB:
            notes.append(
                sentence(
                    "{registry}: {url} is left out: it is a web site and no registry's host",
                    registry=route.registry,
                    url=url,
                )
            )
        elif normal(url) in named and lost and normal(url) != origin:
            notes.append(
                sentence(
                    "{registry}: {url} is as sampan.toml has it now, without {names}",
                    registry=route.registry,
                    url=printable(url),
                    names=", ".join(lost),
                )
            )
        elif normal(url) not in named and normal(url) != origin:
            found[url] = table
    return found


def _server_as_host(kept: Kept) -> list[tuple[str, Mapping[str, Any]]]:
    return [] if kept.server is None else [(kept.server, kept.options)]


def _alone(registry: str, hosts: Mapping[str, object], options: Mapping[str, Any], dialect: Dialect) -> str:
    """The part above the mark where sampan.toml names nobody: the registry itself, if that needs a word."""
    origin = _origin(registry)
    if origin is None or not options:
        return HEADER
    table = "" if hosts or dialect.is_2 else f'\n[host."{origin}"]\n{options_text(options)}'
    return f'{HEADER}server = "{origin}"\n{options_text(options)}{table}'


def _tables(hosts: Mapping[str, Mapping[str, Any]], route: Route) -> str:
    """With a header each: 2.x asks nobody who has none. What may not say what a tag means still may not."""
    strict = len(route.hops) > 1 and not any(hop.resolves for hop in route.hops[1:])
    document, below = tomlkit.document(), tomlkit.table(is_super_table=True)
    for url, keys in hosts.items():
        table = keys if isinstance(keys, Table) else tomlkit.table()
        if table is not keys:
            table.update(keys)
        if strict:
            table["capabilities"] = [PULL]
        below.append(tomlkit.key(url), table)
    document["host"] = below
    return document.as_string().rstrip() + "\n"
