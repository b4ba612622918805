"""A file that says which images a mirror has, in the form that public mirrors publish: one name a line.

    docker.io/library/nginx          # this one
    docker.io/bitnami/*              # one level
    ghcr.io/mycorp/**                # any depth
    registry.k8s.io/**               # a whole registry

It guarantees bounded work on any bytes, that a line which is none is an error that names it, and that
registries are known by their canonical names. Byte order marks, CRLF, empty lines and what follows a ``#``
are passed over. Which mirror the file is for is decided in :mod:`sampan.config.mirrors`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from sampan.errors import ConfigError, InvalidReference, printable
from sampan.oci.pattern import Patterns
from sampan.oci.reference import DOCKER_HUB, canonical_registry, parse_registry

MARK = "file:"  # before the path, in ``allow``: a colon can stand in no pattern
FILE_BYTES_MAX = 1024 * 1024  # the largest that is known has 1,300 lines in 40 KB
LINES_MAX = 100_000
REGISTRIES_MAX = 500  # half of the tables that a configuration may have
LINE_CHARACTERS_MAX = 512  # a registry and a repository have 255 at most, each
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PART = r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*+"
_REPOSITORIES = re.compile(rf"(?:{_PART}/)*+(?:{_PART}|\*\*?)", re.ASCII)
_HINT = "a name a line, with its registry: docker.io/library/nginx, ghcr.io/mycorp/* or registry.k8s.io/**"


def read_allow_list(path: Path) -> Mapping[str, Patterns]:
    """What the file at ``path`` allows, patterns of repositories by registry.

    Raises :class:`ConfigError`.
    """
    try:
        if path.exists() and not path.is_file():  # to open a pipe would be to wait for its writer
            raise ConfigError(
                f"expected a list of allowed images, got {path}: not a regular file", hint=_HINT
            )
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(
            f"cannot read the list of allowed images {path}: {reason}",
            hint="relative paths start at the configuration file's directory",
        ) from error
    return parse_allow_list(data, str(path))


def parse_allow_list(data: bytes, name: str) -> Mapping[str, Patterns]:
    """What ``data``, the content of the file called ``name``, allows. Raises :class:`ConfigError`."""
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError(f"{name}: expected at most {FILE_BYTES_MAX} bytes, got more", hint=_HINT)
    found: dict[str, list[str]] = {}
    for number, line in _lines(data, name):
        registry, repositories = _meant(line, f"{name}:{number}")
        found.setdefault(registry, []).append(repositories)
        if len(found) > REGISTRIES_MAX:
            raise ConfigError(f"{name}: expected at most {REGISTRIES_MAX} registries, got more", hint=_HINT)
    if not found:
        raise ConfigError(f"{name}: expected at least one name, got none", hint=_HINT)
    return {registry: Patterns(dict.fromkeys(names)) for registry, names in found.items()}


def _lines(data: bytes, name: str) -> Iterator[tuple[int, str]]:
    """The lines that say something, with their numbers."""
    lines = data.removeprefix(BYTE_ORDER_MARK).split(b"\n", LINES_MAX)
    if len(lines) > LINES_MAX and lines.pop():
        raise ConfigError(f"{name}: expected at most {LINES_MAX} lines, got more", hint=_HINT)
    for number, raw in enumerate(lines, 1):
        try:
            line = raw.decode("utf-8").partition("#")[0].strip()
        except UnicodeDecodeError as error:
            raise ConfigError(f"{name}:{number}: expected UTF-8 text, got other bytes", hint=_HINT) from error
        if line:
            yield number, line


def _meant(line: str, place: str) -> tuple[str, str]:
    """The canonical registry and the pattern of repositories that a line means."""
    registry, _, repositories = line.partition("/")
    if len(line) <= LINE_CHARACTERS_MAX and _REPOSITORIES.fullmatch(repositories):
        try:
            name = canonical_registry(parse_registry(registry.lower()))
        except InvalidReference as error:
            raise ConfigError(f"{place}: {error.message}", hint=_HINT) from error
        is_official = name == DOCKER_HUB and "/" not in repositories and "*" not in repositories
        return name, f"library/{repositories}" if is_official else repositories
    raise ConfigError(
        f'{place}: expected the name of an image without a tag, got "{printable(line, characters_max=80)}"',
        hint=_HINT,
    )
