"""The two checks of this package: a runtime's requests replayed, and a real pull compared with that.

What they find (the codes, and what each is about):

* CHAIN_FAILS: a runtime cannot pull an image; the request that fails, where it goes on, what it prints
* CHAIN_DETOUR: it arrives, after hosts that fail
* CHAIN_ASKS_NOBODY: the runtime does not get as far as asking (the CRI is not loaded, nobody may resolve)
* PREDICTION_DIFFERS: a real pull ended otherwise than was foretold
* PULL_FAILS: a real pull failed as foretold
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from sampan.doctor.contract import Finding, Scene, Unseen


async def check_chain(scene: Scene) -> AsyncIterator[Finding | Unseen]:
    """What each runtime would get for each reference, by asking as it asks."""
    for found in ():
        yield found


async def check_pulls(scene: Scene) -> AsyncIterator[Finding | Unseen]:
    """What each running runtime gets for each reference, by pulling it; compared with what was foretold."""
    for found in ():
        yield found
