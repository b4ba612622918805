"""What tags mean, who said so and when: one small JSON file for each tag.

Guarantees that a record is read back as it was written or not at all: a torn or foreign file is no
record, and says so in the log. Stamps are kept as they were given, also from a clock that was wrong; how
long a tag is believed is the callers' question. The tags used last are kept in memory, and looked at
again on disk every few seconds, for another process may know better.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import OrderedDict
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from sampan.clock import SystemClock
from sampan.errors import InvalidDigest, StoreError
from sampan.oci.digest import Digest
from sampan.oci.manifest import Descriptor
from sampan.store.directory import Directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sampan.clock import Clock

RECORD_BYTES_MAX = 16 * 1024  # names have at most 255 characters each; the rest is short
REMEMBERED_MAX = 10_000  # records of about 1 KiB
LOOK_AGAIN_SECONDS = 2.0
NAME_CHARACTERS_MAX = 200  # file systems allow 255 bytes; the rest is for what is added
EARLIER_MAX = 16  # digests remembered of a tag: a mirror may be many moves behind
_SUFFIX = ".json"

_GARBAGE = (ValueError, KeyError, TypeError, OverflowError, RecursionError, InvalidDigest)

log = logging.getLogger(__name__)

Name = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class TagRecord:
    """What a tag names, by the word of ``host`` (the last to say so).

    ``changed_at``: when this digest was first heard; ``checked_at``: when it was last confirmed; both
    wall clock, seconds since the epoch. ``previous``: the digest before it, None for the first; ``earlier``:
    those before that, the last one first.
    """

    registry: str
    repository: str
    tag: str
    descriptor: Descriptor
    host: str
    checked_at: float
    changed_at: float
    previous: Digest | None = None
    earlier: tuple[Digest, ...] = ()

    @property
    def came_back(self) -> bool:
        """Whether it names what it had named before, and something else in between."""
        return self.descriptor.digest in self.earlier

    @property
    def name(self) -> str:
        """As people write it: ``registry/repository:tag``."""
        return f"{self.registry}/{self.repository}:{self.tag}"


@dataclass(slots=True)
class _Remembered:
    record: TagRecord
    identity: tuple[int, int, int] | None
    looked_at: float


class TagStore:
    """The records under ``directory``, made if absent. Thread-safe.

    All methods but ``recall`` may raise :class:`~sampan.errors.StoreError`, and block.
    """

    def __init__(
        self, directory: Path, clock: Clock = SystemClock(), *, remembered_max: int = REMEMBERED_MAX
    ) -> None:
        self._directory = Directory.root(directory)
        self._clock = clock
        self._remembered_max = remembered_max
        self._remembered: OrderedDict[Name, _Remembered] = OrderedDict()
        self._memory = threading.Lock()  # never held over disk work: a hit must not wait for an fsync
        self._writing = threading.RLock()

    def close(self) -> None:
        """Let go of the directory."""
        self._directory.close()

    def get(self, registry: str, repository: str, tag: str) -> TagRecord | None:
        """The record, or None when there is none that can be read."""
        name = (registry, repository, tag)
        if (record := self.recall(*name)) is not None:
            return record
        with self._memory:
            known = self._remembered.get(name)
        return self._look(name, known)

    def recall(self, registry: str, repository: str, tag: str) -> TagRecord | None:
        """As :meth:`get`, from memory alone, at once: None when it was not looked at lately."""
        name = (registry, repository, tag)
        with self._memory:
            known = self._remembered.get(name)
            if known is None:
                return None
            self._remembered.move_to_end(name)
            is_recent = abs(self._clock.monotonic() - known.looked_at) < LOOK_AGAIN_SECONDS
            return known.record if is_recent else None

    def _look(self, name: Name, known: _Remembered | None) -> TagRecord | None:
        """What is on disk; read only if the file is another than when it was read last."""
        record, identity = None, None
        with self._folder(name) as folder:
            if folder is not None:
                identity = _identity(folder.stat(_file_name(name[2])))
                if known is not None and identity is not None and known.identity == identity:
                    known.looked_at = self._clock.monotonic()
                    return known.record
                record = _read(folder, _file_name(name[2]))
        if record is not None and (record.registry, record.repository, record.tag) != name:
            log.warning("ignored a tag's record that is another's: %s", ":".join(name))
            record = None
        with self._memory:
            if self._remembered.get(name) is known:  # else a put was quicker, and knows better
                self._remember(name, record, identity)
        return record

    def put(
        self, registry: str, repository: str, tag: str, descriptor: Descriptor, *, host: str, now: float
    ) -> TagRecord:
        """``host`` says, at ``now`` (wall clock), that the tag names ``descriptor``."""
        name = (registry, repository, tag)
        plain = Descriptor(descriptor.media_type, descriptor.digest, descriptor.size)
        with self._writing:
            old = self.get(*name)
            if old is not None and old.descriptor.digest == plain.digest:
                record = replace(old, descriptor=plain, host=host, checked_at=now)
                durable = False
            else:
                record = TagRecord(*name, plain, host, now, now, *_history(old))
                durable = True
            self._write(name, record, durable=durable)
        return record

    def touch(self, registry: str, repository: str, tag: str, *, host: str, now: float) -> TagRecord | None:
        """``host`` confirms, at ``now``, what is known; None when nothing is.

        A power cut may undo it, which costs one question more: it does not wait for the directory.
        """
        name = (registry, repository, tag)
        with self._writing:
            old = self.get(*name)
            if old is None:
                return None
            record = replace(old, host=host, checked_at=now)
            self._write(name, record, durable=False)
        return record

    def forget(self, registry: str, repository: str, tag: str, *, digest: Digest | None = None) -> bool:
        """Remove the record, with ``digest`` only if it names that; whether it is gone by this call."""
        name = (registry, repository, tag)
        with self._writing:
            old = self.get(*name)
            if digest is not None and (old is None or old.descriptor.digest != digest):
                return False
            with self._memory:
                self._remembered.pop(name, None)
            with self._folder(name) as folder:
                return folder is not None and folder.unlink(_file_name(tag))

    def list(self, registry: str, repository: str) -> list[str]:
        """The tags that are known of a repository, sorted."""
        with self._folder((registry, repository, "")) as folder:
            names = [] if folder is None else folder.names()
        return sorted(unquote(name.removesuffix(_SUFFIX)) for name in names if name.endswith(_SUFFIX))

    def records(self) -> Iterator[TagRecord]:
        """All records, in no order; what cannot be read is left out, and logged."""
        for folder in self._folders():
            yield from filter(None, [_read(folder, name) for name in folder.names()])

    def drop_leftovers(self, before: float) -> None:
        """Remove what a killed process left, if last touched before that time."""
        for folder in self._folders():
            folder.drop_leftovers(before)

    def _folders(self) -> Iterator[Directory]:
        for name in self._directory.names():
            try:
                folder = self._directory.find_child(name)
            except StoreError as error:
                log.warning("ignored what is no folder of tags: %s", error.message)
                continue
            if folder is not None:
                with closing(folder):
                    yield folder

    @contextmanager
    def _folder(self, name: Name) -> Iterator[Directory | None]:
        folder = self._directory.find_child(_folder_name(name[0], name[1]))
        try:
            yield folder
        finally:
            if folder is not None:
                folder.close()

    def _write(self, name: Name, record: TagRecord, *, durable: bool) -> None:
        with closing(self._directory.child(_folder_name(name[0], name[1]))) as folder:
            folder.write(_file_name(name[2]), _render(record), durable=durable)
        with self._memory:
            # No identity: by now the file may be another process's, which the next look will tell.
            self._remember(name, record, None)

    def _remember(self, name: Name, record: TagRecord | None, identity: tuple[int, int, int] | None) -> None:
        self._remembered.pop(name, None)
        if record is not None:
            self._remembered[name] = _Remembered(record, identity, self._clock.monotonic())
        while len(self._remembered) > self._remembered_max:
            self._remembered.popitem(last=False)


def _history(old: TagRecord | None) -> tuple[Digest | None, tuple[Digest, ...]]:
    """``previous`` and ``earlier`` of the record that comes in place of ``old``."""
    if old is None:
        return None, ()
    earlier = (old.previous, *old.earlier) if old.previous is not None else ()
    return old.descriptor.digest, earlier[:EARLIER_MAX]


def _folder_name(registry: str, repository: str) -> str:
    """A repository as one readable name: ``docker.io+library+alpine``.

    Whatever is not plain is quoted, so that no name leads anywhere else, and no two become one.
    """
    plain = f"{quote(registry, safe='[]:')}+{quote(repository, safe='').replace('%2F', '+')}"
    if len(plain) <= NAME_CHARACTERS_MAX:
        return plain
    return f"{plain[:100]}~{sha256(f'{registry}/{repository}'.encode()).hexdigest()}"


def _file_name(tag: str) -> str:
    return quote(tag, safe="") + _SUFFIX


def _identity(found: os.stat_result | None) -> tuple[int, int, int] | None:
    """Changes whenever a file is replaced by another."""
    return None if found is None else (found.st_ino, found.st_mtime_ns, found.st_size)


def _read(folder: Directory, file_name: str) -> TagRecord | None:
    try:
        raw = folder.read(file_name, size_max=RECORD_BYTES_MAX)
        return None if raw is None else _parse(json.loads(raw))
    except (*_GARBAGE, StoreError) as error:
        log.warning("ignored a tag's record that cannot be read: %s: %s", folder.path / file_name, error)
        return None


def _render(record: TagRecord) -> bytes:
    descriptor = record.descriptor
    return json.dumps(
        {
            "registry": record.registry,
            "repository": record.repository,
            "tag": record.tag,
            "mediaType": descriptor.media_type,
            "digest": str(descriptor.digest),
            "size": descriptor.size,
            "host": record.host,
            "checkedAt": record.checked_at,
            "changedAt": record.changed_at,
            "previous": None if record.previous is None else str(record.previous),
            "earlier": [str(digest) for digest in record.earlier],
        },
        indent=1,
    ).encode()


def _parse(value: Any) -> TagRecord:  # noqa: ANN401  # JSON from a file that anyone may have written
    """Raises KeyError, TypeError, ValueError or InvalidDigest for what :func:`_render` did not write."""
    texts = {key: value[key] for key in ("registry", "repository", "tag", "mediaType", "digest", "host")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise TypeError("a text was expected")
    size, previous, earlier = value["size"], value["previous"], value.get("earlier", [])
    if not isinstance(previous, str | None) or not isinstance(earlier, list):
        raise TypeError("digests were expected")
    if not all(isinstance(digest, str) for digest in earlier):
        raise TypeError("a digest was expected")
    if type(size) is not int or size < 0:
        raise TypeError("the size is no count of bytes")
    return TagRecord(
        texts["registry"],
        texts["repository"],
        texts["tag"],
        Descriptor(texts["mediaType"], Digest.parse(texts["digest"]), size),
        texts["host"],
        _stamp(value["checkedAt"]),
        _stamp(value["changedAt"]),
        None if previous is None else Digest.parse(previous),
        tuple(Digest.parse(digest) for digest in earlier[:EARLIER_MAX]),
    )


def _stamp(value: Any) -> float:  # noqa: ANN401  # as above
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # NaN
        raise TypeError("a time was expected")
    return float(value)
