"""Two hosts behind one mirror that have the same images: ``bad``, which is asked first, and ``good``."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from faults.trial import AheadClock, Trial, trial
from sampan.testing import FakeRegistry, Image, image, random_layer

ALPINE = image("library/alpine", "3", layers=[random_layer(1, 200_000), random_layer(2, 100_000)])
EDGE = image("library/alpine", "edge", layers=[random_layer(3, 5_000)], seed=1)
BUSYBOX = image("library/busybox", "1", layers=[random_layer(4, 5_000)], seed=2)
BLOBS = len(ALPINE.blobs)  # of ALPINE: its config and its layers, which a client asks for side by side
AT_ONCE_SECONDS = 0.05  # in the loop's time, in which what is not waited for takes next to none


class Calendar(AheadClock):
    """Dates that go with the loop's time, and not with the machine's."""

    def time(self) -> float:
        return self.monotonic()


async def assert_endured_at_once(endured: Trial, bad: FakeRegistry, *reasons: str) -> None:
    """``bad`` was asked for each thing of ALPINE at most once, nothing was waited for, and all is there."""
    await endured.assert_endured(
        bad, reasons=reasons, requests_max=1 + BLOBS, seconds_max=AT_ONCE_SECONDS, holds=[ALPINE]
    )


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
