"""The note beside a partial file whose bytes are not simply its beginning: which of them are there.

While a blob comes in pieces from several hosts, its partial file has holes. The one guarantee: a file that
has holes has a note, written before the first byte behind a hole and gone only when the holes or the file
are. A note may know less than the file has (a process was killed in between) and, after a power cut, more:
what is made of it is hashed like everything else. A partial without a note is whole up to its length.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from sampan.errors import StoreError
from sampan.store.directory import NotAFile, store_error
from sampan.store.spans import Spans

if TYPE_CHECKING:
    from io import FileIO

    from sampan.store.directory import Directory

NOTE_BYTES_MAX = 64 * 1024  # a line is 40 bytes at most; hosts and pieces make a few dozen of them

log = logging.getLogger(__name__)


class PieceNote:
    """The note of the partial ``name``, kept under the same name in ``directory``. Its methods raise
    StoreError; the writer of the partial is its only user."""

    def __init__(self, directory: Directory, name: str) -> None:
        self._directory = directory
        self._name = name
        self._file: FileIO | None = None
        self._length = 0

    @property
    def begun(self) -> bool:
        """Whether there is one, by this writer."""
        return self._file is not None

    def read(self, size: int) -> Spans:
        """What is there of a partial of ``size`` bytes. A note that cannot be read makes it nothing: the
        file has holes, and nobody knows where. Raises NotAFile when there is no way to keep a note."""
        if size == 0:
            self._clear()  # of an earlier file of this name
            return Spans()
        try:
            data = self._directory.read(self._name, size_max=NOTE_BYTES_MAX)
        except NotAFile as error:
            log.warning("refused what was planted in the store: %s", error.message)
            data = b""
        if data is None:
            return Spans([(0, size)])
        spans = Spans.from_text(data.decode("ascii", "replace"))
        if spans is None:
            log.warning("the note of the partial %s cannot be read: it begins anew", self._name)
            self._clear()
            spans = Spans()
        spans.end_at(size)
        self.write(spans)
        return spans

    def _clear(self) -> None:
        try:
            self.remove()
        except StoreError as error:
            raise NotAFile(f"cannot keep a note of {self._name}: {error.message}") from error

    def write(self, spans: Spans) -> None:
        """In place: what a process leaves that is killed meanwhile is the old text, the new one, or
        nothing that its check sum makes a note."""
        text = spans.as_text().encode("ascii")
        try:
            if self._file is None or not os.fstat(self._file.fileno()).st_nlink:
                self.close()  # removed: the end of an earlier file takes along what has its name
                self._file = self._open()
            _write_at_start(self._file, text)
            if len(text) < self._length:
                os.ftruncate(self._file.fileno(), len(text))
        except OSError as error:
            raise store_error(f"write {self._directory.path / self._name}", error) from error
        self._length = len(text)

    def _open(self) -> FileIO:
        try:
            return self._directory.open_or_create(self._name)
        except NotAFile:
            self._directory.unlink(self._name)
            return self._directory.open_or_create(self._name)

    def remove(self) -> None:
        """The partial is gone, or whole up to its length."""
        self.close()
        self._directory.unlink(self._name)

    def close(self) -> None:
        """Keep it for the next writer."""
        if self._file is not None:
            self._file.close()
        self._file, self._length = None, 0


def _write_at_start(file: FileIO, text: bytes) -> None:
    """However many calls it takes. Raises OSError."""
    position = 0
    while position < len(text):
        position += os.pwrite(file.fileno(), text[position:], position)


def drop_stray_pieces(notes: Directory, ingests: Directory) -> None:
    """Remove the notes of partials that are gone: their writer was killed, or a sweep took the file."""
    for name in notes.names():
        if ingests.stat(name) is None:
            notes.unlink(name)
