"""How late the event loop is, as it is counted."""

from __future__ import annotations

import asyncio
import time

from sampan.server.delay import LOOK_SECONDS, DelayWatch
from sampan.server.metrics import Metrics
from sampan.testing import ManualClock


async def test_a_loop_that_is_blocked_is_late_by_so_much() -> None:
    seen: list[float] = []
    came = asyncio.Event()

    def observe(seconds: float) -> None:
        seen.append(seconds)
        came.set()

    with DelayWatch(observe):
        time.sleep(LOOK_SECONDS * 3)  # noqa: ASYNC251  # that is what is seen
        await came.wait()
    assert seen[0] >= LOOK_SECONDS * 2 - 0.01


async def test_it_is_counted_in_buckets() -> None:
    metrics = Metrics(ManualClock())
    for seconds in (0.0, 0.07, 0.3):
        metrics.loop_was_late(seconds)
    text = (await metrics.render(0)).decode()
    assert 'sampan_event_loop_delay_seconds_bucket{le="0.1"} 2.0' in text
    assert "sampan_event_loop_delay_seconds_count 3.0" in text
