"""The bytes of an archive, in order: a plain file, or one that is unpacked on the way.

Guarantees that reading costs bounded memory whatever the file says of itself, that a packed file which grows
out of all proportion is refused while it is read, and that nothing is ever written. It knows nothing of tar.
"""

from __future__ import annotations

import gzip
import os
import stat
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO, RawIOBase
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from sampan.errors import BundleDamaged, BundleError, BundleIncomplete, InvalidBundle, printable
from sampan.pull.sinks.files import Stopped

READ_BYTES = 1024 * 1024
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
ZSTD_SKIPPABLE = (b"\x2a\x4d\x18", 0x50, 0x5F)  # and the first byte of such a frame is between these
# What a stranger's frame may make us keep: as much as the zstd program itself agrees to without being told.
ZSTD_WINDOW_BYTES_MAX = 128 * 1024 * 1024
# Layers are mostly packed already; those of docker save are not, and text shrinks to a tenth. gzip and zstd
# make a thousand bytes and more of one, when they are all the same.
RATIO_MAX = 100
RATIO_FREE_BYTES = 256 * 1024 * 1024  # a small archive with one large empty file in it is no attack


class Tape(Protocol):
    """An archive's bytes from the beginning on. All methods block, and raise BundleError when the file ends
    early, cannot be read or is not what it seems to be. ``name``: the file, for messages; ``position``:
    bytes before the next :meth:`read`."""

    @property
    def name(self) -> str: ...

    @property
    def position(self) -> int: ...

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes; fewer only at the end."""

    def advance(self, position: int) -> None:
        """Go on at ``position``, which is not before the present one."""

    def close(self) -> None:
        """Let go of the file."""


class FileTape:
    """A plain file: what is not wanted is not read. ``size`` in bytes."""

    def __init__(self, name: str, file: FileIO) -> None:
        self.name = name
        self.file = file
        self.size = os.fstat(file.fileno()).st_size
        self.position = 0

    def read(self, count: int) -> bytes:
        parts: list[bytes] = []
        with reading(self.name):
            while count and (part := os.pread(self.file.fileno(), count, self.position)):
                parts.append(part)
                count -= len(part)
                self.position += len(part)
        return b"".join(parts)

    def advance(self, position: int) -> None:
        if position > self.size:
            raise cut_short(self.name)
        self.position = position

    def close(self) -> None:
        self.file.close()


class Unpacker(Protocol):
    """What unpacks: never more than was asked for, so that a bomb costs no memory."""

    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


class PackedTape:
    """A file of gzip or zstd. Every byte passes through, also those that nobody wants."""

    def __init__(
        self, name: str, file: RawIOBase, unpacker: Unpacker, stop: threading.Event | None = None
    ) -> None:
        """``stop``: when it is set nobody waits for this any more, and reading raises Stopped."""
        self.name = name
        self.position = 0
        self._file = file
        self._unpacker = unpacker
        self._stop = stop

    def read(self, count: int) -> bytes:
        parts: list[bytes] = []
        while count:
            with reading(self.name):
                part = self._unpacker.read(min(count, READ_BYTES))
            if not part:
                break
            parts.append(part)
            count -= len(part)
            self.position += len(part)
            self._check_ratio()
            if self._stop is not None and self._stop.is_set():
                raise Stopped
        return b"".join(parts)

    def advance(self, position: int) -> None:
        while self.position < position:
            if not self.read(min(position - self.position, READ_BYTES)):
                raise cut_short(self.name)

    def _check_ratio(self) -> None:
        if self.position > RATIO_FREE_BYTES and self.position > RATIO_MAX * self._file.tell():
            raise InvalidBundle(
                f"{self.name} is refused: {self._file.tell()} bytes of it unpack to {self.position} and more",
                hint=f"no real archive packs {RATIO_MAX} to 1; unpack it yourself if you know who made it",
            )

    def close(self) -> None:
        self._unpacker.close()
        self._file.close()


def open_tape(path: Path, stop: threading.Event | None = None) -> FileTape | PackedTape:
    """The archive at ``path``; how it is packed is told by its first bytes. Raises BundleError.

    ``stop``: see :class:`PackedTape`.
    """
    name = printable(str(path), characters_max=400)
    file = _open(path, name)
    try:
        with reading(name):
            magic = os.pread(file.fileno(), 4, 0)
        return unpacked(name, file, magic, stop) if is_packed(magic) else FileTape(name, file)
    except BaseException:
        file.close()
        raise


def _open(path: Path, name: str) -> FileIO:
    with reading(name):
        # O_NONBLOCK: a named pipe must not keep us waiting for its other end. Files ignore it.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InvalidBundle(
            f"{name} is not a file", hint="name an archive, or the directory of an OCI layout"
        )
    return FileIO(descriptor, "r")


def is_packed(magic: bytes) -> bool:
    """Whether what begins with these four bytes is packed with gzip or zstd."""
    tail, lowest, highest = ZSTD_SKIPPABLE
    is_skippable = magic[1:] == tail and lowest <= magic[0] <= highest
    return magic.startswith(GZIP_MAGIC) or magic == ZSTD_MAGIC or is_skippable


def unpacked(name: str, file: RawIOBase, magic: bytes, stop: threading.Event | None = None) -> PackedTape:
    """What ``file``, which begins with ``magic``, unpacks to. ``stop``: see :class:`PackedTape`."""
    if magic.startswith(GZIP_MAGIC):
        return PackedTape(name, file, gzip.GzipFile(fileobj=cast("BinaryIO", file), mode="rb"), stop)
    return PackedTape(name, file, _zstd(file, name), stop)


class Slice(RawIOBase):
    """``size`` bytes of ``file`` from ``offset`` on, as if they were a file; it is not closed with this."""

    def __init__(self, file: FileIO, offset: int, size: int) -> None:
        self._file, self._start, self._stop = file, offset, offset + size
        self._position = offset

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401 - as in io
        view = memoryview(buffer)[: self._stop - self._position]
        count = os.preadv(self._file.fileno(), [view], self._position)
        self._position += count
        return count

    def tell(self) -> int:
        return self._position - self._start


def _zstd(file: RawIOBase, name: str) -> Unpacker:
    try:
        from zstandard import ZstdDecompressor  # costs time, and few archives need it
    except ImportError:
        raise BundleError(
            f"{name} is packed with zstd, and the Python package zstandard is not here",
            hint=f"unpack it first: zstd -d {name}",
        ) from None
    decompressor = ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX)
    return decompressor.stream_reader(cast("BinaryIO", file), read_size=READ_BYTES, read_across_frames=True)


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Whatever goes wrong with the bytes of the file ``name`` within becomes a BundleError."""
    try:
        yield
    except EOFError as error:
        raise cut_short(name) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(name, error) from error
    except OSError as error:
        raise BundleError(
            f"cannot read {name}: {error.strerror or error}",
            hint="is the medium still there? dmesg shows what the kernel says of it",
        ) from error
    except Exception as error:
        if type(error).__name__ != "ZstdError":  # its module is imported only where it is needed
            raise
        raise _damaged(name, error) from error


def _damaged(name: str, error: Exception) -> BundleDamaged:
    reason = printable(str(error), characters_max=100)
    return BundleDamaged(
        f"{name} cannot be unpacked: {reason}", hint="copy it again: it was damaged on the way"
    )


def cut_short(name: str) -> BundleIncomplete:
    """The error for a file that ends before its contents do."""
    return BundleIncomplete(
        f"{name} is cut short", hint="copy it again, and compare its size with that of the original"
    )
