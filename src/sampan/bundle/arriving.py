"""A blob on its way into its place in a bundle, from hosts or from the store.

Guarantees that it counts as there only when its bytes were hashed where they lie, and that a process which
is killed at any instant leaves a note that claims no byte more than was written: the next run goes on from
that. What a power cut makes of note and bytes is found by hashing, like every other damage.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from sampan.bundle.region import Region
from sampan.errors import ContentMismatch, StoreError
from sampan.oci.digest import Digest, new_hasher
from sampan.store.hashing import READ_BYTES
from sampan.store.pieces import NOTE_BYTES_MAX, PieceNote
from sampan.store.spans import Spans

if TYPE_CHECKING:
    from hashlib import _Hash as Hasher
    from io import FileIO

    from sampan.store.content import Buffer
    from sampan.store.directory import Directory


class Note:
    """Which bytes of ``digest`` are there, in a small file of ``directory`` that one process writes."""

    def __init__(self, directory: Directory, digest: Digest) -> None:
        self._directory = directory
        self._name = f"{digest.algorithm}-{digest.hex}"
        self._file = PieceNote(directory, self._name)

    def read(self, size: int) -> Spans:
        """None of them where there is no note, or one that says impossible things."""
        data = self._directory.read(self._name, size_max=NOTE_BYTES_MAX)
        spans = Spans.from_text(data.decode("ascii", "replace")) if data else None
        return Spans() if spans is None or spans.end > size else spans

    def write(self, spans: Spans) -> None:
        """In place, after the bytes that it tells of."""
        self._file.write(spans)

    def close(self) -> None:
        """Keep it for the next run."""
        self._file.close()


class Arriving:
    """An :class:`~sampan.store.content.Ingest` into ``region``, which it closes at the end."""

    resumable = True

    def __init__(self, digest: Digest, region: Region, note: Note) -> None:
        self.digest = digest
        self.size: int | None = region.size
        self._region = region
        self._note = note
        self._lock = threading.RLock()
        self._spans = note.read(region.size)
        self._offset = self._spans.prefix
        self.resumed_bytes = self._spans.total
        self._hasher: Hasher | None = None if self._offset else new_hasher(digest.algorithm)

    @property
    def path(self) -> Path:
        return self._region.path

    @property
    def offset(self) -> int:
        return self._offset

    @property
    def spans(self) -> Spans:
        return Spans(self._spans)

    @property
    def is_noted_whole(self) -> bool:
        """Whether all of it was there once; its bytes are still to be looked at."""
        return self._spans.total == self._region.size

    def rehash(self) -> int:
        with self._lock:
            if self._hasher is None:
                hasher = new_hasher(self.digest.algorithm)
                if self._region.hash(hasher, 0, self._offset) < self._offset:
                    self._begin_afresh()  # a file of ours is shorter than its note: a power cut
                    hasher = new_hasher(self.digest.algorithm)
                self._hasher = hasher
            return self._offset

    def write(self, data: Buffer | Iterable[Buffer]) -> None:
        with self._lock:
            self.place(self._spans.prefix, data)

    def place(self, start: int, data: Buffer | Iterable[Buffer]) -> None:
        view = memoryview(data if isinstance(data, bytes | bytearray | memoryview) else b"".join(data))
        with self._lock:
            self.rehash()
            if start + len(view) > self._region.size:
                raise ContentMismatch(f"more than the {self._region.size} bytes that {self.digest} has")
            if start < self._offset:
                raise ValueError(f"the bytes from {start} to {self._offset} are there already")
            while view:
                count = self._region.write(view, start)
                self._wrote(view[:count], start)
                view, start = view[count:], start + count
            self._catch_up(READ_BYTES)
            self._note.write(self._spans)

    def _wrote(self, view: memoryview, start: int) -> None:
        assert self._hasher is not None
        if start == self._offset:
            self._hasher.update(view)
            self._offset += len(view)
        self._spans.add(start, start + len(view))

    def _catch_up(self, count_max: int | None = None) -> None:
        """Hash what is there behind the hash without a gap."""
        assert self._hasher is not None
        stop = self._spans.prefix
        if count_max is not None:
            stop = min(stop, self._offset + count_max)
        self._offset = self._region.hash(self._hasher, self._offset, stop)

    def forget(self, start: int, stop: int) -> None:
        with self._lock:
            self._spans.cut(start, stop)
            self._note.write(self._spans)
            if start < self._offset:
                self._offset, self._hasher = self._spans.prefix, None
            self.resumed_bytes = min(self.resumed_bytes, self._spans.total)

    def read(self, start: int, stop: int) -> bytes:
        return self._region.read(start, stop)

    def rewind(self, offset: int = 0) -> None:
        with self._lock:
            if not 0 <= offset <= self._offset:
                raise ValueError(f"cannot rewind from {self._offset} to {offset}")
            self.forget(offset, self._region.size)
            self.rehash()

    def _begin_afresh(self) -> None:
        self._spans = Spans()
        self._note.write(self._spans)
        self._offset = self.resumed_bytes = 0

    def open_reader(self) -> FileIO:
        raise StoreError(f"{self.digest} goes into a bundle, and cannot be read on its way")

    def matches(self) -> bool:
        with self._lock:
            self.rehash()
            self._catch_up()
            assert self._hasher is not None
            if not self._spans.is_prefix or self._offset != self._region.size:
                return False
            return Digest.from_hasher(self._hasher) == self.digest

    def commit(self) -> int:
        """See the contract. The disk is asked once, when the whole bundle is there."""
        with self._lock:
            if not self.matches():
                self._mismatch()
            self._note.write(self._spans)
            self.suspend()
            return self._region.size

    def _mismatch(self) -> NoReturn:
        self.discard()
        raise ContentMismatch(f"{self._offset} bytes that are not {self.digest}")

    def suspend(self) -> None:
        with self._lock:
            self._region.close()
            self._note.close()

    def discard(self) -> None:
        with self._lock:
            self._begin_afresh()
            self.suspend()
