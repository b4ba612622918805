"""hosts.toml directories as entries: which directory answers for a registry, and what its file makes of it.

containerd, nerdctl and Docker's containerd image store read the same. What drops a whole file, or a host of
it, is known to :mod:`sampan.runtimes.hosts_check`; here is what is left, with all that a request needs.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sampan.doctor.chain.certificates import usable_authority, usable_pair
from sampan.doctor.chain.contract import Entry
from sampan.oci.loose_url import port_of, split_loosely
from sampan.oci.reference import DOCKER_HUB, origin_url
from sampan.runtimes.hosts_check import check
from sampan.runtimes.hosts_toml import FILE_NAME, Dialect
from sampan.runtimes.toml_text import TomlText, parse
from sampan.runtimes.tree import Tree

_LOOPBACK = re.compile(r"(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?::(\d+))?")
_DURATION = re.compile(r"(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_EVERYTHING = ("pull", "resolve", "push")


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads: the ``dialect`` of its hosts.toml; ``tls_first``: an ``http://`` host with keys of TLS is
    asked by HTTPS, and by HTTP when it turns out to have none (containerd since 1.6.25, 1.7.7)."""

    tree: Tree
    dialect: Dialect
    tls_first: bool = True


def entries_of(reader: Reader, roots: Sequence[str], registry: str) -> tuple[Entry, ...]:
    """Whom a resolver asks for ``registry`` by the directories ``roots``, in order, the last resort
    included. Raises Unusable."""
    for path in _directories(roots, registry):
        if reader.tree.exists(path):
            return tuple(_read(reader, path, registry))
    return (default_entry(registry),)


def default_entry(registry: str, **options: Any) -> Entry:  # noqa: ANN401 - the fields' own types
    """Who is asked for ``registry`` where no file says otherwise."""
    local = _LOOPBACK.fullmatch(registry)
    if local is not None and local[1] not in (None, "443"):
        return Entry("http", registry, **options)
    parts = split_loosely(origin_url(registry))
    return Entry(parts.scheme, parts.netloc, **{"insecure": local is not None, **options})


def namespace_for(netloc: str, registry: str) -> str | None:
    """What a host is sent as ``ns``: nothing, where it is the registry itself."""
    own = {registry} | ({split_loosely(origin_url(registry)).netloc} if registry == DOCKER_HUB else set())
    return None if netloc in own else registry


def _directories(roots: Sequence[str], registry: str) -> Iterator[str]:
    host, colon, port = registry.rpartition(":")
    names = [f"{host}_{port}_"] if colon and port.isdigit() else []
    for root in roots:
        yield from (posixpath.join(root, name) for name in (*names, registry, "_default"))


def _read(reader: Reader, directory: str, registry: str) -> Iterator[Entry]:
    tree, dialect = reader.tree, reader.dialect
    file = tree.file(f"{directory}/{FILE_NAME}")
    if file.data:
        checked = check(file.path, file.data, registry, dialect, lambda _: True)
        if checked.hosts is not None:
            toml = parse(file.data.removeprefix(b"\xef\xbb\xbf"))
            yield from _hosts(reader, directory, toml, registry, checked.hosts)
            return
    yield default_entry(registry, **_beside(tree, directory))


def _beside(tree: Tree, directory: str) -> dict[str, Any]:
    """The certificates of a directory without a hosts.toml. Raises Unusable."""
    names = tree.directory(directory).names
    authorities = [usable_authority(tree, f"{directory}/{name}") for name in names if name.endswith(".crt")]
    pairs = []
    for name in names:
        if name.endswith(".cert"):
            key = f"{name[:-5]}.key"
            paths = [f"{directory}/{each}" for each in (name, key if key in names else name)]
            pairs.append(usable_pair(tree, *paths))
    return {"certificates": tuple(authorities), "client": pairs[0] if pairs else None}


def _hosts(
    reader: Reader, directory: str, toml: TomlText, registry: str, asked: Sequence[str]
) -> Iterator[Entry]:
    """``asked`` ends with the last resort, but for ``_default``, where that is the registry itself."""
    path = f"{directory}/{FILE_NAME}"
    tables = toml.table.get("host", {})
    for url in asked:
        if isinstance(tables.get(url), dict):
            place = f"{path}:{toml.line('host', url) or 1}"
            yield _entry(reader, directory, url, tables[url], registry, place)
    server = toml.table.get("server")
    root = {key: value for key, value in toml.table.items() if key not in ("host", "server")}
    if isinstance(server, str) and server:
        place = f"{path}:{toml.line('server') or 1}"
        yield _entry(reader, directory, server, root, registry, place)
    else:
        yield default_entry(registry, **_options(reader, directory, root))


def _entry(
    reader: Reader, directory: str, url: str, keys: Mapping[str, Any], registry: str, place: str
) -> Entry:
    parts = split_loosely(url if url.startswith("http") else f"https://{url}")
    override = bool(keys.get("override_path")) and reader.dialect.override_path
    path = posixpath.normpath(parts.path) if parts.path else ""
    path = "" if path in ("/", "//") else path
    if not override and not path.endswith("/v2"):
        path += "/v2"
    tls = {"ca", "client", "skip_verify"} & set(keys)
    falls = parts.scheme == "http" and bool(tls) and port_of(parts) != 80 and reader.tls_first
    return Entry(
        "https" if falls else parts.scheme,
        parts.netloc,
        path,
        namespace=namespace_for(parts.netloc, registry),
        may_be_http=falls,
        place=place,
        **_options(reader, directory, keys),
    )


def _options(reader: Reader, directory: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    capabilities = {str(each).lower() for each in keys.get("capabilities") or _EVERYTHING}
    tree, names = reader.tree, _several(keys.get("ca"))
    authorities = tuple(usable_authority(tree, posixpath.join(directory, str(name))) for name in names)
    pairs = [usable_pair(tree, *_halves(directory, value)) for value in _several(keys.get("client"))]
    return {
        "resolves": {"pull", "resolve"} <= capabilities,  # one that may only resolve is not asked to
        "pulls": "pull" in capabilities,
        "certificates": authorities,
        "client": pairs[0] if pairs else None,
        "insecure": keys.get("skip_verify") is True,
        "headers": _headers(keys.get("header")),
        "dial_seconds": _seconds(keys.get("dial_timeout")) if reader.dialect.dial_timeout else None,
    }


def _several(value: object) -> list[Any]:
    """One, or a list."""
    if isinstance(value, list):
        return value
    return [] if value in (None, "") else [value]


def _halves(directory: str, value: object) -> tuple[str, str]:
    """Where a client's certificate is, and its key: the same file where one is named. An empty name
    is the directory."""
    names = ([str(each) for each in value] if isinstance(value, list) else [str(value)]) or [""]
    certificate, key = (posixpath.normpath(posixpath.join(directory, name)) for name in (names * 2)[:2])
    return certificate, key


def _headers(table: object) -> dict[str, str]:
    if not isinstance(table, Mapping):
        return {}
    return {
        str(name): ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in table.items()
    }


def _seconds(text: object) -> float | None:
    found = _DURATION.findall(text) if isinstance(text, str) else []
    return sum(float(number) * _SECONDS[unit] for number, unit in found) if found else None
