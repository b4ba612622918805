"""Recovery volumes, written from the data volumes of a bundle that is being made.

Guarantees that memory holds a line of rows at a time, whatever the size of the volumes. How what was lost is
had back from them is :mod:`sampan.bundle.recovered`'s.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import ExitStack
from threading import Event

from sampan.bundle.contents import Contents
from sampan.bundle.field import coefficients, combine
from sampan.bundle.finish import volume_of, write_at, writing
from sampan.bundle.head import render_head
from sampan.bundle.layout import END, head_bytes, header_of
from sampan.bundle.partial import Partial
from sampan.bundle.rows import (
    DATA_NAME,
    ROW_BYTES,
    SUMS_NAME,
    lines_of,
    recovery_bytes,
    rows_offset,
    sums_bytes,
    sums_offset,
)
from sampan.pull.sinks.files import Stopped

SUMS_BUFFER_BYTES = 256 * 1024  # written at a time: a line's sums are some hundred bytes


def write_recovery(partial: Partial, contents: Contents, raw: bytes, signature: bytes, stop: Event) -> None:
    """All recovery volumes of a bundle whose data volumes are there. Raises StoreError; Stopped when ``stop``
    is set meanwhile."""
    count, volumes = contents.asked.parity, len(contents.volumes)
    if not count:
        return
    matrix, at = coefficients(count, volumes), rows_offset(contents, len(raw))
    with ExitStack() as stack:
        data = [stack.enter_context(writing(partial.volume(n + 1))) for n in range(volumes)]
        outputs = [stack.enter_context(writing(partial.recovery(n + 1))) for n in range(count)]
        sums = [_Sums(output, sums_offset(contents, len(raw))) for output in outputs]
        for number, output in enumerate(outputs, start=1):
            _frame(output, contents, raw, render_head(raw, volume_of(raw, "recovery", number), signature))
        for line in range(lines_of(contents)):
            if stop.is_set():
                raise Stopped
            rows = [read_row(descriptor, line * ROW_BYTES) for descriptor in data]
            told = b"".join(hashlib.sha256(row).digest() for row in rows)
            for output, factors, sum_ in zip(outputs, matrix, sums, strict=True):
                made = combine(rows, factors)
                write_at(output, made, at + line * ROW_BYTES)
                sum_.add(hashlib.sha256(made).digest() + told)
        for sum_ in sums:
            sum_.end()


def read_row(descriptor: int, offset: int) -> bytes:
    """The row at ``offset`` of a file, filled up with zeros where the file ends. Raises OSError."""
    parts = []
    missing = ROW_BYTES
    while missing and (part := os.pread(descriptor, missing, offset)):
        parts.append(part)
        missing, offset = missing - len(part), offset + len(part)
    return b"".join([*parts, bytes(missing)])


def _frame(descriptor: int, contents: Contents, raw: bytes, head: bytes) -> None:
    """What stands round the rows and the sums."""
    size, lines = recovery_bytes(contents, len(raw)), lines_of(contents)
    write_at(descriptor, head, 0)
    write_at(descriptor, header_of(DATA_NAME, lines * ROW_BYTES), head_bytes(len(raw)))
    header = header_of(SUMS_NAME, sums_bytes(lines, len(contents.volumes)))
    write_at(descriptor, header, sums_offset(contents, len(raw)) - len(header))
    os.ftruncate(descriptor, size)
    write_at(descriptor, END, size - len(END))


class _Sums:
    """The sums of one recovery volume, as they are written."""

    def __init__(self, descriptor: int, offset: int) -> None:
        self._descriptor = descriptor
        self._offset = offset
        self._waiting = bytearray()
        self._hasher = hashlib.sha256()

    def add(self, sums: bytes) -> None:
        """Those of a line."""
        self._hasher.update(sums)
        self._waiting += sums
        if len(self._waiting) >= SUMS_BUFFER_BYTES:
            self._flush()

    def end(self) -> None:
        """And that of them all."""
        self._waiting += self._hasher.digest()
        self._flush()

    def _flush(self) -> None:
        write_at(self._descriptor, bytes(self._waiting), self._offset)
        self._offset += len(self._waiting)
        self._waiting.clear()
