"""Bytes on their way in: one file under ``ingest/``, locked by its one writer.

Guarantees that a file reaches ``blobs/`` only after its bytes were hashed, found right and confirmed by
the disk, in the order verify, fsync, rename, fsync of the directory; a crash at any instant leaves either
a partial file here, to be gone on with, or a whole blob there. Bytes may come in any order: the running
hash follows those that are there from the beginning on. It does not fetch anything.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import suppress
from secrets import token_hex
from typing import TYPE_CHECKING, Protocol

from sampan.errors import ContentMismatch, StoreError, StoreFull
from sampan.oci.digest import Digest, new_hasher
from sampan.store.directory import NotAFile, same_file, store_error, try_lock
from sampan.store.hashing import READ_BYTES, hash_range
from sampan.store.pieces import PieceNote
from sampan.store.spans import Spans

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from hashlib import _Hash as Hasher
    from io import FileIO
    from pathlib import Path

    from sampan.store.content import Buffer
    from sampan.store.directory import Directory

TAKE_UP_TRIES = 8  # the file may be committed or swept away between opening and locking it

log = logging.getLogger(__name__)


class Taken(StoreError):
    """Another writer has the digest's partial. Handled within the store: nobody else sees it."""


class Shelf(Protocol):
    """Where a verified file goes: the store's side of a commit."""

    def publish(self, source: Directory, name: str, digest: Digest, size: int) -> None:
        """Move ``name`` out of ``source`` to its digest, durably."""

    def find(self, digest: Digest) -> FileIO | None:
        """The committed file, without counting it as a use."""


