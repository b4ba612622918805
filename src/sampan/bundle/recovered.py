"""Data volumes had back from recovery volumes, row by row, without a copy of them.

Guarantees that a row which is given is what its sum says, be it read or reckoned; a row that cannot be had is
an error that says how many rows of its line are lost. Sums are not trusted further than that: what comes of
the rows is checked against the list of contents, like everything else.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from sampan.bundle.field import coefficients, recover
from sampan.bundle.recovery import read_row
from sampan.bundle.rows import ROW_BYTES, SUM_BYTES, rows_offset, sums_offset
from sampan.bundle.volume_set import VolumeSet
from sampan.errors import BundleDamaged


class Recovered:
    """The data volumes of ``volumes``, lost ones too. Methods block; use it from one thread, and close it.

    Raises BundleDamaged when a file cannot be opened, or a row cannot be had."""

    def __init__(self, volumes: VolumeSet) -> None:
        self._contents = volumes.contents
        self._count = len(volumes.contents.volumes)
        self._matrix = coefficients(volumes.contents.asked.parity, self._count)
        self._rows_at = rows_offset(volumes.contents, len(volumes.head.raw))
        self._sums_at = sums_offset(volumes.contents, len(volumes.head.raw))
        self._data: dict[int, int] = {}
        self._recovery: dict[int, int] = {}
        self._line: tuple[int, Mapping[int, bytes]] = (-1, {})
        try:
            for files, paths in ((self._data, volumes.data), (self._recovery, volumes.recovery)):
                for number, path in paths.items():
                    files[number - 1] = _open(path)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the files."""
        for files in (self._data, self._recovery):
            for descriptor in files.values():
                os.close(descriptor)
            files.clear()

    def read(self, volume: int, start: int, stop: int) -> bytes:
        """The bytes of data volume ``volume`` from ``start`` to ``stop``, as far as it goes."""
        stop = min(stop, self._contents.volumes[volume - 1])
        parts = []
        while start < stop:
            line, within = divmod(start, ROW_BYTES)
            part = self.row(volume, line)[within : within + stop - start]
            parts.append(part)
            start += len(part)
        return b"".join(parts)

    def row(self, volume: int, line: int) -> bytes:
        """The row ``line`` of data volume ``volume``, with the zeros that fill up the last one."""
        if self._line[0] != line:
            self._line = (line, self._rows_of(line))
        rows = self._line[1]
        if volume - 1 not in rows:
            rows = self._reckoned(line, rows)
            self._line = (line, rows)
        return rows[volume - 1]

    def _rows_of(self, line: int) -> dict[int, bytes]:
        """By volume, from 0: the rows that are there, and right."""
        told = self._told(line)
        rows = {}
        for column, descriptor in self._data.items():
            row = _read(descriptor, line * ROW_BYTES)
            if row is not None and hashlib.sha256(row).digest() in told[column]:
                rows[column] = row
        return rows

    def _told(self, line: int) -> list[set[bytes]]:
        """By volume, from 0: what the recovery volumes say of its row. They agree unless one is damaged."""
        told: list[set[bytes]] = [set() for _ in range(self._count)]
        for descriptor in self._recovery.values():
            sums = self._sums(descriptor, line)
            for column in range(self._count):
                told[column].add(sums[(column + 1) * SUM_BYTES : (column + 2) * SUM_BYTES])
        return told

    def _sums(self, descriptor: int, line: int) -> bytes:
        """Of a line: this recovery row's, then those of the data rows."""
        length = (self._count + 1) * SUM_BYTES
        with suppress(OSError):
            return os.pread(descriptor, length, self._sums_at + line * length).ljust(length, b"\0")
        return bytes(length)

    def _reckoned(self, line: int, there: Mapping[int, bytes]) -> dict[int, bytes]:
        """All rows of a line, from those that are ``there`` and the recovery rows."""
        made = {}
        for number, descriptor in self._recovery.items():
            row = _read(descriptor, self._rows_at + line * ROW_BYTES)
            if row is not None and hashlib.sha256(row).digest() == self._sums(descriptor, line)[:SUM_BYTES]:
                made[number] = row
        try:
            rows = {**there, **recover(self._matrix, there, made)}
        except ValueError:
            raise self._lost(line, self._count - len(there), len(made)) from None
        told = self._told(line)
        if any(hashlib.sha256(row).digest() not in told[column] for column, row in rows.items()):
            raise self._lost(line, self._count - len(there), len(made))
        return rows

    def _lost(self, line: int, lost: int, made: int) -> BundleDamaged:
        return BundleDamaged(
            f"row {line} of {lost} volumes is lost or damaged, and {made} recovery volumes have theirs",
            hint="copy one of the damaged files again, or bring another recovery volume",
        )


def is_recoverable(volumes: VolumeSet) -> bool:
    """Whether the volumes that are missing can be made up for, as long as the others are right."""
    return len(volumes.missing) <= len(volumes.recovery)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise BundleDamaged(f"cannot read {path}: {error.strerror or error}") from error


def _read(descriptor: int, offset: int) -> bytes | None:
    """None where the disk refuses."""
    try:
        return read_row(descriptor, offset)
    except OSError:
        return None
