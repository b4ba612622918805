"""When a body comes too slowly."""

from __future__ import annotations

import pytest

from sampan.mirror.pace import HOPED_BYTES_PER_SECOND, RATE_MIN_BYTES_PER_SECOND, WINDOW_SECONDS, Pace
from sampan.testing import ManualClock


@pytest.mark.parametrize(
    ("rate", "alternative", "too_slow"),
    [
        (1, HOPED_BYTES_PER_SECOND, True),
        (1, None, False),  # there is nobody else: a crawl is better than nothing
        (1, 2.0, True),  # below the minimum anything else is worth a try
        (RATE_MIN_BYTES_PER_SECOND, 4 * RATE_MIN_BYTES_PER_SECOND, False),
        (50_000, 10_000_000, True),
        (HOPED_BYTES_PER_SECOND, 4 * HOPED_BYTES_PER_SECOND, False),
    ],
)
def test_a_host_is_too_slow_only_when_another_promises_much_more(
    rate: int, alternative: float | None, too_slow: bool
) -> None:
    clock = ManualClock()
    pace = Pace(clock)
    clock.advance(WINDOW_SECONDS)
    pace.received(int(rate * WINDOW_SECONDS))
    assert pace.is_too_slow(lambda: alternative) is too_slow


def test_a_window_is_judged_only_when_it_is_over_and_then_a_new_one_begins() -> None:
    clock = ManualClock()
    pace = Pace(clock)
    clock.advance(WINDOW_SECONDS - 1)
    assert not pace.is_too_slow(lambda: HOPED_BYTES_PER_SECOND)
    clock.advance(1)
    assert pace.is_too_slow(lambda: HOPED_BYTES_PER_SECOND)
    assert not pace.is_too_slow(lambda: HOPED_BYTES_PER_SECOND)
