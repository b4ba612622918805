"""A thousand clients at once, for minutes: nobody is failed, nothing grows, the event loop is in time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest

from interop.serving import Mirror, Serving, serving
from rig import assert_store_is_sound
from sampan.testing import FakeRegistry, Image, ServerThread, image, random_layer
from soak.crowd import KINDS, Crowd
from soak.gauges import MIB, Gauges, quantile
from soak.settings import MINUTES

AT_ONCE = 60  # images that are pulled; one of them becomes another each second
LARGE_BYTES = 16 * MIB
DELAY_SECONDS_MAX = 0.1
MEMORY_GROWTH_MAX = 0.1  # of the median in the second quarter of the time, and 10 MiB
FILES_GROWTH_MAX = 0.1  # and 20


@dataclass
class Ground:
    host: FakeRegistry
    mirror: Serving
    numbers: Iterator[int]

    def new_image(self) -> Image:
        """Of which nobody has anything yet."""
        number = next(self.numbers)
        layers = [random_layer(3 * number, 400_000), random_layer(3 * number + 1, 100_000)]
        made = image(f"library/app{number % AT_ONCE}", str(number), layers=layers)
        return self.host.add(made)


@contextmanager
def ground(path: Path) -> Iterator[Ground]:
    host = FakeRegistry("host")
    with ServerThread(host):
        mirrors: list[Mirror] = [host.url]
        with serving(path, mirrors, home=path, max_size="128MiB") as mirror:
            yield Ground(host, mirror, itertools.count(1))


async def run(g: Ground) -> tuple[Crowd, Gauges, float]:
    """The crowd, what the mirror took, and the delay of its loop that 99 of 100 looks did not exceed."""
    large = [image(f"library/large{n}", "1", layers=[random_layer(-n, LARGE_BYTES)]) for n in range(1, 4)]
    for each in large:
        g.host.add(each)
    crowd = Crowd(g.mirror.netloc, [g.new_image() for _ in range(AT_ONCE)], large)
    gauges = Gauges(g.mirror.process.popen.pid, g.mirror.netloc)
    watching = asyncio.create_task(gauges.watch())
    clients = crowd.start(seed=1)
    before = await gauges.delays()
    try:
        for second in range(int(MINUTES * 60)):
            await asyncio.sleep(1)
            crowd.images[second % AT_ONCE] = await asyncio.to_thread(g.new_image)
            if crowd.failures:
                break
        p99 = quantile(before, await gauges.delays(), 0.99)
    finally:
        for task in (watching, *clients):
            task.cancel()
        await asyncio.wait([watching, *clients])
    return crowd, gauges, p99


@pytest.mark.timeout(MINUTES * 60 + 300)
def test_a_thousand_clients_are_served_for_minutes_and_nothing_grows(tmp_path: Path) -> None:
    with ground(tmp_path) as g:
        crowd, gauges, p99 = asyncio.run(run(g))
        asked = g.host.count(kind="blob")
    early, late = gauges.parts()
    memory = [median(sample.memory_bytes for sample in part) for part in (early, late)]
    files = [max(sample.files for sample in part) for part in (early, late)]
    print(f"\n{sum(KINDS.values())} clients for {MINUTES:g} minutes: {dict(crowd.counts)}")
    print(f"requests for blobs to the host: {asked}; failures: {len(crowd.failures)}")
    print(
        f"memory: {memory[0] / MIB:.1f}, then {memory[1] / MIB:.1f} MiB; files: {files[0]}, then {files[1]}"
    )
    ran, waited = gauges.processor_seconds()
    print(f"its event loop had a processor for {ran:.0f} s, and waited for one for {waited:.0f} s")
    print(f"event loop late by no more than {p99 * 1000:g} ms in 99 of 100 looks")
    assert crowd.failures == []
    assert crowd.counts["pulls"] > 0
    assert asked < crowd.counts["blobs"], "there were hits, too"
    assert memory[1] <= memory[0] * (1 + MEMORY_GROWTH_MAX) + 10 * MIB
    assert files[1] <= files[0] * (1 + FILES_GROWTH_MAX) + 20
    assert p99 <= DELAY_SECONDS_MAX
    assert_store_is_sound(g.mirror.store)
