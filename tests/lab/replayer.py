"""``python -m lab.replayer``: replays chains on the machine that it runs on, one for each line on stdin.

A line is ``{"runtime": …, "version": …, "reference": …}``; each is answered by ``{"printed": …}``, null for an
image that comes. One process for many cases: to start Python takes longer than to replay.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from sampan.clock import SystemClock
from sampan.doctor.chain.plans import CHAINS, nameserver_of, walk_of
from sampan.doctor.chain.replay import Replay
from sampan.oci.platform import Platform
from sampan.oci.reference import Reference
from sampan.runtimes.contract import Installed, Version
from sampan.runtimes.tree import Tree

AMD64 = Platform("linux", "amd64")


async def replay_one(runtime: str, version: str, reference: str) -> str | None:
    """What is foretold."""
    from dataclasses import replace

    tree = Tree(Path("/"))
    chain = CHAINS[runtime](tree, Installed(Version.find(version)), Reference.parse(reference))
    chain = replace(chain, nameserver=nameserver_of(tree))
    replay = Replay(tree, SystemClock())
    try:
        replayed = await replay.run(chain, walk_of(chain, AMD64))
    finally:
        await replay.close()
    assert replayed.outcome is not None, replayed.withheld
    return replayed.outcome.printed


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        printed = asyncio.run(replay_one(asked["runtime"], asked["version"], asked["reference"]))
        print(json.dumps({"printed": printed}), flush=True)


if __name__ == "__main__":
    main()
