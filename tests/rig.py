"""A whole mirror in this process: real store, real client, hosts on loopback; no HTTP front."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sampan.clock import Clock, SystemClock
from sampan.errors import Attempt
from sampan.mirror.blobs import BlobAnswer
from sampan.mirror.patience import Patience
from sampan.mirror.room import Room
from sampan.mirror.service import Mirror
from sampan.mirror.spread import Spread
from sampan.mirror.tagged import TagPolicy
from sampan.oci import Digest, Registries
from sampan.store.disk import DiskStore
from sampan.store.tags import TagStore
from sampan.testing import FakeRegistry
from sampan.upstream.client import RegistryClient
from sampan.upstream.credentials import CredentialFiles
from sampan.upstream.health import Health
from sampan.upstream.host import Host
from sampan.upstream.transport import Transport
from standstill import LoopClock

HUB = "docker.io"
ALPINE = "library/alpine"


@dataclass
class Watcher:
    """An observer that writes down what it hears."""

    attempts: list[tuple[str, Attempt]] = field(default_factory=list)
    received_bytes: dict[str, int] = field(default_factory=dict)
    downloads: list[str] = field(default_factory=list)
    hedges: list[tuple[str, bool]] = field(default_factory=list)
    stale: int = 0

    def attempted(self, registry: str, kind: str, attempt: Attempt) -> None:
        self.attempts.append((kind, attempt))

    def hedged(self, registry: str, kind: str, *, won: bool) -> None:
        self.hedges.append((kind, won))

    def received(self, host: str, count_bytes: int) -> None:
        self.received_bytes[host] = self.received_bytes.get(host, 0) + count_bytes

    def answered(self, registry: str, kind: str, source: str, *, stale: bool) -> None:
        self.stale += stale

    def download_started(self, registry: str) -> None:
        pass

    def download_ended(self, registry: str, outcome: str) -> None:
        self.downloads.append(outcome)


@dataclass
class Rig:
    """The mirror and what stands around it."""

    mirror: Mirror
    store: DiskStore
    watcher: Watcher
    room: Room

    async def pull(self, tag: str = "3", *, registry: str = HUB, repository: str = ALPINE) -> int:
        """What a runtime does: the manifest, then its blobs side by side. Returns the bytes of blobs."""
        answer = await self.mirror.manifest(registry, repository, tag)
        wanted = [d.digest for d in answer.manifest.references]
        return sum(
            await asyncio.gather(*(self.read(d, registry=registry, repository=repository) for d in wanted))
        )

    async def read(self, digest: Digest | str, *, registry: str = HUB, repository: str = ALPINE) -> int:
        """One blob, hashed as it comes; returns its size."""
        wanted = digest if isinstance(digest, Digest) else Digest.parse(digest)
        data = await self.bytes(wanted, registry=registry, repository=repository)
        assert Digest.of(data, wanted.algorithm) == wanted
        return len(data)

    async def bytes(
        self, digest: Digest | str, *, registry: str = HUB, repository: str = ALPINE, start: int = 0
    ) -> bytes:
        wanted = digest if isinstance(digest, Digest) else Digest.parse(digest)
        answer = await self.mirror.blob(registry, repository, wanted)
        try:
            return b"".join([piece async for piece in pieces(answer, start)])
        finally:
            answer.close()


async def pieces(answer: BlobAnswer, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
    """The bytes of an answer, read from its windows as the server's sendfile would."""
    async for window in answer.windows(start, answer.size if stop is None else stop):
        data = os.pread(window.file.fileno(), window.count, window.offset)
        assert len(data) == window.count
        yield data


@asynccontextmanager
async def mirror_of(
    path: Path,
    hosts: Iterable[FakeRegistry | Host] | Mapping[str, Sequence[Host]],
    *,
    policy: TagPolicy | None = None,
    clock: Clock | None = None,
    verify: str | None = None,
    patience: Patience | None = None,
    spread: Spread | None = None,
    read_seconds: float = 10.0,
    max_size_bytes: int | None = None,
    store_clock: Clock | None = None,
    watcher: Watcher | None = None,
) -> AsyncIterator[Rig]:
    """A mirror of docker.io (or of the registries of a mapping) with its store in ``path``; ``store_clock``:
    the store's own, which is the machine's otherwise, for files have the machine's stamps."""
    if isinstance(hosts, Mapping):
        table = dict(hosts)
    else:
        table = {HUB: [h if isinstance(h, Host) else Host.from_url(h.url, verify=verify) for h in hosts]}
    watcher, time = watcher or Watcher(), clock or LoopClock()
    store = await asyncio.to_thread(DiskStore, path, store_clock or SystemClock())
    tag_store = TagStore(path / "tags", store_clock or SystemClock())
    room, health = Room(store, tag_store, max_size_bytes), Health(time)
    mirror = Mirror(
        hosts_for=lambda registry: table.get(registry),
        registries=Registries(frozenset(table), wildcard=False, default=HUB),
        store=store,
        tag_store=tag_store,
        room=room,
        client=RegistryClient(
            Transport(),
            credentials=CredentialFiles((), environment={}, clock=time),
            clock=time,
            read_seconds=read_seconds,
            quota=health.quota,
            budget=health.budget,
        ),
        health=health,
        tag_policy=policy,
        observer=watcher,
        patience=patience,
        spread=spread,
        clock=time,
    )
    try:
        yield Rig(mirror, store, watcher, room)
    finally:
        await mirror.close()
        tag_store.close()
        store.close()


def assert_store_is_sound(path: Path) -> int:
    """Every file under ``blobs/`` hashes to its name. Returns how many there are."""
    files = [file for file in (path / "blobs").rglob("*") if file.is_file()]
    for file in files:
        assert Digest.of(file.read_bytes(), file.parent.name).hex == file.name, f"{file} is not what it says"
    return len(files)
