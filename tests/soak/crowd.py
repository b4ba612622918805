"""A thousand clients of one mirror: most pull, some read slowly, leave early, or never say what they want."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from typing import Any

from sampan.testing import Image

READ_BYTES = 64 * 1024
PAUSE_SECONDS = 7.0  # between two pulls of one client, on average
SLOW_BYTES_PER_SECOND = 100_000
SLOW_READ_BYTES = 10_000
KINDS = {"pulls": 700, "reads slowly": 150, "leaves early": 50, "says half of it": 50, "says nothing": 50}


class Failed(Exception):
    """An answer that is not what a client must get."""


class Connection:
    """One that is kept for several requests."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def get(self, path: str, *, leaves: bool = False, slowly: bool = False) -> tuple[int, str]:
        """Size and sha256 of a body. Raises Failed; ``leaves``: in the middle of it."""
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: soak\r\n\r\n".encode())
        try:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Failed(f"{path}: no answer: {error}") from error
        status, size = head.split(" ", 2)[1], int(head.partition("content-length:")[2].split("\r\n")[0])
        if status != "200":
            raise Failed(f"{path}: {status}: {(await self.reader.readexactly(min(size, 2000)))!r}")
        hasher, wanted = hashlib.sha256(), size // 2 if leaves else size
        left = wanted
        while left:
            data = await self.reader.read(min(left, SLOW_READ_BYTES if slowly else READ_BYTES))
            if not data:
                raise Failed(f"{path}: cut {left} bytes before its end")
            hasher.update(data)
            left -= len(data)
            if slowly:
                await asyncio.sleep(len(data) / SLOW_BYTES_PER_SECOND)
        return wanted, f"sha256:{hasher.hexdigest()}"


@dataclass
class Crowd:
    """``images``: what there is to pull at the moment; ``large``: what slow readers read."""

    netloc: str
    images: list[Image]
    large: list[Image]
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def start(self, seed: int) -> list[asyncio.Task[None]]:
        """All of them, until they are cancelled."""
        clients = []
        for kind, count in KINDS.items():
            for number in range(count):
                chance = random.Random(f"{seed} {kind} {number}")
                clients.append(asyncio.create_task(self._lives(kind, self._work(kind, chance))))
        return clients

    def _work(self, kind: str, chance: random.Random) -> Coroutine[Any, Any, None]:
        works = {
            "pulls": self._pulls,
            "reads slowly": self._reads_slowly,
            "leaves early": self._leaves_early,
            "says half of it": self._says_half,
            "says nothing": self._says_nothing,
        }
        return works[kind](chance)

    async def _lives(self, kind: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001  # whatever it is, somebody was not served
            self.failures.append(f"{kind}: {type(error).__name__}: {error}")

    @contextlib.asynccontextmanager
    async def _connected(self, limit: int = 2 * READ_BYTES) -> AsyncIterator[Connection]:
        host, _, port = self.netloc.rpartition(":")
        connection = Connection(*await asyncio.open_connection(host, int(port), limit=limit))
        try:
            yield connection
        finally:
            connection.writer.transport.abort()

    async def _pulls(self, chance: random.Random) -> None:
        """An image, each byte of it hashed, on a connection for each pull, which stays open for a while."""
        await asyncio.sleep(chance.random() * 2 * PAUSE_SECONDS)
        while True:
            each = chance.choice(self.images)
            async with self._connected() as connection:
                _, digest = await connection.get(f"/v2/{each.repository}/manifests/{each.tag}?ns=docker.io")
                self._check(digest, each.digest)
                for blob in each.blobs:
                    _, digest = await connection.get(
                        f"/v2/{each.repository}/blobs/{blob.digest}?ns=docker.io"
                    )
                    self._check(digest, blob.digest)
                    self.counts["blobs"] += 1
                self.counts["pulls"] += 1
                await asyncio.sleep(chance.random() * 2 * PAUSE_SECONDS)

    def _check(self, digest: str, expected: str) -> None:
        if digest != expected:
            raise Failed(f"{digest} came, and {expected} was asked for")

    async def _reads_slowly(self, chance: random.Random) -> None:
        while True:
            each = chance.choice(self.large)
            layer = each.layers[0].digest
            async with self._connected(limit=2 * SLOW_READ_BYTES) as connection:
                _, digest = await connection.get(
                    f"/v2/{each.repository}/blobs/{layer}?ns=docker.io", slowly=True
                )
            self._check(digest, layer)
            self.counts["slow reads"] += 1

    async def _leaves_early(self, chance: random.Random) -> None:
        while True:
            each = chance.choice(self.large)
            async with self._connected() as connection:
                path = f"/v2/{each.repository}/blobs/{each.layers[0].digest}?ns=docker.io"
                await connection.get(path, leaves=True)
            self.counts["left early"] += 1
            await asyncio.sleep(chance.random() * 2 * PAUSE_SECONDS)

    async def _says_half(self, chance: random.Random) -> None:
        """Of its request; until the mirror has had enough of it."""
        while True:
            async with self._connected() as connection:
                connection.writer.write(b"GET /v2/library/alpine/manifests/3 HTTP/1.1\r\nHost: so")
                with contextlib.suppress(OSError):
                    await connection.reader.read()
            self.counts["half requests ended"] += 1
            await asyncio.sleep(chance.random())

    async def _says_nothing(self, chance: random.Random) -> None:
        while True:
            async with self._connected() as connection:
                with contextlib.suppress(OSError):
                    await connection.reader.read()
            self.counts["silent connections ended"] += 1
            await asyncio.sleep(chance.random())