class FileIngest:
    """An ingest in a file of ``directory``. See :class:`~sampan.store.content.Ingest`.

    The lock makes ``discard`` wait for a ``write`` that still runs in another thread: closing the file
    under it could send its bytes to whatever file gets the number next.
    """

    def __init__(
        self,
        directory: Directory,
        shelf: Shelf,
        digest: Digest,
        size: int | None,
        *,
        notes: Directory | None = None,
        alone: bool = False,
    ) -> None:
        """``notes``: where to remember the pieces of a partial; None for a private file. ``alone``: raise
        :class:`Taken` rather than begin a private one beside another writer."""
        self.digest = digest
        self.size = size
        self._directory = directory
        self._shelf = shelf
        self._lock = threading.RLock()
        shared = None
        try:
            shared = None if notes is None else _take_up(directory, digest, size)
        except Taken:
            if alone:
                raise
        self.resumable = shared is not None
        self._file, self._name = shared or _create_private(directory, digest)
        self._identity = os.fstat(self._file.fileno())
        self._note = PieceNote(notes, self._name) if notes is not None and self.resumable else None
        self._spans = self._found()
        self.resumed_bytes, self._offset = self._spans.total, self._spans.prefix
        self._hasher: Hasher | None = None if self._offset else new_hasher(digest.algorithm)
        self._trusted = True

    def _found(self) -> Spans:
        """What an earlier life left."""
        if self._note is None:
            return Spans()
        try:
            return self._note.read(self._identity.st_size)
        except BaseException:
            self._note.close()
            self._file.close()
            raise

    @property
    def path(self) -> Path:
        return self._directory.path / self._name

    @property
    def offset(self) -> int:
        return self._offset

    @property
    def spans(self) -> Spans:
        return Spans(self._spans)  # not locked: the event loop asks, and a writer may hold the lock for long

    def rehash(self) -> int:
        with self._lock:
            if self._hasher is None:
                self._hasher = self._hash_file(self._offset)
            return self._offset

    def _hash_file(self, stop: int) -> Hasher:
        """The running hash of the first ``stop`` bytes on disk."""
        hasher = new_hasher(self.digest.algorithm)
        self._hash_on(hasher, 0, stop)
        return hasher

    def _hash_on(self, hasher: Hasher, start: int, stop: int) -> None:
        try:
            reached = hash_range(hasher, self._fd(), start, stop)
        except OSError as error:
            raise self._distrusted("read", error) from error
        if reached < stop:
            self._trusted = False
            raise StoreError(f"{self.path} became shorter", hint="only sampan may write there: ask again")

    def write(self, data: Buffer | Iterable[Buffer]) -> None:
        with self._lock:
            self.place(self._spans.prefix, data)

    def place(self, start: int, data: Buffer | Iterable[Buffer]) -> None:
        # Joined, because a hash gives up the interpreter and must then wait for it again: with a busy
        # event loop, 64 updates of 64 KiB ran at a tenth of the speed of a single one of 4 MiB.
        view = memoryview(data if isinstance(data, bytes | bytearray | memoryview) else b"".join(data))
        with self._lock:
            self.rehash()
            if self.size is not None and start + len(view) > self.size:
                raise ContentMismatch(f"more than the {self.size} bytes that {self.digest} has")
            if start < self._offset:
                raise ValueError(f"the bytes from {start} to {self._offset} are there already")
            if start > self._spans.prefix and self._note is not None and not self._note.begun:
                self._note.write(self._spans)
            while view:
                count = self._write_some(view, start)
                view, start = view[count:], start + count
            self._catch_up(READ_BYTES)

    def _write_some(self, view: memoryview, start: int) -> int:
        """One write: ``offset`` counts exactly the bytes that are both on disk and hashed."""
        assert self._hasher is not None
        try:
            count = os.pwrite(self._fd(), view, start)
        except OSError as error:
            full = store_error(f"write {self.path}", error)
            if isinstance(full, StoreFull):
                raise full from error
            raise self._distrusted("write", error) from error
        if start == self._offset:
            self._hasher.update(view[:count])
            self._offset += count
        self._spans.add(start, start + count)
        if self._note is not None and self._note.begun:
            self._note.write(self._spans)
        return count

    def _catch_up(self, count_max: int | None = None) -> None:
        """Hash what is there behind the hash without a gap; ``count_max`` bytes of it at the most, for
        those who wait to write meanwhile."""
        assert self._hasher is not None
        stop = self._spans.prefix
        if count_max is not None:
            stop = min(stop, self._offset + count_max)
        if stop > self._offset:
            self._hash_on(self._hasher, self._offset, stop)
            self._offset = stop

    def forget(self, start: int, stop: int) -> None:
        with self._lock:
            self._spans.cut(start, stop)
            if self._note is not None:
                self._note.write(self._spans)
            if start < self._offset:
                self._offset, self._hasher = self._spans.prefix, None
            self.resumed_bytes = min(self.resumed_bytes, self._spans.total)

    def read(self, start: int, stop: int) -> bytes:
        with self._lock:
            try:
                return os.pread(self._fd(), stop - start, start)
            except OSError as error:
                raise self._distrusted("read", error) from error

    def rewind(self, offset: int = 0) -> None:
        with self._lock:
            if not 0 <= offset <= self._offset:
                raise ValueError(f"cannot rewind from {self._offset} to {offset}")
            if offset == 0:
                self._begin_afresh()
                return
            self._spans.end_at(offset)
            self._offset, self._hasher = offset, None
            if self._note is not None and self._note.begun:
                self._note.write(self._spans)  # first: it must not know more than the file has
            try:
                os.ftruncate(self._fd(), offset)
            except OSError as error:
                raise self._distrusted("truncate", error) from error
            self.resumed_bytes = min(self.resumed_bytes, offset)
            self.rehash()

    def _begin_afresh(self) -> None:
        """A new file in place of the old one: quicker than truncating, and readers of the old one see
        no bytes change under them. Both are locked until the name has passed from one to the other."""
        self._fd()
        temporary = _private_name(self.digest)
        file = self._directory.create(temporary)
        try:
            if not try_lock(file) or not self._directory.rename(temporary, self._directory, self._name):
                raise StoreError(f"another process took {self._directory.path / temporary}", hint="ask again")
        except BaseException:
            file.close()
            raise
        self._file.close()
        self._file, self._identity = file, os.fstat(file.fileno())
        if self._note is not None:
            self._note.remove()
        self._spans = Spans()
        self.resumed_bytes = self._offset = 0
        self._hasher, self._trusted = new_hasher(self.digest.algorithm), True

    def open_reader(self) -> FileIO:
        identity = self._identity
        for file in self._places():
            if same_file(os.fstat(file.fileno()), identity):
                return file
            file.close()
        raise StoreError(f"the partial {self.digest} is gone", hint="ask again")

    def _places(self) -> Iterator[FileIO]:
        """Where the bytes may be, in this order: a commit moves them from the first to the second."""
        if (partial := self._directory.open(self._name)) is not None:
            yield partial
        if (blob := self._shelf.find(self.digest)) is not None:
            yield blob

    def matches(self) -> bool:
        with self._lock:
            self.rehash()
            assert self._hasher is not None
            self._catch_up()
            if not self._spans.is_prefix or self.size not in (None, self._offset):
                return False
            return Digest.from_hasher(self._hasher) == self.digest

    def commit(self) -> int:
        with self._lock:
            try:
                if not self.matches():
                    raise ContentMismatch(f"{self._offset} bytes that are not {self.digest}")
                self._settle()
                if self._note is not None:
                    self._note.remove()  # first: as soon as the name is free, another may begin under it
                self._shelf.publish(self._directory, self._name, self.digest, self._offset)
            except BaseException:
                with suppress(StoreError):  # the first error is the one to tell
                    self.discard()
                raise
            self._file.close()
            return self._offset

    def _settle(self) -> None:
        """On disk, exactly what was hashed. A failed fsync is final: tried again it may claim success
        for pages that the kernel has already dropped."""
        if not self._trusted:
            raise StoreError(f"{self.path} had a disk error", hint="ask again")
        try:
            if os.fstat(self._fd()).st_size != self._offset:
                os.ftruncate(self._fd(), self._offset)
            os.fsync(self._fd())
        except OSError as error:
            raise self._distrusted("make durable", error) from error

    def suspend(self) -> None:
        with self._lock:
            if not self.resumable or not self._trusted or not self._spans:
                self.discard()
            if self._note is not None:
                self._note.close()
            self._file.close()

    def discard(self) -> None:
        with self._lock:
            if self._file.closed:
                return
            try:
                if same_file(self._directory.stat(self._name), self._identity):
                    self._directory.unlink(self._name)
                    if self._note is not None:
                        self._note.remove()
            finally:
                self._file.close()

    def _fd(self) -> int:
        if self._file.closed:
            raise StoreError(f"the ingest of {self.digest} has ended", hint="begin another")
        return self._file.fileno()

    def _distrusted(self, action: str, error: OSError) -> StoreError:
        self._trusted = False
        return store_error(f"{action} {self.path}", error)


