"""The admission webhook: how many reviews one process answers in a second over TLS, and how late.

The process has one core to itself where there are two: the clients have the other. There is no peer here that
could be run: it is measured against what is asked of it, as quotients of the two.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
import time
from dataclasses import dataclass, field

import trustme

from bench.processor import cpu_seconds
from bench.stage import Stage
from bench.table import Bound, Row
from reviews import item, review
from webhook_process import NAME, RULES, serve, write_certificate

REVIEWS_PER_SECOND = 2000.0  # wanted
P99_MILLISECONDS = 5.0  # wanted
CONNECTIONS = 4  # of three API servers and a fourth: each keeps a few
LOAD_SECONDS = 4.0
PACED_SECONDS = 4.0
TICK_SECONDS = 0.002  # 4 connections, one review each: 2,000 a second
MEASURE = "admission webhook"


@dataclass
class _Seen:
    """Reviews a second of the webhook's processor time; 99th percentiles."""

    rates: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)


def measure(stage: Stage) -> list[Row]:
    """Reviews of a pod with three images, over kept TLS connections."""
    directory = stage.directory / "webhook"
    directory.mkdir()
    authority = trustme.CA()
    write_certificate(directory, authority)
    (directory / "sampan.toml").write_text(RULES)
    seen = _Seen()
    with serve(directory) as served:
        _pin(served.process.pid)
        trust = ssl.create_default_context()
        authority.configure_trust(trust)
        for _ in range(stage.rounds):
            before = cpu_seconds(served.process.pid)
            answered = asyncio.run(_as_many_as_possible(served.port, trust))
            seen.rates.append(answered / (cpu_seconds(served.process.pid) - before))
            seen.late_ms.append(asyncio.run(_paced(served.port, trust)))
    wanted_rate, wanted_ms = [REVIEWS_PER_SECOND] * stage.rounds, [P99_MILLISECONDS] * stage.rounds
    return [
        Row(
            f"{MEASURE}, a CPU second",
            "wanted",
            "reviews",
            seen.rates,
            wanted_rate,
            Bound("at least", 1),
        ),
        Row(f"{MEASURE}, p99 at 2,000/s", "wanted", "ms", seen.late_ms, wanted_ms, Bound("less than", 1)),
    ]


def _pin(pid: int) -> None:
    """The last core for the webhook, the others for us."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(pid, {cores[-1]})


def _request() -> bytes:
    body = json.dumps(review(item("Pod"))).encode()
    head = f"POST /mutate?timeout=2s HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class _Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._request = _request()

    @classmethod
    async def connect(cls, port: int, trust: ssl.SSLContext) -> _Client:
        return cls(*await asyncio.open_connection(NAME, port, ssl=trust))

    async def ask(self) -> float:
        """Seconds until the whole answer was there."""
        began = time.perf_counter()
        self._writer.write(self._request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        size = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        body = await self._reader.readexactly(size)
        if not head.startswith(b"HTTP/1.1 200") or b'"patch"' not in body:
            sys.exit(f"bench: the webhook answered {head!r}")
        return time.perf_counter() - began

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


async def _as_many_as_possible(port: int, trust: ssl.SSLContext) -> int:
    clients = [await _Client.connect(port, trust) for _ in range(CONNECTIONS)]
    deadline = time.perf_counter() + LOAD_SECONDS

    async def run(client: _Client) -> int:
        count = 0
        while time.perf_counter() < deadline:
            await client.ask()
            count += 1
        return count

    counts = await asyncio.gather(*(run(client) for client in clients))
    for client in clients:
        await client.close()
    return sum(counts)


async def _paced(port: int, trust: ssl.SSLContext) -> float:
    """The 99th percentile in milliseconds of reviews that come at a steady 2,000 a second, each counted from
    when it should have been sent: waiting for the one before it is waiting too."""
    clients = [await _Client.connect(port, trust) for _ in range(CONNECTIONS)]
    late: list[float] = []
    began = time.perf_counter()

    async def run(client: _Client, offset: float) -> None:
        for number in range(int(PACED_SECONDS / TICK_SECONDS)):
            due = began + offset + number * TICK_SECONDS
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            await client.ask()
            late.append(time.perf_counter() - due)

    await asyncio.gather(*(run(c, n * TICK_SECONDS / CONNECTIONS) for n, c in enumerate(clients)))
    for client in clients:
        await client.close()
    late.sort()
    return late[int(len(late) * 0.99)] * 1000
