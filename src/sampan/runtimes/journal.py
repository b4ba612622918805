"""The snapshots of a tree on its disk, and the lock that whoever changes the tree holds.

Guarantees that one process at a time changes a tree, and that a snapshot is listed only when it is whole.
The format of one is :mod:`.snapshot`'s.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from sampan.errors import NodeError, printable
from sampan.runtimes.place import below, resolve
from sampan.runtimes.snapshot import FINAL, STATES, Snapshot, State, document, read
from sampan.runtimes.writing import Attributes, node_error, put_file
from sampan.words import sentence

PLACE = "/var/lib/sampan/node"
REVERTED_MAX = 20  # kept to be looked at; those that can be reverted are kept without end
CONTENT_BYTES_MAX = 16 * 1024 * 1024  # of one file of a snapshot: sixteen times what a Tree reads
_PRIVATE = 0o700
_MODE = Attributes(0o600)
_NEW = ".new"  # a snapshot that is being written
_OLD = ".old"  # one that is being removed


class Journal:
    """The snapshots below :data:`PLACE` of ``root``, by number; the highest is the newest."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._path = Path(below(root, _resolved(root)))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Alone with the tree until the block ends. Raises NodeError when another process is at it."""
        descriptor = self._lock()
        try:
            self._tidy()
            yield
        finally:
            os.close(descriptor)

    def check_permitted(self) -> None:
        """Raises NodeError when this user cannot keep snapshots, and so may not change anything."""
        place = self._path
        while not place.is_dir() and place != place.parent:
            place = place.parent
        if not os.access(place, os.W_OK | os.X_OK):
            raise NodeError(
                sentence("this user may not keep snapshots in {path}", path=printable(str(self._path))),
                hint=sentence("run it as root: sudo sampan node …"),
            )

    def snapshots(self) -> list[tuple[Snapshot, State]]:
        """All of them, the oldest first. Raises NodeError."""
        return [(self._read(number), self.state(number)) for number in self._numbers()]

    def unfinished(self) -> Snapshot | None:
        """The one whose apply or revert was interrupted; there is at most one."""
        numbers = [number for number in self._numbers() if self.state(number) not in FINAL]
        return self._read(numbers[-1]) if numbers else None

    def next_number(self) -> int:
        """For the snapshot to come: numbers are never used again while an older one is there."""
        return max(self._numbers(), default=0) + 1

    def add(self, snapshot: Snapshot) -> None:
        """Keep ``snapshot``, in the state ``writing``: on the disk when this returns. Raises NodeError."""
        new = self._path / _NEW
        try:
            new.mkdir(_PRIVATE)
            for name, data in (document(snapshot) | {"state": b"writing\n"}).items():
                put_file(new, f"/{name}", data, _MODE)
            new.rename(self._path / str(snapshot.number))
            _sync(self._path)
        except OSError as error:
            raise node_error(
                sentence("keep a snapshot in {path}", path=printable(str(self._path))), error
            ) from error

    def state(self, number: int) -> State:
        """How far it came. Raises NodeError."""
        try:
            text = (self._path / str(number) / "state").read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise NodeError(
                sentence("snapshot {number} has no state that can be read", number=number)
            ) from error
        for state in STATES:
            if state == text:
                return state
        raise NodeError(
            sentence(
                "snapshot {number} is in no state that is known: {text}", number=number, text=printable(text)
            )
        )

    def set_state(self, number: int, state: State) -> None:
        """Raises NodeError."""
        put_file(self._path / str(number), "/state", f"{state}\n".encode(), _MODE)

    def keep_edited(self, number: int, index: int, data: bytes) -> None:
        """Beside the snapshot, what somebody made of a file since and a forced revert replaces."""
        put_file(self._path / str(number), f"/{index}.edited", data, _MODE)

    def remove(self, number: int) -> None:
        """Forget it. Raises NodeError."""
        try:
            (self._path / str(number)).rename(self._path / _OLD)
            _sync(self._path)
            _empty(self._path / _OLD)
        except OSError as error:
            raise node_error(sentence("remove snapshot {number}", number=number), error) from error

    def prune(self) -> None:
        """Forget the oldest of those that are reverted, beyond :data:`REVERTED_MAX`."""
        reverted = [number for number in self._numbers() if self.state(number) == "reverted"]
        for number in reverted[: max(0, len(reverted) - REVERTED_MAX)]:
            self.remove(number)

    def _lock(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            _make(self._path)
            descriptor = os.open(self._path / "lock", flags, 0o600)
        except OSError as error:
            raise node_error(
                sentence("keep snapshots in {path}", path=printable(str(self._path))), error
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise NodeError(
                sentence("another sampan is changing this machine's files"),
                hint=sentence("wait until it has ended"),
            ) from error
        return descriptor

    def _tidy(self) -> None:
        """Drop what a killed process left unfinished: it has no number, so nothing counts on it."""
        for name in (_NEW, _OLD):
            if os.path.lexists(self._path / name):
                _empty(self._path / name)

    def _numbers(self) -> list[int]:
        try:
            names = os.listdir(self._path)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise node_error(
                sentence("list the snapshots in {path}", path=printable(str(self._path))), error
            ) from error
        return sorted(int(name) for name in names if name.isascii() and name.isdigit())

    def _read(self, number: int) -> Snapshot:
        directory = self._path / str(number)
        try:
            contents = {entry.name: _content(Path(entry.path)) for entry in os.scandir(directory)}
        except OSError as error:
            raise node_error(sentence("read snapshot {number}", number=number), error) from error
        return read(number, contents)


def _resolved(root: Path) -> str:
    try:
        return resolve(root, PLACE).real
    except OSError as error:
        raise node_error(sentence("keep snapshots in {place}", place=PLACE), error) from error


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(CONTENT_BYTES_MAX)


def _make(path: Path) -> None:
    """``path`` for its owner alone; what is above it, as usual."""
    if not path.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=_PRIVATE, exist_ok=True)
        _sync(path.parent)


def _empty(directory: Path) -> None:
    for name in os.listdir(directory):
        (directory / name).unlink()
    directory.rmdir()


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
