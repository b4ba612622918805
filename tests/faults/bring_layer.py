"""One layer from several hosts into a store, as a process that can be killed; it says how much is on disk.

    python -m faults.bring_layer STORE DIGEST URL…

Its clock runs faster than others: what takes a download seconds to decide takes it a moment.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from pouring import SPREAD
from rig import ALPINE, HUB, mirror_of
from sampan.mirror.patience import Patience
from sampan.oci import Digest
from sampan.upstream.host import Host

TIMES_FASTER = 20


class HastyClock:
    def monotonic(self) -> float:
        return time.monotonic() * TIMES_FASTER

    def time(self) -> float:
        return time.time()


async def bring(store: Path, digest: str, urls: list[str]) -> None:
    hosts = {HUB: [Host.from_url(url) for url in urls]}
    async with mirror_of(store, hosts, clock=HastyClock(), patience=Patience(), spread=SPREAD) as rig:
        await rig.mirror.manifest(HUB, ALPINE, "3")
        bringing = asyncio.ensure_future(rig.mirror.bring(HUB, ALPINE, Digest.parse(digest)))
        while not bringing.done():
            await asyncio.wait([bringing], timeout=0.005)
            for download in rig.mirror._downloads._running.values():
                print(download.arrival.arrived, flush=True)
        print((await bringing).size, flush=True)


if __name__ == "__main__":
    asyncio.run(bring(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
