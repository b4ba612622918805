"""The two checks of this package: a runtime's requests replayed, and a real pull compared with that.

What they find: CHAIN_FAILS, CHAIN_DETOUR, CHAIN_PASSES_OVER, CHAIN_ASKS_NOBODY of :func:`check_chain`;
PULL_FAILS and PREDICTION_DIFFERS of :func:`check_pulls`. The sentences are :mod:`.saying`'s.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from sampan.doctor.aside import aside
from sampan.doctor.chain.contract import Chain
from sampan.doctor.chain.plans import chains_of, walk_of
from sampan.doctor.chain.pulling import Pulled, Puller, puller_of
from sampan.doctor.chain.replay import Replay, Replayed
from sampan.doctor.chain.saying import about_chain, about_pull
from sampan.doctor.contract import Finding, Scene, Unseen
from sampan.pull.detect import platform_of_machine

LAYERS_MAX = 1  # of an image that are asked for: a host that has one mostly has all


async def check_chain(scene: Scene) -> AsyncIterator[Finding | Unseen]:
    """What each runtime would get for each reference, by asking as it asks."""
    chains = await aside(lambda: list(chains_of(scene.visible)))
    async with _replaying(scene) as replay:
        tasks = [asyncio.create_task(_replayed(replay, chain)) for _, _, chain in chains]
        try:
            for task in asyncio.as_completed(tasks):
                for found in about_chain(await task):
                    yield found
        finally:
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def check_pulls(scene: Scene) -> AsyncIterator[Finding | Unseen]:
    """What each running runtime gets for each reference, by pulling it; compared with what was foretold."""
    machine = scene.machine
    if machine is None:
        return
    chains = await aside(lambda: list(chains_of(scene.visible)))
    async with _replaying(scene) as replay:
        for seen, _, chain in chains:
            look = partial(puller_of, machine, seen.installed, seen.runtime.name)
            puller = await aside(look)
            if isinstance(puller, Unseen):
                yield puller
                continue
            foretold, pulled = await asyncio.gather(_replayed(replay, chain), _pulled(puller, chain))
            for found in about_pull(foretold, pulled):
                yield found


@asynccontextmanager
async def _replaying(scene: Scene) -> AsyncIterator[Replay]:
    replay = Replay(scene.tree, scene.clock)
    try:
        yield replay
    finally:
        await replay.close()


async def _replayed(replay: Replay, chain: Chain) -> Replayed:
    platform = platform_of_machine(os.uname().machine)
    return await replay.run(chain, walk_of(chain, platform, layers_max=LAYERS_MAX))


async def _pulled(puller: Puller, chain: Chain) -> Pulled:
    return await aside(lambda: puller.pull(chain.reference))
