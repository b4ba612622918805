"""The ``[[registry]]`` entries of one registries.conf, as containers/image takes them or refuses them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sampan.errors import printable
from sampan.oci.reference import DOCKER_HUB, origin_url
from sampan.runtimes.toml_text import TomlText
from sampan.words import sentence

EVERY, DIGEST_ONLY, TAG_ONLY = "all", "digest-only", "tag-only"
_ENTRY_KEYS = frozenset(
    {"prefix", "location", "insecure", "blocked", "mirror", "mirror-by-digest-only", "pull-from-mirror"}
)
_MIRROR_KEYS = frozenset({"location", "insecure", "pull-from-mirror"})


class Wrong(ValueError):
    """Why a file is refused as a whole."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


@dataclass(frozen=True, slots=True)
class Mirror:
    """``location`` is ``host[:port][/path]``; ``insecure``: HTTP too, and certificates that prove nothing."""

    location: str
    insecure: bool = False
    pulls: str = EVERY


@dataclass(frozen=True, slots=True)
class Registry:
    """One entry. ``strays``: keys in it that nobody reads there."""

    prefix: str
    location: str
    insecure: bool
    blocked: bool
    mirrors: tuple[Mirror, ...]
    path: str
    line: int | None
    strays: tuple[str, ...] = ()

    @property
    def urls(self) -> tuple[str, ...]:
        """Whom it asks, in order, as URLs; ``http`` where that is tried as well. Of a blocked registry its
        mirrors are asked all the same."""
        mirrors = tuple(_url(mirror.location, mirror.insecure) for mirror in self.mirrors)
        if self.blocked:
            return mirrors
        origin = origin_url(DOCKER_HUB) if self.location == DOCKER_HUB else _url(self.location, self.insecure)
        return (*mirrors, origin)


def read_registries(parsed: TomlText, path: str) -> Iterator[Registry]:
    """Raises :class:`Wrong` for what containers/image refuses."""
    entries = parsed.table.get("registry", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise Wrong(sentence("registry: expected tables, written [[registry]]"))
    secure: dict[str, Registry] = {}
    for index, entry in enumerate(entries):
        found = _registry(entry, path, parsed.line("registry", index))
        first = secure.setdefault(found.location, found)
        if (first.insecure, first.blocked) != (found.insecure, found.blocked):
            raise Wrong(
                sentence(
                    "{location} is there twice, once insecure or blocked and once not",
                    location=found.location,
                ),
                found.line,
            )
        yield found


def _registry(entry: Mapping[str, Any], path: str, line: int | None) -> Registry:
    location, prefix = _word(entry, "location", line), _word(entry, "prefix", line)
    if not location and not prefix:
        raise Wrong(sentence("a [[registry]] without location and prefix"), line)
    if not location and not prefix.startswith("*."):
        raise Wrong(
            sentence("{prefix}: location may be left out only of a prefix like *.example.com", prefix=prefix),
            line,
        )
    _check_location(location, line)
    mirrors = entry.get("mirror", [])
    if not isinstance(mirrors, list) or not all(isinstance(mirror, dict) for mirror in mirrors):
        raise Wrong(sentence("mirror: expected tables, written [[registry.mirror]]"), line)
    by_digest = _flag(entry, "mirror-by-digest-only", line)
    read = tuple(_mirror(mirror, line, by_digest=by_digest) for mirror in mirrors)
    strays = [key for key in entry if key not in _ENTRY_KEYS]
    strays += [key for mirror in mirrors for key in mirror if key not in _MIRROR_KEYS]
    return Registry(
        prefix or location,
        location or prefix,
        _flag(entry, "insecure", line),
        _flag(entry, "blocked", line),
        read,
        path,
        line,
        tuple(strays),
    )


def _mirror(mirror: Mapping[str, Any], line: int | None, *, by_digest: bool) -> Mirror:
    location = _word(mirror, "location", line)
    if not location:
        raise Wrong(sentence("a [[registry.mirror]] without location"), line)
    _check_location(location, line)
    pulls = _word(mirror, "pull-from-mirror", line)
    if pulls not in ("", EVERY, DIGEST_ONLY, TAG_ONLY):
        raise Wrong(
            sentence(
                "pull-from-mirror: expected all, digest-only or tag-only, got {pulls}", pulls=printable(pulls)
            ),
            line,
        )
    if pulls and by_digest:
        raise Wrong(sentence("mirror-by-digest-only and pull-from-mirror exclude each other"), line)
    return Mirror(location, _flag(mirror, "insecure", line), DIGEST_ONLY if by_digest else pulls or EVERY)


def _check_location(location: str, line: int | None) -> None:
    if "://" in location:
        raise Wrong(
            sentence(
                "a location has no scheme: {location}", location=printable(location, characters_max=100)
            ),
            line,
        )


def _word(table: Mapping[str, Any], key: str, line: int | None) -> str:
    found = table.get(key, "")
    if not isinstance(found, str):
        raise Wrong(sentence("{key}: expected text", key=key), line)
    return found.rstrip("/") if key != "pull-from-mirror" else found


def _flag(table: Mapping[str, Any], key: str, line: int | None) -> bool:
    found = table.get(key, False)
    if not isinstance(found, bool):
        raise Wrong(sentence("{key}: expected true or false", key=key), line)
    return found


def _url(location: str, insecure: bool) -> str:
    return f"{'http' if insecure else 'https'}://{location}"
