"""A machine's files, to be read: those of this machine, or of an image or a test below a directory.

Guarantees that nothing outside of the root is read (a symbolic link means what it means inside), that no file
is larger in memory than its limit, and that what cannot be read is told and never raised. It changes nothing;
a tree with changes (:meth:`Tree.changed`) is how it would be after them.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sampan.errors import PlanMismatch, printable
from sampan.runtimes.contract import Change, Finding
from sampan.runtimes.place import LeadsNowhereError, below, resolve
from sampan.words import Text, sentence

FILE_BYTES_MAX = 1024 * 1024  # the largest real ones have 50 KiB
NAMES_MAX = 5000  # of a directory: one a registry, or one a drop-in

State = Literal["file", "absent", "directory", "special", "outside", "unreadable", "too-large"]
_WHY: dict[State, Text] = {
    "directory": sentence("expected a file, got a directory"),
    "special": sentence("expected a file, got a device, a pipe or a socket"),
    "outside": sentence("a symbolic link that leads nowhere within the root"),
    "unreadable": sentence("cannot be read"),
    "too-large": sentence("expected at most {size} KiB, got more", size=FILE_BYTES_MAX // 1024),
}
_READABLE: tuple[State, ...] = ("file", "absent")


@dataclass(frozen=True, slots=True)
class File:
    """What is at a path. ``data`` is there when ``state`` is ``file``; ``real`` is where it truly is, after
    all links, and ``link`` whether the path itself is one. ``mode``: who may read it, and ``modified``,
    seconds since 1970: since when it is so, where that is known."""

    path: str
    state: State
    data: bytes | None = field(default=None, repr=False)
    real: str | None = None
    link: bool = False
    why: str = ""
    mode: int | None = None
    modified: float | None = None

    @property
    def problem(self) -> Finding | None:
        """Why it could not be read; None for a file, and for one that is absent."""
        if self.state in _READABLE:
            return None
        reason = _WHY[self.state]
        if self.why:
            reason = sentence("{what}: {why}", what=reason, why=self.why)
        hint = sentence("run as root") if self.state == "unreadable" else None
        return Finding("FILE_UNREADABLE", reason, "error", self.path, hint=hint)

    def editable(self) -> bytes | None:
        """Its content for a plan, None when absent. Raises PlanMismatch for what must not be replaced."""
        if (problem := self.problem) is not None:
            raise PlanMismatch(_about(self.path, problem), hint=problem.hint)
        if self.link:
            raise PlanMismatch(
                sentence(
                    "{path} is a symbolic link to {real}",
                    path=printable(self.path),
                    real=printable(self.real or "?"),
                ),
                hint=sentence(
                    "whoever keeps that file must change it; or put a file in the place of the link"
                ),
            )
        return self.data

    @property
    def text(self) -> str:
        """Its content as UTF-8, empty when there is none; what is not UTF-8 shows as replaced."""
        return (self.data or b"").decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Directory:
    """The ``names`` in a directory, sorted; none when it is absent (``exists`` false) or unreadable."""

    path: str
    names: tuple[str, ...] = ()
    exists: bool = False
    problem: Finding | None = None


class Tree:
    """The files below ``root``, as they are, or with some of them ``over`` it."""

    def __init__(self, root: Path, over: Mapping[str, bytes | None] | None = None) -> None:
        self.root = root
        self._over = dict(over or {})

    @property
    def is_machine(self) -> bool:
        """Whether it is this machine's own."""
        return self.root == Path("/")

    def changed(self, changes: Iterable[Change]) -> Tree:
        """The tree as it would be after ``changes``."""
        return Tree(self.root, self._over | {change.path: change.after for change in changes})

    def file(self, path: str) -> File:
        """What is at ``path``."""
        path = posixpath.normpath(path)
        if path in self._over:
            data = self._over[path]
            return File(path, "absent" if data is None else "file", data, path)
        try:
            place = resolve(self.root, path)
            if not place.present:
                return File(path, "absent", None, place.real)
            state, data, status = _read(below(self.root, place.real))
            mode, modified = stat.S_IMODE(status.st_mode), status.st_mtime
            return File(path, state, data, place.real, place.link, mode=mode, modified=modified)
        except LeadsNowhereError as error:
            return File(path, "outside", link=True, why=error.args[0])
        except OSError as error:
            return File(path, "unreadable", why=_words(error))

    def tail(self, path: str, bytes_max: int) -> File:
        """The end of what is at ``path``, at most ``bytes_max`` of it where it is too large, and from the
        beginning of a line: for logs."""
        file = self.file(path)
        if file.state == "too-large" and file.real is not None:
            data = _tail(below(self.root, file.real), bytes_max)
            return File(path, "file", data.partition(b"\n")[2], file.real, file.link, mode=file.mode)
        return file

    def directory(self, path: str) -> Directory:
        """What is in the directory at ``path``."""
        path = posixpath.normpath(path)
        added = self._names_over(path, absent=False)
        try:
            place = resolve(self.root, path)
            found = set(os.listdir(below(self.root, place.real))) if place.present else set()
        except NotADirectoryError:
            return Directory(path, tuple(sorted(added)), bool(added))
        except OSError as error:
            problem = Finding(
                "FILE_UNREADABLE", sentence("cannot be listed: {words}", words=_words(error)), "error", path
            )
            return Directory(path, tuple(sorted(added)), exists=True, problem=problem)
        names = (found - self._names_over(path, absent=True)) | added
        return Directory(path, tuple(sorted(names)[:NAMES_MAX]), place.present or bool(added))

    def exists(self, path: str) -> bool:
        """Whether a file, a directory or anything else is at ``path``."""
        return self.directory(path).exists or self.file(path).state not in ("absent", "outside")

    def _names_over(self, path: str, *, absent: bool) -> set[str]:
        """What the changes add to a directory, or (``absent``) take from it."""
        inside = path.rstrip("/") + "/"
        return {
            changed[len(inside) :].partition("/")[0]
            for changed, data in self._over.items()
            if changed.startswith(inside) and (data is None) == absent
            if not absent or "/" not in changed[len(inside) :]
        }


def _read(path: str) -> tuple[State, bytes | None, os.stat_result]:
    """The state and the content of what is at ``path``, which is no link, and its inode. Raises OSError."""
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode):  # not opened: a device may do something when it is
        return ("directory" if stat.S_ISDIR(status.st_mode) else "special"), None, status
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(FILE_BYTES_MAX + 1)
    if len(data) > FILE_BYTES_MAX:
        return "too-large", None, status
    return "file", data, status


def _about(path: str, problem: Finding) -> Text:
    return sentence("{path}: {problem}", path=printable(path), problem=problem.message)


def _tail(path: str, bytes_max: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        file.seek(max(0, os.fstat(descriptor).st_size - bytes_max))
        return file.read(bytes_max)


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