def partial_name(digest: Digest) -> str:
    """Of the partial that whoever comes next goes on with."""
    return f"{digest.algorithm}-{digest.hex}"


def _take_up(directory: Directory, digest: Digest, size: int | None) -> tuple[FileIO, str] | None:
    """The digest's own partial, locked, and its name; None where there cannot be one. Raises Taken."""
    name = partial_name(digest)
    for _ in range(TAKE_UP_TRIES):
        file = _open_shared(directory, name)
        if file is None:
            break
        if not try_lock(file):
            file.close()
            raise Taken(f"another writer has {directory.path / name}")
        found = os.fstat(file.fileno())
        if not same_file(directory.stat(name), found):
            file.close()
        elif found.st_nlink > 1 or (size is not None and found.st_size > size):
            # A second name would let a write reach a committed blob; too long cannot be a part of it.
            log.warning("dropped a partial file that cannot be right: %s", directory.path / name)
            directory.unlink(name)
            file.close()
        else:
            return file, name
    return None


def _open_shared(directory: Directory, name: str) -> FileIO | None:
    """The partial, or None where something that cannot be removed is in its place."""
    try:
        return directory.open_or_create(name)
    except NotAFile as error:
        log.warning("refused what was planted in the store: %s", error.message)
    try:
        directory.unlink(name)
        return directory.open_or_create(name)
    except StoreFull:
        raise
    except StoreError:
        return None


def _create_private(directory: Directory, digest: Digest) -> tuple[FileIO, str]:
    for _ in range(TAKE_UP_TRIES):
        name = _private_name(digest)
        file = directory.create(name)
        # A sweep may have found it in the moment before it was locked.
        if try_lock(file) and same_file(directory.stat(name), os.fstat(file.fileno())):
            return file, name
        file.close()
    raise StoreError(f"cannot create a file in {directory.path}", hint="ask again")


def _private_name(digest: Digest) -> str:
    return f"{partial_name(digest)}.{token_hex(8)}"
