"""What a process takes while it runs, and how late its event loop is, looked at again and again."""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

LOOK_SECONDS = 2.0
MIB = 1024 * 1024
_BUCKET = re.compile(r'sampan_event_loop_delay_seconds_bucket\{le="([^"]+)"\} ([0-9.e+]+)')


@dataclass(frozen=True, slots=True)
class Sample:
    """``ran_seconds`` on a processor, ``waited_seconds`` for one: where others take them, everybody is late.
    Both are of the main thread, which has the event loop."""

    memory_bytes: int
    files: int
    ran_seconds: float
    waited_seconds: float


@dataclass
class Gauges:
    """Of the process ``pid`` that serves at ``netloc``."""

    pid: int
    netloc: str
    samples: list[Sample] = field(default_factory=list)

    async def watch(self) -> None:
        """Until it is cancelled."""
        while True:
            self.samples.append(sample(self.pid))
            await asyncio.sleep(LOOK_SECONDS)

    async def delays(self) -> dict[float, float]:
        """How often the loop was late by no more than so many seconds."""
        host, _, port = self.netloc.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n")
        text = (await reader.read()).decode()
        writer.close()
        return {float(limit.replace("+Inf", "inf")): float(count) for limit, count in _BUCKET.findall(text)}

    def processor_seconds(self) -> tuple[float, float]:
        """For how long it had one, and waited for one."""
        first, last = self.samples[0], self.samples[-1]
        return last.ran_seconds - first.ran_seconds, last.waited_seconds - first.waited_seconds

    def parts(self) -> tuple[list[Sample], list[Sample]]:
        """The second quarter and the last one: what was needed to begin with does not count."""
        quarter = len(self.samples) // 4
        return self.samples[quarter : 2 * quarter], self.samples[-quarter:]


def sample(pid: int) -> Sample:
    """Of a process, now."""
    process = Path(f"/proc/{pid}")
    pages = int((process / "statm").read_text().split()[1])
    ran, waited, _ = map(int, (process / "schedstat").read_text().split())
    return Sample(
        pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir(process / "fd")), ran / 1e9, waited / 1e9
    )


def quantile(before: dict[float, float], after: dict[float, float], share: float) -> float:
    """The limit below which ``share`` of what was counted between the two lies."""
    counted = {limit: after[limit] - before.get(limit, 0.0) for limit in after}
    whole = max(counted.values())
    return min(limit for limit, count in counted.items() if count >= share * whole)
