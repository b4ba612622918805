"""One hosts.toml read as containerd's resolver reads it: whom it asks, and what in it does nothing.

Guarantees that what makes the resolver drop the whole file, which it does without an error to anybody, is
told as that. What is said here of 1.x and 2.x was seen with the real programs.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sampan.errors import printable
from sampan.oci.loose_url import split_loosely
from sampan.oci.reference import DOCKER_HUB, origin_url
from sampan.runtimes.contract import Finding
from sampan.runtimes.hosts_toml import Dialect
from sampan.runtimes.toml_text import NotTomlError, TomlText, parse
from sampan.runtimes.wanted import EVERY_REGISTRY
from sampan.words import sentence

_CAPABILITIES = ("pull", "resolve", "push")
_TLS = ("ca", "client", "skip_verify")
_KEYS = ("capabilities", "override_path", "header", "dial_timeout", *_TLS)
_DURATION = re.compile(r"[+-]?(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))+|0")
Exists = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Checked:
    """``hosts``: whom is asked, in order, the last resort included; None: the file is dropped as a whole."""

    hosts: tuple[str, ...] | None
    findings: tuple[Finding, ...]


def check(path: str, data: bytes, registry: str, dialect: Dialect, exists: Exists) -> Checked:
    """The file at ``path``, which answers for ``registry``. ``exists``: whether a file that it names
    is there, seen from its directory."""
    dropped = _dropped(path, data, dialect)
    if dropped is not None:
        return Checked(None, (dropped,))
    toml = parse(data.removeprefix(b"\xef\xbb\xbf"))
    tables = _tables(toml.table)
    asked = [url for url in tables if not dialect.is_2 or _has_header(data, url)]
    server = toml.table.get("server")
    last = server if isinstance(server, str) else None if registry == EVERY_REGISTRY else origin_url(registry)
    findings = [*_root(path, toml, registry, dialect)]
    for url, keys in tables.items():
        findings += _host(path, toml, url, keys, dialect, exists, asked=url in asked)
    findings += _absent_files(path, toml, ("server",), toml.table, exists)
    findings += _resolvers(path, toml, [tables[url] for url in asked], last)
    return Checked((*asked, *([last] if last else ())), tuple(findings))


def _tables(table: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    hosts = table.get("host", {})
    return {u: t for u, t in hosts.items() if isinstance(t, dict)} if isinstance(hosts, dict) else {}


def _dropped(path: str, data: bytes, dialect: Dialect) -> Finding | None:
    line: int | None = None
    try:
        toml = parse(data if dialect.is_2 else data.removeprefix(b"\xef\xbb\xbf"))
        reason = sentence("it is empty") if not data else _wrong(toml, dialect)
        if reason is None:
            return None
        reason, line = reason if isinstance(reason, tuple) else (reason, None)
    except NotTomlError as error:
        reason, line = error.reason, error.line
    message = sentence(
        "{reason}, so the whole file is ignored, and with it every host that it names", reason=reason
    )
    return Finding("HOSTS_TOML_DROPPED", message, "dead", path, line, sentence("repair it"))


def _wrong(toml: TomlText, dialect: Dialect) -> str | tuple[str, int | None] | None:
    """What its reader cannot take although it is TOML."""
    if not isinstance(toml.table.get("host"), dict) and (not dialect.is_2 or "host" in toml.table):
        return sentence("containerd 1.x reads no file without a table [host.…]")
    places = [((), toml.table), *((("host", url), keys) for url, keys in _tables(toml.table).items())]
    for where, keys in places:
        for key, reason in _wrong_values(keys, dialect):
            return sentence("{key}: {reason}", key=key, reason=reason), toml.line(*where, key)
    return None


def _wrong_values(keys: Mapping[str, Any], dialect: Dialect) -> Iterator[tuple[str, str]]:
    known = (*_CAPABILITIES, *(("referrers",) if dialect.referrers else ()))
    found = keys.get("capabilities", [])
    if not isinstance(found, list):
        yield "capabilities", sentence("expected a list")
    else:
        for each in found:
            if str(each).lower() not in known:
                yield (
                    "capabilities",
                    sentence(
                        "this version does not know {word}", word=printable(str(each), characters_max=40)
                    ),
                )
    for key in ("skip_verify", "override_path"):
        if not isinstance(keys.get(key, False), bool):
            yield key, sentence("expected true or false")
    limit = keys.get("dial_timeout", "0")
    if dialect.dial_timeout and not (isinstance(limit, str) and _DURATION.fullmatch(limit)):
        yield "dial_timeout", sentence('expected a duration such as "2s"')


def _has_header(data: bytes, url: str) -> bool:
    """2.x takes the order from the headers of tables, and asks nobody who has none."""
    for line in data.decode("utf-8", "replace").splitlines():
        text = re.sub(r"\s*\.\s*", ".", line.strip(), count=1)
        if text.startswith((f'[host."{url}"', f"[host.'{url}'")):
            return True
    return False


def _root(path: str, toml: TomlText, registry: str, dialect: Dialect) -> Iterator[Finding]:
    server = toml.table.get("server")
    if isinstance(server, str) and split_loosely(server).netloc == DOCKER_HUB:
        hint = sentence('server = "{url}", or no server at all', url=origin_url(DOCKER_HUB))
        message = sentence("server names a web site: docker.io is no registry's host")
        yield Finding("SERVER_IS_DOCKER_IO", message, "error", path, toml.line("server"), hint)
    known = ("server", "host", *_KEYS)
    yield from _unknown(path, toml, (), toml.table, known, dialect)
    if registry == EVERY_REGISTRY or _tables(toml.table) or set(toml.table) & set(_KEYS):
        return
    if server in (None, origin_url(registry)):
        message = sentence(
            "it names nobody but {url}, who is asked without it as well",
            url=origin_url(registry),
        )
        yield Finding("HOSTS_TOML_NAMES_NOBODY", message, "note", path)


def _host(
    path: str,
    toml: TomlText,
    url: str,
    keys: Mapping[str, Any],
    dialect: Dialect,
    exists: Exists,
    *,
    asked: bool,
) -> Iterator[Finding]:
    where = ("host", url)
    line, shown = toml.line(*where), printable(url, characters_max=100)
    if not asked:
        message = sentence("{shown} is never asked: 2.x takes hosts from the headers of tables", shown=shown)
        yield Finding(
            "HOST_WITHOUT_HEADER",
            message,
            "dead",
            path,
            line,
            sentence('give it a table: [host."{shown}"]', shown=shown),
        )
    if "server" in keys:
        message = sentence(
            "server stands behind the header of a host, and so belongs to that host and does nothing"
        )
        yield Finding(
            "SERVER_IN_HOST_TABLE",
            message,
            "dead",
            path,
            toml.line(*where, "server"),
            sentence("move it to the top"),
        )
    yield from _unknown(path, toml, where, {k: v for k, v in keys.items() if k != "server"}, _KEYS, dialect)
    capabilities = [str(each).lower() for each in keys.get("capabilities", [])]
    if capabilities and not {"pull", "resolve"} & set(capabilities):
        message = sentence("{shown} may neither pull nor resolve: it is asked for nothing", shown=shown)
        yield Finding("HOST_DOES_NOTHING", message, "dead", path, toml.line(*where, "capabilities"))
    yield from _url(path, line, url, keys, dialect)
    yield from _absent_files(path, toml, where, keys, exists)


def _url(
    path: str, line: int | None, url: str, keys: Mapping[str, Any], dialect: Dialect
) -> Iterator[Finding]:
    shown = printable(url, characters_max=100)
    below = split_loosely(url).path.rstrip("/")
    if url.startswith("http://") and set(_TLS) & set(keys):
        message = sentence("{shown} has TLS keys, and so is first asked by HTTPS", shown=shown)
        yield Finding("HTTP_HOST_WITH_TLS", message, "warning", path, line, sentence("take them out"))
    if below.startswith("/v2/") and not (keys.get("override_path") and dialect.override_path):
        message = sentence("asked as {url}/v2/…: a path of one's own needs override_path = true", url=shown)
        if not dialect.override_path:
            message = sentence(
                "asked as {url}/v2/…: a path of one's own needs override_path = true, "
                "which this version does not know",
                url=shown,
            )
        yield Finding("HOST_PATH_NOT_OVERRIDDEN", message, "warning", path, line)


def _unknown(
    path: str,
    toml: TomlText,
    where: tuple[str, ...],
    keys: Mapping[str, Any],
    known: tuple[str, ...],
    dialect: Dialect,
) -> Iterator[Finding]:
    for key in keys:
        since = {"override_path": dialect.override_path, "dial_timeout": dialect.dial_timeout}.get(key, True)
        if key in known and since:
            continue
        near = difflib.get_close_matches(key, known, 1)
        hint = sentence("is {near} meant?", near=near[0]) if near and near[0] != key else None
        message = sentence(
            "{key} is ignored without a word: this version does not know it",
            key=printable(key, characters_max=60),
        )
        yield Finding("HOSTS_KEY_UNKNOWN", message, "dead", path, toml.line(*where, key), hint)


def _absent_files(
    path: str, toml: TomlText, where: tuple[str, ...], keys: Mapping[str, Any], exists: Exists
) -> Iterator[Finding]:
    for key in ("ca", "client"):
        value = keys.get(key, [])
        names = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        for name in (each for some in names for each in (some if isinstance(some, list) else [some])):
            if isinstance(name, str) and name and not exists(name):
                place = toml.line(*(where if where != ("server",) else ()), key)
                message = sentence(
                    "{key}: {name} is not there, and every pull of this registry fails",
                    key=key,
                    name=printable(name),
                )
                yield Finding("CERTIFICATE_ABSENT", message, "error", path, place)


def _resolvers(path: str, toml: TomlText, hosts: list[dict[str, Any]], last: str | None) -> Iterator[Finding]:
    def resolves(keys: Mapping[str, Any]) -> bool:
        return not keys.get("capabilities") or "resolve" in [str(c).lower() for c in keys["capabilities"]]

    if any(map(resolves, hosts)) or not hosts:
        return
    line = toml.line("host")
    if not resolves(toml.table):
        message = sentence("nobody may say what a tag means, so no image can be pulled by its tag")
        yield Finding("NO_RESOLVER", message, "error", path, line, sentence('add "resolve" to capabilities'))
    elif last is not None:
        message = sentence(
            "{last} alone may say what a tag means: where it is blocked, nothing is pulled",
            last=printable(last),
        )
        yield Finding("NO_RESOLVER", message, "note", path, line, sentence('add "resolve" to capabilities'))
