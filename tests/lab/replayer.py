"""``python -m lab.replayer``: replays chains on the machine that it runs on, one for each line on stdin.

A line is ``{"runtime": …, "version": …, "reference": …}``, its answer ``{"printed": …, "withheld": …}``, both
null for an image that comes. One process for many cases: to start Python takes longer than to replay.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path

from sampan.clock import SystemClock
from sampan.doctor.chain.plans import CHAINS, nameserver_of, walk_of
from sampan.doctor.chain.replay import Replay, Replayed
from sampan.oci.platform import Platform
from sampan.oci.reference import Reference
from sampan.runtimes.contract import Installed, Version
from sampan.runtimes.tree import Tree

AMD64 = Platform("linux", "amd64")


async def replay_one(runtime: str, version: str, reference: str) -> Replayed:
    """What is foretold."""
    tree = Tree(Path("/"))
    chain = CHAINS[runtime](tree, Installed(Version.find(version)), Reference.parse(reference))
    replay = Replay(tree, SystemClock())
    try:
        return await replay.run(replace(chain, nameserver=nameserver_of(tree)), walk_of(chain, AMD64))
    finally:
        await replay.close()


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        found = asyncio.run(replay_one(asked["runtime"], asked["version"], asked["reference"]))
        printed = None if found.outcome is None else found.outcome.printed
        print(json.dumps({"printed": printed, "withheld": found.withheld}), flush=True)


if __name__ == "__main__":
    main()
