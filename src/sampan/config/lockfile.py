"""``sampan.lock`` read: from the file to a :class:`Lock`, or an error that names the line.

It guarantees that whatever is wrong is told at once, in the words and with the places of ``sampan.toml``'s
own mistakes. It writes a lock too, whole or not at all; what stands in it is decided elsewhere.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from sampan.config.document import read_table, read_text
from sampan.config.problems import Problems
from sampan.config.schema import Table
from sampan.config.writing import replace_file
from sampan.errors import ConfigError, SampanError, StoreError, printable
from sampan.lock.document import READABLE, VERSION, Lock, Locked, PlatformManifest
from sampan.oci import Digest, Reference

FILE_NAME = "sampan.lock"
FILE_BYTES_MAX = 8 * 1024 * 1024  # some five thousand images


class PlatformTable(Table, frozen=True):
    """One of ``platforms``; in the first version of the format it was the digest alone."""

    digest: str
    size: int


class ImageTable(Table, frozen=True):
    """``[image."REFERENCE"]``: one tag."""

    digest: str
    media_type: str
    size: int
    groups: list[str]
    hosts: list[str]
    resolved_at: str
    platforms: dict[str, str | PlatformTable] = msgspec.field(default_factory=dict)


class LockTable(Table, frozen=True):
    """The whole file."""

    version: int = 0  # required: no format has this number
    image: dict[str, ImageTable] = msgspec.field(default_factory=dict)


def read_lock(path: Path) -> Lock:
    """The lock at ``path``. Raises :class:`ConfigError`, also when there is no such file."""
    hint = "sampan lock create REFERENCE writes one"
    return parse_lock(read_text(path, what="lock", hint=hint, bytes_max=FILE_BYTES_MAX), str(path))


def parse_lock(text: str, name: str) -> Lock:
    """The lock that ``text`` is; ``name`` stands in errors. Raises :class:`ConfigError`."""
    table, problems = read_table(text, name, LockTable)
    if table.version not in READABLE:
        hint = "a newer sampan wrote it" if table.version > VERSION else None
        problems.add(("version",), f"expected {VERSION}, got {table.version}", hint)
        problems.raise_any()
    images: dict[str, Locked] = {}
    for key, image in table.image.items():
        with problems.at("image", key):
            locked = _locked(key, image, problems)
            if locked is not None and images.setdefault(str(locked.reference), locked) is not locked:
                raise ConfigError(f"expected each image once, got {locked.reference} under two names")
    problems.raise_any()
    return Lock(tuple(images[name] for name in sorted(images)))


def write_lock(path: Path, lock: Lock) -> bool:
    """Put ``lock`` in place of what is at ``path``, at once; whether anything changed. Raises StoreError."""
    data = lock.text().encode()
    try:
        if path.is_file() and path.read_bytes() == data:
            return False
        replace_file(path, data)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StoreError(
            f"cannot write the lock {path}: {reason}", hint="name another file with -o"
        ) from error
    return True


def _locked(key: str, table: ImageTable, problems: Problems) -> Locked | None:
    reference = Reference.parse(key, default_tag=None)
    if reference.tag is None or reference.digest is not None:
        raise ConfigError(
            "expected a reference with a tag and no digest", hint='as in "docker.io/library/alpine:3"'
        )
    place = ("image", key)
    digest = _digest(table.digest, (*place, "digest"), problems)
    moment = _moment(table.resolved_at, (*place, "resolved_at"), problems)
    _check_size(table.size, place, problems)
    platforms = {
        name: found
        for name, entry in table.platforms.items()
        if (found := _platform(entry, (*place, "platforms", name), problems)) is not None
    }
    if digest is None or moment is None:
        return None
    witnesses = tuple(sorted(table.hosts)), tuple(sorted(table.groups))
    return Locked(reference, digest, table.media_type, table.size, platforms, *witnesses, moment)


def _platform(
    entry: str | PlatformTable, place: tuple[str, ...], problems: Problems
) -> PlatformManifest | None:
    if isinstance(entry, str):
        digest, size = _digest(entry, place, problems), None
    else:
        _check_size(entry.size, place, problems)
        digest, size = _digest(entry.digest, (*place, "digest"), problems), entry.size
    return None if digest is None else PlatformManifest(digest, size)


def _check_size(size: int, place: tuple[str, ...], problems: Problems) -> None:
    if size < 0:
        problems.add((*place, "size"), f"expected a size in bytes, got {size}")


def _digest(text: str, place: tuple[str, ...], problems: Problems) -> Digest | None:
    try:
        return Digest.parse(text)
    except SampanError as error:
        problems.add(place, error.message, error.hint)
    return None


def _moment(text: str, place: tuple[str, ...], problems: Problems) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    got = printable(text, characters_max=40)
    problems.add(place, f'expected a time as "2026-01-31T12:00:00Z", got "{got}"')
    return None
