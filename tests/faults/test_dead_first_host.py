"""A first host that drops every SYN, and an image of 20 layers: what it costs, in the loop's exact time."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.trial import trial
from sampan.testing import FakeRegistry, image, random_layer
from sampan.testing.dead_ends import BlackHole
from sampan.upstream.host import Host

pytestmark = pytest.mark.standstill

LAYERS = 20
IMAGES = [
    image(
        "library/alpine", tag, layers=[random_layer(100 * number + layer, 50_000) for layer in range(LAYERS)]
    )
    for number, tag in enumerate(("3", "4"))
]
FIRST_SECONDS_MAX = 1.1  # of waiting for the dead host, in all of the first image ...
NEXT_SECONDS_MAX = 0.05  # ... and in the next one, within the breaker's period


async def seconds_of_each(path: Path, hosts: list[Host]) -> list[float]:
    """What the pull of each of the images takes, one after the other."""
    took = []
    async with trial(path, hosts) as endured:
        for one in IMAGES:
            await endured.pull(one)
            took.append(endured.seconds)
    return took


async def test_a_dead_first_host_costs_a_second_once_and_then_nothing(tmp_path: Path) -> None:
    async with BlackHole() as dead, FakeRegistry("good", host="127.0.0.2") as good:
        for one in IMAGES:
            good.add(one)
        well = await seconds_of_each(tmp_path / "well", [Host.from_url(good.url)])
        asked = len(good.requests)
        first, following = await seconds_of_each(
            tmp_path / "dead", [Host.from_url(dead.url), Host.from_url(good.url)]
        )
        assert first - well[0] <= FIRST_SECONDS_MAX
        assert following - well[1] <= NEXT_SECONDS_MAX
        assert len(good.requests) == 2 * asked, "each thing was asked for once"
