"""Processor time of a server, children included: nginx answers from one of them."""

from __future__ import annotations

import os
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_seconds(process_id: int) -> float:
    """User and system time so far of a process and those that it started, in seconds."""
    ticks = sum(_ticks(each) for each in (process_id, *children(process_id)))
    return ticks / TICKS_PER_SECOND


def children(process_id: int) -> list[int]:
    """The processes that it started and that still run."""
    listed = Path(f"/proc/{process_id}/task/{process_id}/children").read_text()
    return [int(word) for word in listed.split()]


def _ticks(process_id: int) -> int:
    # proc(5): the second field is a name in parentheses; utime and stime are the 14th and 15th.
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
