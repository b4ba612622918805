"""The rows of recovery volumes: how many there are, where they lie, how large a volume may be. Pure.

A data volume is a column of rows; the rows of all volumes with one number are a line, and a recovery volume
has one row for each line. Guarantees that these places follow from the list of contents alone.
"""

from __future__ import annotations

from sampan.bundle.contents import Contents
from sampan.bundle.layout import END, head_bytes, header_of, padding_bytes

ROW_BYTES = 256 * 1024
SUM_BYTES = 32  # SHA-256
DATA_NAME = "sampan-recovery.data"
SUMS_NAME = "sampan-recovery.sums"
HEADERS_BYTES_MAX = 8 * 512  # of the two members, pax headers and the zeros behind them


def lines_of(contents: Contents) -> int:
    """How many rows the longest data volume has."""
    return -(-max(contents.volumes) // ROW_BYTES)


def sums_bytes(lines: int, volumes: int) -> int:
    """The size of the sums: of one recovery volume's rows and of ``volumes`` data volumes, and the last."""
    return lines * (volumes + 1) * SUM_BYTES + SUM_BYTES


def recovery_bytes(contents: Contents, contents_bytes: int) -> int:
    """The size of a recovery volume."""
    return sums_offset(contents, contents_bytes) + _stored(_sums_bytes(contents)) + len(END)


def rows_offset(contents: Contents, contents_bytes: int) -> int:
    """Where the first row begins in a recovery volume."""
    return head_bytes(contents_bytes) + len(header_of(DATA_NAME, lines_of(contents) * ROW_BYTES))


def sums_offset(contents: Contents, contents_bytes: int) -> int:
    """Where the sums begin there."""
    rows_end = rows_offset(contents, contents_bytes) + lines_of(contents) * ROW_BYTES
    return rows_end + len(header_of(SUMS_NAME, _sums_bytes(contents)))


def volume_bytes_max(limit_bytes: int, head: int, volumes: int) -> int:
    """How large a data volume may be, so that neither it nor a recovery volume exceeds ``limit_bytes``."""
    room = limit_bytes - head - len(END) - HEADERS_BYTES_MAX - SUM_BYTES
    return max(room // (ROW_BYTES + (volumes + 1) * SUM_BYTES), 0) * ROW_BYTES


def _sums_bytes(contents: Contents) -> int:
    return sums_bytes(lines_of(contents), len(contents.volumes))


def _stored(size: int) -> int:
    return size + padding_bytes(size)
