"""Where bytes of an archive lie, and how they are read from there, some MiB at a time.

Guarantees that an extent gives exactly its bytes or an error that names it. Whether they are right is for
others to find out. An extent of a volume that is lost gives what the recovery volumes make of it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO

from sampan.bundle.recovered import Recovered
from sampan.bundle.tape import reading
from sampan.errors import BundleIncomplete

STRIDE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Extent:
    """``size`` bytes from ``offset`` on of the file that ``open`` opens, to be closed by whoever calls it.
    ``name`` says to people where they are."""

    name: str
    offset: int
    size: int
    open: Callable[[], FileIO]

    def read(self) -> bytes:
        """All of it. Raises BundleError."""
        with self.open() as file, reading(self.name):
            data = os.pread(file.fileno(), self.size, self.offset)
        if len(data) != self.size:
            raise _changed(self.name)
        return data

    @contextmanager
    def strides(self, start: int = 0) -> Iterator[Iterator[memoryview]]:
        """The bytes from ``start`` on, in order; each piece is gone with the next. Raises BundleError."""
        with self.open() as file:
            yield self._strides(file, start)

    def _strides(self, file: FileIO, start: int) -> Iterator[memoryview]:
        buffer = memoryview(bytearray(min(STRIDE_BYTES, max(self.size, 1))))
        position, stop = self.offset + start, self.offset + self.size
        while position < stop:
            with reading(self.name):
                count = os.preadv(file.fileno(), [buffer[: stop - position]], position)
            if not count:
                raise _changed(self.name)
            yield buffer[:count]
            position += count


class Rows:
    """The data volumes of a bundle by way of its recovery volumes; for several threads."""

    def __init__(self, recovered: Recovered) -> None:
        self._recovered = recovered
        self._lock = threading.Lock()

    def read(self, volume: int, start: int, stop: int) -> bytes:
        """Bytes of a data volume. Raises BundleDamaged."""
        with self._lock:
            return self._recovered.read(volume, start, stop)

    def close(self) -> None:
        """Let go of the files."""
        self._recovered.close()


@dataclass(frozen=True, slots=True)
class Reckoned:
    """Bytes from ``offset`` on of a data volume, as the recovery volumes have it."""

    name: str
    offset: int
    size: int
    volume: int
    rows: Rows

    def read(self) -> bytes:
        """All of it. Raises BundleError."""
        return self.rows.read(self.volume, self.offset, self.offset + self.size)

    @contextmanager
    def strides(self, start: int = 0) -> Iterator[Iterator[memoryview]]:
        """As of an :class:`Extent`."""
        yield self._strides(start)

    def _strides(self, start: int) -> Iterator[memoryview]:
        position, stop = self.offset + start, self.offset + self.size
        while position < stop:
            data = self.rows.read(self.volume, position, min(position + STRIDE_BYTES, stop))
            yield memoryview(data)
            position += len(data)


def _changed(name: str) -> BundleIncomplete:
    return BundleIncomplete(f"{name} ends early", hint="was the file changed meanwhile?")
