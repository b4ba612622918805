"""Four hosts, three of which do what they like, at random."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from pouring import BLOB, MIB, Ground, Line, ground
from rig import ALPINE, HUB, assert_store_is_sound
from sampan.errors import ContentMismatch
from sampan.mirror.patience import Patience
from sampan.store.disk import DiskStore
from sampan.testing import Fault, Match, faults, random_bytes

FAST = 2 * MIB
SIZE = 9 * MIB
HASTY = Patience(connect_seconds=0.05, blob_seconds=0.05, come_back_seconds=0.0)
RANGED = Match(kind="blob", ranged=True)


def misbehave(line: Line, chance: random.Random) -> str:
    """One of the many ways; its name."""
    place = chance.randrange(SIZE)
    ways: list[tuple[str, Fault | None]] = [
        ("lies", None),
        ("lies everywhere", None),
        ("crawls", None),
        ("stands still", None),
        ("cuts", faults.truncated(chance.randrange(2 * MIB))),
        ("stalls", faults.stalls(chance.randrange(2 * MIB))),
        ("resets", faults.resets(chance.randrange(2 * MIB))),
        ("ignores range", faults.range_ignored()),
        ("404", faults.status(404)),
        ("503", faults.status(503)),
        ("page", faults.page()),
        ("short", faults.short_by(1)),
        ("chunked", faults.chunked()),
        ("http/1.0", faults.http_1_0()),
        ("ignores range and cuts", faults.range_ignored().joined(faults.truncated(place))),
        ("wrong bit in each part", faults.flipped_bit()),
    ]
    name, fault = chance.choice(ways)
    if name == "lies":
        line.lies(place)
    elif name == "lies everywhere":
        line.lies(*range(place % 50_000, SIZE, 50_000))
    elif name == "crawls":
        line.bytes_per_second = 50_000
    elif name == "stands still":
        line.bytes_per_second = 0
    elif fault is not None:
        line.does(fault, on=chance.choice([BLOB, RANGED]), times=chance.choice([None, 1, 2]))
    return name


async def left_by_an_earlier_run(path: Path, g: Ground, chance: random.Random) -> None:
    store = await asyncio.to_thread(DiskStore, path)
    ingest = store.ingest(g.layer, g.size)
    for _ in range(chance.randrange(4)):
        start = max(chance.randrange(g.size), ingest.offset)
        data = g.data[start : start + chance.randrange(2 * MIB)]
        ingest.place(start, data if chance.random() < 0.7 else random_bytes(5, len(data)))
    ingest.suspend()
    store.close()


async def follow(g: Ground) -> None:
    """One who reads as it comes: right bytes, or it is cut and asks again."""
    for _ in range(len(g.lines)):
        try:
            assert await g.rig.bytes(g.layer) == g.data
        except ContentMismatch:
            continue
        return
    raise AssertionError("it was cut more often than there are liars")


async def assert_what_the_honest_one_has_arrives(path: Path, seed: int) -> None:
    """And nobody but liars is struck."""
    chance = random.Random(seed)
    speeds = [FAST * chance.choice([0.5, 1, 2]) for _ in range(4)]
    settings = [{"verify": chance.choice(["stream", "before", None])} for _ in range(4)]
    threads = chance.random() < 0.25
    async with ground(
        path, *speeds, size=SIZE, settings=settings, threads=threads, patience=HASTY, read_seconds=0.2
    ) as g:
        honest = chance.randrange(4)
        ways = {line.name: misbehave(line, chance) for n, line in enumerate(g.lines) if n != honest}
        await left_by_an_earlier_run(path, g, chance)
        await g.rig.mirror.manifest(HUB, ALPINE, "3")
        readers = [follow(g) for _ in range(chance.randrange(3))]
        bringing = g.rig.mirror.bring(HUB, ALPINE, g.layer)
        await g.poured(asyncio.gather(bringing, *readers))
        assert g.rig.store.verify(g.layer)
        liars = {name for name, way in ways.items() if "lies" in way or "bit" in way}
        assert g.attempts("wrong-content") <= liars
        assert g.strikes(g.lines[honest]) == 0
        assert g.rig.mirror.downloads_in_flight == 0
        assert sum(g.received(line) for line in g.lines) <= 12 * g.size
    assert_store_is_sound(path)
