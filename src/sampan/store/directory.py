"""A directory that is held open: every file in it is reached by one plain name from there.

Guarantees that no symbolic link is followed, neither as a file nor on the way to it, that no system
error leaves as an ``OSError``, and that what :meth:`Directory.write` replaced is, after a crash, the old
content or the new. It does not know what the files mean.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat as stats
from io import FileIO
from secrets import token_hex
from typing import TYPE_CHECKING

from sampan.errors import StoreError, StoreFull

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE_MODE = 0o644  # subject to the umask, as are the directories
DIRECTORY_MODE = 0o755

# O_NONBLOCK: opening a planted named pipe must not wait for its other end. Regular files ignore it.
_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.EDQUOT)
_HINTS = {
    errno.EROFS: "the file system is mounted read-only: choose another [store] path, or remount it",
    errno.EACCES: "give the user that runs sampan write permission there, or choose another [store] path",
    errno.EPERM: "give the user that runs sampan write permission there, or choose another [store] path",
    errno.EIO: "the disk reports an error: see the kernel's log (dmesg), and replace it",
    errno.EMFILE: "too many open files: raise the limit (LimitNOFILE= or ulimit -n)",
    errno.ENFILE: "too many open files on this machine: raise fs.file-max",
    errno.ENOENT: "the directory was removed while sampan runs: start it again",
    errno.EFBIG: "larger than a file may be here: raise the limit (ulimit -f), or use another file system",
    errno.ENOTDIR: "the store's directories must be real ones: remove what stands in their place",
    errno.ELOOP: "symbolic links within the store are refused: remove it",
}

log = logging.getLogger(__name__)


class NotAFile(StoreError):
    """Something else than a regular file, or a huge one, where the store keeps a file of its own.

    Handled within the store: nobody else sees it."""


def store_error(action: str, error: OSError) -> StoreError:
    """``error`` as ours: StoreFull when there is no room, with what to do about it."""
    message = f"cannot {action}: {error.strerror or error}"
    if error.errno in _FULL:
        return StoreFull(message, hint="free some space, or lower [store] max_size")
    return StoreError(message, hint=_HINTS.get(error.errno or 0))


class Directory:
    """One open directory. Methods raise StoreError or StoreFull; absent files are None or False."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    @classmethod
    def root(cls, path: Path) -> Directory:
        """The top, made if absent. It may itself be a symbolic link: that is the operator's choice."""
        try:
            _make(path)
            return cls(path, os.open(path, _DIRECTORY))
        except OSError as error:
            raise store_error(f"open the store at {path}", error) from error

    def child(self, name: str) -> Directory:
        """The directory ``name`` within, made if absent."""
        if (found := self.find_child(name)) is not None:
            return found
        try:
            os.mkdir(name, DIRECTORY_MODE, dir_fd=self._fd)
        except FileExistsError:
            pass  # another process was quicker
        except OSError as error:
            raise store_error(f"make the directory {self.path / name}", error) from error
        self.sync()
        if (made := self.find_child(name, made=True)) is None:
            raise StoreError(f"cannot open {self.path / name}: it vanished", hint=_HINTS[errno.ENOENT])
        return made

    def find_child(self, name: str, *, made: bool = False) -> Directory | None:
        """The directory ``name`` within, or None. ``made``: just now, by us."""
        try:
            fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=self._fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise store_error(f"open the directory {self.path / name}", error) from error
        if made:
            self._hand_over(fd)
        return Directory(self.path / name, fd)

    def close(self) -> None:
        """Open files live on."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def open(self, name: str) -> FileIO | None:
        """``name`` for reading. Raises :class:`NotAFile` for a link, a directory, a device, a pipe."""
        return self._open(name, os.O_RDONLY, "rb")

    def open_or_create(self, name: str) -> FileIO:
        """``name`` for reading and writing, as it is or empty. Raises :class:`NotAFile`."""
        file = self._open(name, os.O_RDWR | os.O_CREAT, "r+b")
        if file is None:
            raise StoreError(f"cannot create {self.path / name}", hint=_HINTS[errno.ENOENT])
        return file

    def create(self, name: str) -> FileIO:
        """A fresh file ``name``, which must not exist."""
        file = self._open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, "r+b")
        if file is None:
            raise StoreError(f"cannot create {self.path / name}", hint=_HINTS[errno.ENOENT])
        return file

    def _open(self, name: str, flags: int, mode: str) -> FileIO | None:
        try:
            fd = os.open(name, flags | _SAFE, FILE_MODE, dir_fd=self._fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                raise NotAFile(f"{self.path / name} is not a file", hint=_HINTS[errno.ELOOP]) from error
            raise store_error(f"open {self.path / name}", error) from error
        if stats.S_ISREG(os.fstat(fd).st_mode):
            if flags & os.O_CREAT:
                self._hand_over(fd)
            return FileIO(fd, mode)
        os.close(fd)
        raise NotAFile(f"{self.path / name} is not a file", hint=_HINTS[errno.ELOOP])

    def _hand_over(self, fd: int) -> None:
        """What root makes in the store of a service is the service's, which must be able to change it."""
        if os.geteuid() != 0:
            return
        owner, made = os.fstat(self._fd), os.fstat(fd)
        if owner.st_uid != 0 and made.st_uid == 0:
            try:
                os.fchown(fd, owner.st_uid, owner.st_gid)
            except OSError as error:
                log.debug("cannot hand over a file of %s: %s", self.path, error)

    def read(self, name: str, *, size_max: int) -> bytes | None:
        """The whole of a small file, or None when absent. Raises NotAFile beyond ``size_max`` bytes."""
        file = self.open(name)
        if file is None:
            return None
        with file:
            try:
                data = read_all(file, size_max)
            except OSError as error:
                raise store_error(f"read {self.path / name}", error) from error
        if data is None:
            raise NotAFile(f"cannot read {self.path / name}: larger than {size_max} bytes")
        return data

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """Put ``data`` in place of what ``name`` was. ``durable``: wait for the disk to confirm the name
        too; without it, a power cut may bring back the old content."""
        temporary = f".{name[:100]}.{token_hex(8)}"
        file = self.create(temporary)
        try:
            with file:
                write_all(file, data)
                os.fsync(file.fileno())
            os.rename(temporary, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        except OSError as error:
            self.unlink(temporary)
            raise store_error(f"write {self.path / name}", error) from error
        if durable:
            self.sync()

    def stat(self, name: str) -> os.stat_result | None:
        """Of the name itself, a link included; None when absent."""
        try:
            return os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise store_error(f"look at {self.path / name}", error) from error

    def rename(self, name: str, to: Directory, new: str) -> bool:
        """Move, replacing what is there; False when ``name`` is absent."""
        try:
            os.rename(name, new, src_dir_fd=self._fd, dst_dir_fd=to._fd)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise store_error(f"move {self.path / name} to {to.path / new}", error) from error
        return True

    def unlink(self, name: str) -> bool:
        """Whether it was there."""
        try:
            os.unlink(name, dir_fd=self._fd)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise store_error(f"remove {self.path / name}", error) from error
        return True

    def names(self) -> list[str]:
        """Everything in it, in no order, without files that :meth:`write` is about."""
        try:
            return [name for name in os.listdir(self._fd) if not name.startswith(".")]
        except OSError as error:
            raise store_error(f"list {self.path}", error) from error

    def stats(self) -> Iterator[tuple[str, os.stat_result]]:
        """The regular files in it."""
        for name in self.names():
            found = self.stat(name)
            if found is not None and stats.S_ISREG(found.st_mode):
                yield name, found

    def drop_leftovers(self, before: float) -> None:
        """Remove what :meth:`write` left when it was killed, if last touched before that time."""
        try:
            names = [name for name in os.listdir(self._fd) if name.startswith(".")]
        except OSError as error:
            raise store_error(f"list {self.path}", error) from error
        for name in names:
            found = self.stat(name)
            if found is not None and stats.S_ISREG(found.st_mode) and found.st_mtime < before:
                self.unlink(name)

    def stamp(self, name: str, seconds: float) -> None:
        """Set the time of last modification, as well as may be: it is only a note of the last use."""
        try:
            os.utime(name, (seconds, seconds), dir_fd=self._fd, follow_symlinks=False)
        except OSError as error:
            log.debug("cannot stamp %s: %s", self.path / name, error)

    def sync(self) -> None:
        """Make names durable. Never tried twice: a second fsync may claim success for lost data."""
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise store_error(f"write the directory {self.path}", error) from error


def _make(path: Path) -> None:
    """The directory, and those above it, where they are absent: each name on disk before the next one, or a
    power cut would take away all that is put into them. Raises OSError."""
    if os.path.isdir(path):
        return
    _make(path.parent)
    try:
        path.mkdir(DIRECTORY_MODE)
    except FileExistsError:
        pass  # another process was quicker; what else it may be, opening it tells
    try:
        above = os.open(path.parent, _DIRECTORY)
    except PermissionError:
        return  # one may make a directory there and not look: then the disk takes its own time
    try:
        os.fsync(above)
    finally:
        os.close(above)


def read_all(file: FileIO, size_max: int) -> bytes | None:
    """What ``file`` holds from where it stands, or None beyond ``size_max`` bytes. Raises OSError."""
    parts: list[bytes] = []
    room = size_max + 1
    while room and (part := file.read(room)):
        parts.append(part)
        room -= len(part)
    return b"".join(parts) if room else None


def write_all(file: FileIO, data: bytes) -> None:
    """All of ``data``, however many calls it takes. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def try_lock(file: FileIO) -> bool:
    """Take the file for this one opening of it, until it is closed; False: somebody else has it.

    ``flock``, not ``lockf``: it belongs to the open file, so two ingests in one process exclude each
    other too, and closing another handle of the same file does not drop it.
    """
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise store_error(f"lock a file in the store (descriptor {file.fileno()})", error) from error
    return True


def same_file(one: os.stat_result | None, other: os.stat_result) -> bool:
    """Whether both are the same inode."""
    return one is not None and (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
