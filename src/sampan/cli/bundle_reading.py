"""How far the reading of a bundle is, shown while it goes on; and its end when somebody interrupts it.

It guarantees that what reads has ended when the command does, and that nothing is drawn without a terminal.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TypeVar

import click

from sampan.bundle.reading import Told
from sampan.bundle.volume_set import VolumeSet

T = TypeVar("T")


def read_through(volumes: VolumeSet, work: Callable[[Told, threading.Event], T], *, times: int = 1) -> T:
    """``work`` to its end, which hears of bytes that were read from several threads. ``times``: how often
    the volumes are read."""
    stop, lock = threading.Event(), threading.Lock()
    total = times * sum(
        path.stat().st_size if path.is_file() else volumes.contents.size_bytes
        for path in (*volumes.data.values(), *volumes.recovery.values())
    )
    if not sys.stderr.isatty():
        return work(lambda _: None, stop)
    with click.progressbar(length=total, file=sys.stderr) as bar:

        def told(count: int) -> None:
            with lock:
                bar.update(count)

        return work(told, stop)
