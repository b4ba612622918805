"""Two hosts behind one mirror that have the same images: ``bad``, which is asked first, and ``good``."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from faults.trial import Trial, trial
from sampan.testing import FakeRegistry, Image, image, random_layer
from standstill import LoopClock

ALPINE = image("library/alpine", "3", layers=[random_layer(1, 200_000), random_layer(2, 100_000)])
EDGE = image("library/alpine", "edge", layers=[random_layer(3, 5_000)], seed=1)
BUSYBOX = image("library/busybox", "1", layers=[random_layer(4, 5_000)], seed=2)
BLOBS = len(ALPINE.blobs)  # of ALPINE: its config and its layers, which a client asks for side by side
AT_ONCE_SECONDS = 0.05  # in the loop's time, in which what is not waited for takes next to none


class Calendar(LoopClock):
    """The loop's time, dates that go with it, and leaps over what would take the loop a thousand turns."""

    def __init__(self) -> None:
        super().__init__()
        self._ahead = 0.0

    def advance(self, seconds: float) -> None:
        self._ahead += seconds

    def monotonic(self) -> float:
        return super().monotonic() + self._ahead

    def time(self) -> float:
        return self.monotonic()


@contextlib.asynccontextmanager
async def ordeal(
    path: Path, *images: Image, alone: bool = False, **options: Any
) -> AsyncIterator[tuple[Trial, FakeRegistry, FakeRegistry]]:
    """Both have ``images``, ALPINE if there are none. ``alone``: only ``bad`` is asked. ``options``: those of
    ``trial``."""
    async with FakeRegistry("bad") as bad, FakeRegistry("good", host="127.0.0.2") as good:
        for one in images or (ALPINE,):
            good.add(bad.add(one))
        async with trial(path, [bad] if alone else [bad, good], **options) as endured:
            yield endured, bad, good
