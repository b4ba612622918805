"""``registry.mirrors`` and ``registry.configs`` of config.toml in the words of hosts.toml.

Guarantees that whom containerd asked by these keys it asks by hosts.toml in the same order and at the same
paths, or that a note says what is lost. Logins (``configs.HOST.auth``) are in force beside ``config_path`` in
all versions, 1.6 to 2.1 tried, and stay where they are: hosts.toml has no place for a login but a header.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sampan.errors import printable
from sampan.oci.loose_url import split_loosely
from sampan.oci.reference import DOCKER_HUB, is_hub_itself, origin_url
from sampan.runtimes.containerd.registry import Registry
from sampan.runtimes.hosts_kept import Kept
from sampan.runtimes.wanted import EVERY_REGISTRY
from sampan.words import sentence

_LOOPBACK = re.compile(r"(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?::\d+)?")
_TLS_KEYS = {"insecure_skip_verify": "skip_verify", "ca_file": "ca"}


@dataclass(frozen=True, slots=True)
class Legacy:
    """By registry, what is to be in its hosts.toml."""

    kept: Mapping[str, Kept] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def never_read(key: str) -> str | None:
    """Why a key of ``registry.mirrors`` matches no image; None: it may."""
    if "://" in key:
        return sentence("it has a scheme")
    if is_hub_itself(key):
        return sentence("images of Docker Hub are looked up as {registry}", registry=DOCKER_HUB)
    if "/" in key or "@" in key:
        return sentence("the host of an image is looked up, as a whole and without a path")
    return None


def endpoint_problem(endpoint: str) -> str | None:
    """What is wrong with the path of a mirror, which is taken as it is written."""
    path = split_loosely(with_scheme(endpoint)).path
    if path == "/":
        return sentence("the slash at its end takes the /v2 out of every URL")
    if path and not path.startswith("/v2"):
        return sentence("its path is taken as it is, without /v2 before it")
    return None


def with_scheme(endpoint: str) -> str:
    """As containerd completes it."""
    if "://" in endpoint:
        return endpoint
    return f"{'http' if _LOOPBACK.match(endpoint) else 'https'}://{endpoint}"


def move(registry: Registry, *, override_path: bool) -> Legacy:
    """All mirrors, and of 1.x the TLS settings, which ``config_path`` does not go with."""
    notes: list[str] = []
    tls = {} if registry.is_2 else {name: _tls_options(registry, name) for name in registry.tls}
    kept: dict[str, Kept] = {}
    for key, mirror in _mirrors(registry).items():
        if (reason := never_read(key)) is not None:
            notes.append(
                sentence(
                    'mirrors."{key}" is left out, since it never was in force: {reason}',
                    key=printable(key),
                    reason=reason,
                )
            )
            continue
        kept[key] = _kept(key, mirror, tls, notes, override_path=override_path)
    for netloc, options in tls.items():
        name = DOCKER_HUB if netloc == split_loosely(origin_url(DOCKER_HUB)).netloc else netloc
        asked = any(split_loosely(url).netloc == netloc for each in kept.values() for url in each.hosts)
        if options and not asked:
            kept[name] = kept.get(name, Kept()).joined(Kept({}, origin_url(name), options))
    return Legacy({name: each for name, each in kept.items() if each != Kept()}, tuple(notes))


def _mirrors(registry: Registry) -> dict[str, list[str]]:
    """Those in force, and those of a table that is taken away since a later version would read it."""
    parts = [*registry.mirrors.items()]
    parts += [(key, part) for part in registry.parts if part.awaits for key in part.tables("mirrors")]
    found: dict[str, list[str]] = {}
    for key, part in parts:
        endpoints = part.tables("mirrors")[key].get("endpoint", [])
        known = found.setdefault(key, [])
        known += [each for each in endpoints if isinstance(each, str) and each not in known]
    return found


def _kept(
    key: str,
    endpoints: list[str],
    tls: Mapping[str, dict[str, Any]],
    notes: list[str],
    *,
    override_path: bool,
) -> Kept:
    origin = None if key == EVERY_REGISTRY else origin_url(key)
    hosts: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        url = with_scheme(endpoint)
        parts = split_loosely(url)
        path = parts.path.rstrip("/")
        base = f"{parts.scheme}://{parts.netloc}"
        if base == origin and path in ("", "/v2"):
            continue  # it is asked last in any case
        options: dict[str, Any] = {"capabilities": ["pull", "resolve"]}
        if path not in ("", "/v2"):
            if not override_path:
                notes.append(
                    sentence(
                        "{key}: {url} is left out: this version cannot ask below a path",
                        key=key,
                        url=printable(url),
                    )
                )
                continue
            base, options["override_path"] = f"{base}{path}", True
        if parts.scheme == "https":
            options |= tls.get(parts.netloc, {})
        hosts[base] = options
    own = {} if origin is None else tls.get(split_loosely(origin).netloc, {})
    return Kept(hosts, origin if own else None, own)


def _tls_options(registry: Registry, name: str) -> dict[str, Any]:
    table = registry.configs[name].tables("configs")[name].get("tls")
    if not isinstance(table, dict):
        return {}
    options: dict[str, Any] = {ours: table[key] for key, ours in _TLS_KEYS.items() if table.get(key)}
    if table.get("cert_file"):
        key = table.get("key_file")
        options["client"] = [[table["cert_file"], key]] if key else table["cert_file"]
    return options
