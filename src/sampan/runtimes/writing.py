"""Files put in place, one at a time, each whole or not at all.

Guarantees that after a kill or a power cut a file is what it was or what it was to be, that no symbolic link
is followed (paths come resolved, and each directory on the way is opened as one), and that what was half
written lies under a name that the next writer of the same file takes over. It decides nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sampan.errors import NodeError, printable
from sampan.runtimes.contract import FILE_MODE
from sampan.words import sentence

DIRECTORY_MODE = 0o755
TEMPORARY = ".{}.sampan-new"  # hidden, and no drop-in directory reads such a name
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_WITHOUT_ATTRIBUTES = (errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.EINVAL)


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a file has beside its content. ``uid``, ``gid`` None: whoever writes; ``mtime_ns`` None: now."""

    mode: int = FILE_MODE
    uid: int | None = None
    gid: int | None = None
    mtime_ns: int | None = None
    extended: Mapping[str, bytes] = field(default_factory=dict)

    def touched(self) -> Attributes:
        """The same of a file with new content."""
        return Attributes(self.mode, self.uid, self.gid, None, self.extended)


def node_error(action: str, error: OSError) -> NodeError:
    """``error`` as ours."""
    hints = {
        errno.EACCES: sentence("run it as root: it changes files of the machine"),
        errno.EPERM: sentence("run it as root: it changes files of the machine"),
        errno.EROFS: sentence(
            "the file system is read-only: remount it, or change the image that it comes from"
        ),
        errno.ENOSPC: sentence("free some space, and run it again"),
    }
    reason = (error.strerror or str(error)).lower()
    return NodeError(
        sentence("cannot {action}: {reason}", action=action, reason=reason),
        hint=hints.get(error.errno or 0),
    )


@contextlib.contextmanager
def open_directory(root: Path, path: str) -> Iterator[int]:
    """The directory at the resolved ``path``, as a descriptor. Raises OSError, also for a link on the way."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in path.split("/"):
            if part:
                below = os.open(part, _DIRECTORY, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def attributes_at(root: Path, real: str) -> Attributes | None:
    """Those of the file at the resolved path ``real``; None when it is absent. Raises OSError."""
    directory, _, name = real.rpartition("/")
    try:
        with open_directory(root, directory) as folder:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return None
    try:
        found = os.fstat(descriptor)
        extended = {key: os.getxattr(descriptor, key) for key in _extended(descriptor)}
    finally:
        os.close(descriptor)
    return Attributes(stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, found.st_mtime_ns, extended)


def put_file(root: Path, real: str, data: bytes, attributes: Attributes) -> None:
    """``data`` in the place of what is at the resolved path ``real``. Raises NodeError."""
    directory, _, name = real.rpartition("/")
    try:
        with open_directory(root, directory) as folder:
            temporary = TEMPORARY.format(name)
            _unlink(temporary, folder)
            _write(temporary, folder, data, attributes)
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
    except OSError as error:
        raise node_error(sentence("write {real}", real=printable(real)), error) from error


def remove_file(root: Path, real: str) -> None:
    """No file at ``real`` any more, nor one that was about to be. Raises NodeError."""
    directory, _, name = real.rpartition("/")
    try:
        with open_directory(root, directory) as folder:
            _unlink(name, folder)
            _unlink(TEMPORARY.format(name), folder)
            os.fsync(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise node_error(sentence("remove {real}", real=printable(real)), error) from error


def drop_temporary(root: Path, real: str) -> None:
    """Remove what a killed writer left beside ``real``. Raises NodeError."""
    directory, _, name = real.rpartition("/")
    try:
        with open_directory(root, directory) as folder:
            _unlink(TEMPORARY.format(name), folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise node_error(
            sentence("remove what was left beside {real}", real=printable(real)), error
        ) from error


def make_directory(root: Path, path: str) -> None:
    """The directory at the resolved ``path``, whose parent is there. Raises NodeError."""
    parent, _, name = path.rpartition("/")
    try:
        with open_directory(root, parent) as folder:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, DIRECTORY_MODE, dir_fd=folder)
            os.fsync(folder)
    except OSError as error:
        raise node_error(sentence("make the directory {path}", path=printable(path)), error) from error


def remove_directory(root: Path, path: str) -> None:
    """No directory at ``path``, unless something is in it. Raises NodeError."""
    parent, _, name = path.rpartition("/")
    try:
        with open_directory(root, parent) as folder:
            os.rmdir(name, dir_fd=folder)
            os.fsync(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY):
            raise node_error(sentence("remove the directory {path}", path=printable(path)), error) from error


def _write(name: str, folder: int, data: bytes, attributes: Attributes) -> None:
    """A file that nobody else may read until it has the mode that it is to have."""
    descriptor = os.open(
        name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder
    )
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
        _dress(descriptor, attributes)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _dress(descriptor: int, attributes: Attributes) -> None:
    now = os.fstat(descriptor)
    uid = now.st_uid if attributes.uid is None else attributes.uid
    gid = now.st_gid if attributes.gid is None else attributes.gid
    if (uid, gid) != (now.st_uid, now.st_gid):
        os.fchown(descriptor, uid, gid)
    os.fchmod(descriptor, attributes.mode)
    for key, value in attributes.extended.items():
        try:
            os.setxattr(descriptor, key, value)
        except OSError as error:
            if error.errno not in _WITHOUT_ATTRIBUTES:
                raise
    if attributes.mtime_ns is not None:
        os.utime(descriptor, ns=(attributes.mtime_ns, attributes.mtime_ns))


def _extended(descriptor: int) -> list[str]:
    """Labels of SELinux and access lists among them; none where the file system has no such thing."""
    try:
        return os.listxattr(descriptor)
    except OSError:
        return []


def _unlink(name: str, folder: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
