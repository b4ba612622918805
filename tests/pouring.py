"""Hosts at the end of lines whose speed a test says, and a clock that only moves as the lines pour.

A second passes in some milliseconds; who looks how things go looks at every turn of the event loop. What
belongs in a thread is done at once, unless a test says otherwise: so each run is like the last one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from rig import ALPINE, HUB, Rig, mirror_of
from sampan.errors import SampanError
from sampan.mirror.blobs import Brought
from sampan.mirror.patience import Patience
from sampan.mirror.spread import Spread
from sampan.oci import Digest
from sampan.testing import (
    Body,
    FakeRegistry,
    Fault,
    Image,
    ManualClock,
    Match,
    Request,
    Tap,
    image,
    random_layer,
)
from sampan.testing.images import Content
from sampan.upstream.host import Host

KIB, MIB = 1024, 1024 * 1024
TICK_SECONDS = 0.1
TURNS = 20  # of the event loop in a tick: enough for bytes that were poured to be on disk
QUIET_TICKS = 10  # a moment between two answers is none
TICKS_MAX = 5000
SPREAD = Spread(look_seconds=0.0, wide_bytes=MIB, piece_bytes_min=256 * KIB)
PATIENCE = Patience(come_back_seconds=0.0)
BLOB = Match(kind="blob")

T = TypeVar("T")


class AtOnce(ThreadPoolExecutor):
    """Has no threads: what is submitted is done by then."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        done: Future[T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001  # it is raised where the result is asked for
            done.set_exception(error)
        return done


@dataclass
class Line:
    """A host, and the line that leads to it."""

    registry: FakeRegistry
    bytes_per_second: float
    tap: Tap = field(default_factory=Tap)

    @property
    def name(self) -> str:
        return self.registry.netloc

    @property
    def asked(self) -> list[Request]:
        """What it was asked of the layer, in order."""
        return [request for request in self.registry.requests if request.kind == "blob"]

    @property
    def ranges(self) -> list[str]:
        return [request.headers.get("range", "") for request in self.asked]

    def does(self, fault: Fault, *, on: Match = BLOB, times: int | None = None) -> None:
        """Misbehave, at the speed of the line; what is said last comes first."""
        self.registry.behave()
        self.registry.script(fault.joined(self.tap.fault()), on=on, times=times)
        self.registry.script(self.tap.fault(), on=BLOB)

    def lies(self, *places: int) -> None:
        """One bit is wrong at each of these places of the layer."""
        for blobs in (place.blobs for place in self.registry.shelf.repositories.values()):
            for digest, content in blobs.items():
                blobs[digest] = flipped(content, *places)


def flipped(content: Content, *places: int) -> Content:
    """Under its old digest."""
    data = bytearray(content.read())
    for at in places:
        if at < len(data):
            data[at] ^= 1
    return replace(content, body=Body.of(bytes(data)))


@lru_cache(maxsize=3)  # to make one takes as long as many a test
def made(size: int, seed: int) -> Image:
    return image(ALPINE, "3", layers=[random_layer(seed, size)])


@dataclass
class Ground:
    """A mirror and its hosts."""

    rig: Rig
    clock: ManualClock
    lines: list[Line]
    image: Image
    seconds: float = 0.0  # in which somebody sent
    quiet_ticks: int = 0
    busiest: list[int] = field(default_factory=list)  # of each host: with how many answers at once

    @property
    def layer(self) -> Digest:
        return Digest.parse(self.image.layers[0].digest)

    @property
    def data(self) -> bytes:
        return self.image.layers[0].read()

    @property
    def size(self) -> int:
        return self.image.layers[0].size

    def received(self, line: Line) -> int:
        """What the mirror has had of it."""
        return self.rig.watcher.received_bytes.get(line.name, 0)

    async def bring(self) -> Brought:
        """The layer into the store, at the speed of the lines. Its manifest is known."""
        await self.rig.mirror.manifest(HUB, ALPINE, "3")
        return await self.poured(self.rig.mirror.bring(HUB, ALPINE, self.layer))

    async def poured(self, work: Awaitable[T], until: Callable[[], bool] = lambda: False) -> T:
        """``work``, while the lines pour, or open up when ``until`` holds."""
        task = asyncio.ensure_future(work)
        try:
            await self.pour(lambda: task.done() or until())
            for line in self.lines if not task.done() else ():
                line.tap.open()
            return await task
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def pour(self, until: Callable[[], bool]) -> None:
        """Let time pass until that holds."""
        for _ in range(TICKS_MAX):
            if until():
                return
            await self.tick()
        raise AssertionError("it takes too long")

    async def tick(self) -> None:
        """What comes in a tenth of a second. While nobody sends, time passes only when that goes on."""
        is_sent = any(line.tap.waiting for line in self.lines)
        self.quiet_ticks = 0 if is_sent else self.quiet_ticks + 1
        if is_sent or self.quiet_ticks > QUIET_TICKS:
            self.clock.advance(TICK_SECONDS)
            self.seconds += TICK_SECONDS * is_sent
        for line in self.lines:
            line.tap.pour(int(line.bytes_per_second * TICK_SECONDS))
        for _ in range(TURNS):
            await asyncio.sleep(0)
        open_now = [len(line.registry._tasks) for line in self.lines]
        self.busiest = [max(pair) for pair in zip(self.busiest or open_now, open_now, strict=True)]

    async def settled(self) -> None:
        """Until no download is under way."""
        await self.pour(lambda: not self.rig.mirror.downloads_in_flight)

    def attempts(self, outcome: str) -> set[str]:
        """Who ended so."""
        return {attempt.host for _, attempt in self.rig.watcher.attempts if attempt.outcome == outcome}

    def strikes(self, line: Line) -> int:
        return sum(
            state.strikes for state in self.rig.mirror.health.states() if state.host == line.registry.url
        )


@asynccontextmanager
async def ground(
    path: Path,
    *speeds: float,
    size: int,
    seed: int = 1,
    spread: Spread = SPREAD,
    patience: Patience = PATIENCE,
    settings: Sequence[dict[str, Any]] = (),
    verify: str | None = None,
    threads: bool = False,
    **options: Any,
) -> AsyncIterator[Ground]:
    """Hosts of these speeds, in bytes a second, all with one layer of ``size``; ``settings`` of each."""
    clock = ManualClock()
    if not threads:
        asyncio.get_running_loop().set_default_executor(AtOnce())
    async with AsyncExitStack() as stack:
        layer = made(size, seed)
        lines = []
        for number, speed in enumerate(speeds):
            registry = FakeRegistry(f"host{number}", host=f"127.0.0.{number + 2}", clock=clock)
            line = Line(await stack.enter_async_context(registry), speed)
            registry.add(layer)
            registry.script(line.tap.fault(), on=BLOB)
            lines.append(line)
        own = [*settings, *[{}] * (len(lines) - len(settings))]
        hosts = [
            Host.from_url(line.registry.url, **{"verify": verify, **each})
            for line, each in zip(lines, own, strict=True)
        ]
        rig = await stack.enter_async_context(
            mirror_of(path, {HUB: hosts}, clock=clock, patience=patience, spread=spread, **options)
        )
        yield Ground(rig, clock, lines, layer)


async def outcome(work: Awaitable[object]) -> SampanError | None:
    """The error of ours that it ends with."""
    try:
        await work
    except SampanError as error:
        return error
    return None
