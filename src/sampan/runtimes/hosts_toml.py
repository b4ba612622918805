"""The text of a hosts.toml, which containerd and all that share its resolver read: Docker's containerd image
store, nerdctl, microk8s.

Guarantees that hosts are asked in the order of the route (tables in textual order, ``server`` last), that
``server`` is never a name that is no registry's host, and that no key is written that the reader does not
know: an unknown capability would make the whole file vanish. What cannot be written is a note.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from sampan.runtimes.toml_text import value_text
from sampan.runtimes.wanted import BOTH, EVERY_REGISTRY, PULL, RESOLVE, Hop, Route
from sampan.words import sentence

FILE_NAME = "hosts.toml"
DEFAULT_DIRECTORY = "_default"
HEADER = "# Written by sampan node; sampan node revert removes it.\n"
TEMPLATE = "{registry}"
_NOTHING: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the reader knows: ``override_path`` since containerd 1.6, ``dial_timeout`` since 2.0.7, the
    capability ``referrers`` since 2.2. ``is_2``: 1.x drops a file that has no table of a host, 2.x one that
    begins with a byte order mark, and a host that has no header of its own."""

    override_path: bool = True
    dial_timeout: bool = False
    referrers: bool = False
    is_2: bool = True


@dataclass(frozen=True, slots=True)
class Rendered:
    """The text; the certificates that lie beside it, by name, private keys apart; notes."""

    text: str
    files: dict[str, str] = field(default_factory=dict)
    secret_files: dict[str, str] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hosts:
    """What a hosts.toml says: whom to ask, in order, ``server`` last (None: the registry itself)."""

    urls: tuple[str, ...]
    server: str | None


def directory_name(registry: str) -> str:
    """The directory of a registry below certs.d."""
    return DEFAULT_DIRECTORY if registry == EVERY_REGISTRY else registry


def render(route: Route, dialect: Dialect, options: Mapping[str, object] = _NOTHING) -> Rendered | None:
    """The hosts.toml of ``route``; None when there is nobody to name but the registry itself. ``options``:
    keys to stand with ``server`` where that is the registry itself."""
    usable: list[Hop] = []
    notes: list[str] = []
    for hop in route.hops:
        reason = _unusable(hop, route.registry, dialect)
        if reason is None:
            usable.append(hop)
        else:
            notes.append(
                sentence(
                    "{registry}: {hop} is left out: {reason}", registry=route.registry, hop=hop, reason=reason
                )
            )
    if not any(not hop.origin for hop in usable):
        return None
    last = _last(route, usable)
    tables = [hop for hop in usable if hop is not last or (hop.origin and hop is usable[0])]
    if not tables and not dialect.is_2:
        tables = usable[-1:]
    lines = [HEADER, "" if last is None else _server(last, route.registry, dialect)]
    if last is not None and last.origin:
        lines.append(options_text(options))
    lines += [_table(hop, route.registry, dialect) for hop in tables]
    files = {name: text for hop in usable for name, text in _certificates(hop).items()}
    keys = {_key_name(h): h.client_key.reveal() for h in usable if h.client_key is not None}
    return Rendered("".join(lines), files, keys, tuple(notes))


def options_text(options: Mapping[str, object]) -> str:
    """Keys as lines; a table is written on one."""
    return "".join(f"{key} = {value_text(value)}\n" for key, value in options.items())


def read(text: str) -> Hosts:
    """What ``text`` says. Raises ValueError (tomllib's, with the line) when it is no TOML."""
    table = tomllib.loads(text)
    hosts, server = table.get("host", {}), table.get("server")
    urls = tuple(hosts) if isinstance(hosts, dict) else ()
    return Hosts(urls, server if isinstance(server, str) else None)


def _last(route: Route, usable: Sequence[Hop]) -> Hop | None:
    """Who stands as ``server``: the origin, or a mirror where the registry itself must not be asked. None: no
    file for all registries can name each, and without ``server`` each is asked itself."""
    if route.registry == EVERY_REGISTRY:
        return None
    return route.origin or usable[-1]


def _unusable(hop: Hop, registry: str, dialect: Dialect) -> str | None:
    if hop.username is not None or hop.headers:
        return sentence("it wants a login, which hosts.toml would show to everybody on this machine")
    prefix = hop.prefix_for(registry, sends_ns=True)
    if TEMPLATE in prefix:
        return sentence("a file for all registries cannot name each in its path")
    if prefix and not dialect.override_path:
        return sentence("this version cannot ask below a path of its host")
    return None


def _server(hop: Hop, registry: str, dialect: Dialect) -> str:
    """``server`` and what it needs, before any table: behind one they would belong to that table."""
    limits = [] if hop.capabilities == BOTH else [_capabilities(hop, dialect)]
    return "".join([f'server = "{url_of(hop, registry)}"\n', *limits, *_options(hop, registry)])


def _table(hop: Hop, registry: str, dialect: Dialect) -> str:
    lines = [f'\n[host."{url_of(hop, registry)}"]\n', _capabilities(hop, dialect)]
    if hop.dial_seconds is not None and dialect.dial_timeout:
        lines.append(f'dial_timeout = "{hop.dial_seconds:g}s"\n')
    return "".join([*lines, *_options(hop, registry)])


def _capabilities(hop: Hop, dialect: Dialect) -> str:
    """What is attached to an image is a matter of trust, as what a tag means is."""
    names = [name for name in (PULL, RESOLVE) if name in hop.capabilities]
    names += ["referrers"] if dialect.referrers and hop.resolves else []
    quoted = ", ".join(f'"{name}"' for name in names)
    return f"capabilities = [{quoted}]\n"


def _options(hop: Hop, registry: str) -> Sequence[str]:
    """Only what is needed: with any TLS key, an ``http://`` host would first be asked by HTTPS."""
    lines = []
    if hop.prefix_for(registry, sends_ns=True):
        lines.append("override_path = true\n")
    if hop.ca is not None:
        lines.append(f'ca = "{_name(hop)}.ca.pem"\n')
    if hop.client_cert is not None and hop.client_key is not None:
        lines.append(f'client = [["{_name(hop)}.cert.pem", "{_key_name(hop)}"]]\n')
    elif hop.client_cert is not None:
        lines.append(f'client = "{_name(hop)}.cert.pem"\n')
    if hop.insecure:
        lines.append("skip_verify = true\n")
    return lines


def url_of(hop: Hop, registry: str) -> str:
    """How a hosts.toml for ``registry`` names ``hop``."""
    prefix = hop.prefix_for(registry, sends_ns=True)
    return f"{hop.base}/v2/{prefix}" if prefix else hop.base


def _certificates(hop: Hop) -> dict[str, str]:
    found = {f"{_name(hop)}.ca.pem": hop.ca, f"{_name(hop)}.cert.pem": hop.client_cert}
    return {name: text for name, text in found.items() if text is not None}


def _key_name(hop: Hop) -> str:
    return f"{_name(hop)}.key.pem"


def _name(hop: Hop) -> str:
    """A file name; ``.pem``, since ``.crt``, ``.cert`` and ``.key`` mean something of their own there."""
    return "".join(c if c.isalnum() or c in ".-" else "_" for c in hop.netloc)
