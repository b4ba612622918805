"""A file put in place of another, or of none: a reader sees the old one or the new one, never a part."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from sampan.errors import StoreError

MODE = 0o644


def replace_file(path: Path, data: bytes) -> None:
    """By way of a file beside it. A link is followed, and the mode of what was there kept. Raises OSError."""
    path = Path(os.path.realpath(path))
    mode = path.stat().st_mode & 0o777 if path.exists() else MODE
    descriptor, new = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except BaseException:
        os.unlink(new)
        raise


def write_file(path: Path, data: bytes, what: str, *, make_directory: bool = False) -> None:
    """Put ``data``, ``what`` it is, at ``path``, in a directory that there is or that is made. Raises
    :class:`StoreError`."""
    try:
        if make_directory:
            path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, data)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StoreError(f"cannot write the {what} {path}: {reason}", hint="name another file") from error
