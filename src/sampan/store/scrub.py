"""Hashing what is stored again, at a bounded rate: the disk may have forgotten what it confirmed.

Guarantees that what does not hash to its name is in quarantine afterwards, where no client gets it, so that
the next request fetches it anew; that what another process commits, removes or serves meanwhile is neither
disturbed nor taken for damage; and that the disk is asked, not the memory in front of it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sampan.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from sampan.clock import Clock
    from sampan.oci.digest import Digest
    from sampan.store.disk import DiskStore

PAUSE_SECONDS_MAX = 1.0  # slept at once, so that whoever interrupts it need not wait for long


@dataclass(frozen=True, slots=True)
class ScrubReport:
    """What a scrub found. ``damaged`` are in quarantine now."""

    checked: int
    checked_bytes: int
    damaged: tuple[Digest, ...]


class Throttle:
    """Keeps reading to ``bytes_per_second``; None: no limit. What was slower than that is not made up for."""

    def __init__(
        self,
        bytes_per_second: float | None,
        *,
        clock: Clock = SystemClock(),
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._bytes_per_second = bytes_per_second
        self._clock = clock
        self._sleep = sleep
        self._before = clock.monotonic()

    def read(self, count_bytes: int) -> None:
        """So many were read since the last call returned: wait until that was allowed."""
        if self._bytes_per_second is not None:
            due = self._before + count_bytes / self._bytes_per_second
            while (left := due - self._clock.monotonic()) > 0:
                self._sleep(min(left, PAUSE_SECONDS_MAX))
        self._before = self._clock.monotonic()


def scrub(
    store: DiskStore,
    *,
    only: Collection[Digest] | None = None,
    throttle: Throttle | None = None,
    told: Callable[[int, int], None] = lambda _blobs, _bytes: None,
) -> ScrubReport:
    """Hash every blob again, or those of ``only``. Not counted as a use.

    ``told`` hears how many blobs and bytes were checked so far, after each stride. Blocks: run it in a
    thread. Raises StoreError when the store cannot be listed.
    """
    checked, checked_bytes, damaged = 0, 0, []
    throttle = throttle or Throttle(None)

    def stride(count_bytes: int) -> None:
        nonlocal checked_bytes
        checked_bytes += count_bytes
        told(checked, checked_bytes)
        throttle.read(count_bytes)

    for blob in store.blobs():
        if only is not None and blob.digest not in only:
            continue
        right = store.check(blob.digest, stride)
        if right is None:
            continue  # evicted since it was listed
        checked += 1
        if not right:
            damaged.append(blob.digest)
    told(checked, checked_bytes)
    return ScrubReport(checked, checked_bytes, tuple(damaged))
