"""A mirror in memory: content, failures and waits as a test sets them. It has the API of the real one."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import BinaryIO

from sampan.errors import Attempt, NotFound, SampanError
from sampan.oci.digest import Digest
from sampan.oci.distribution import Registries
from sampan.oci.manifest import OCI_INDEX, OCI_MANIFEST, Index, Manifest, parse_manifest
from sampan.testing import ManualClock
from sampan.upstream.budget import Budget
from sampan.upstream.quota import Quota

REGISTRIES = Registries(frozenset(("docker.io", "ghcr.io")), wildcard=False, default="docker.io")
CONFIG = b'{"architecture":"amd64","os":"linux"}'
LAYER = bytes(range(256)) * 64


def manifest_of(config: bytes = CONFIG, layer: bytes = LAYER) -> Manifest | Index:
    return parse_manifest(
        json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": {
                    "mediaType": "application/vnd.oci.image.config.v1+json",
                    "digest": str(Digest.of(config)),
                    "size": len(config),
                },
                "layers": [
                    {
                        "mediaType": "application/vnd.oci.image.layer.v1.tar",
                        "digest": str(Digest.of(layer)),
                        "size": len(layer),
                    }
                ],
            }
        ).encode()
    )


@dataclass(frozen=True, slots=True)
class FakeWindow:
    file: BinaryIO
    offset: int
    count: int


@dataclass(frozen=True, slots=True)
class FakeManifestReply:
    manifest: Manifest | Index
    source: str = "store"
    stale: bool = False
    age_seconds: float | None = None
    attempts: tuple[Attempt, ...] = ()


@dataclass
class FakeBlob:
    """Given in windows of ``stride`` bytes; ``before`` is awaited before each and may raise or wait."""

    data: bytes
    source: str = "store"
    attempts: tuple[Attempt, ...] = ()
    stride: int = 1 << 30
    before: Callable[[int], Awaitable[None]] | None = None
    short_by: int = 0
    closed: int = 0
    file: BinaryIO = field(init=False)

    def __post_init__(self) -> None:
        self.file = tempfile.TemporaryFile()  # noqa: SIM115  (closed by close())
        self.file.write(self.data[: len(self.data) - self.short_by])
        self.file.flush()

    @property
    def size(self) -> int:
        return len(self.data)

    async def windows(self, start: int, stop: int) -> AsyncIterator[FakeWindow]:
        while start < stop:
            if self.before is not None:
                await self.before(start)
            count = min(self.stride, stop - start)
            yield FakeWindow(self.file, start, count)
            start += count

    def close(self) -> None:
        self.closed += 1
        self.file.close()


@dataclass(frozen=True, slots=True)
class FakeHostState:
    host: str
    kind: str
    state: str
    strikes: int


class FakeHealth:
    def __init__(self) -> None:
        self.hosts: list[FakeHostState] = []
        self.quota = Quota(ManualClock())
        self.budget = Budget(ManualClock())
        self.usual: list[tuple[str, str, float]] = []

    def states(self) -> list[FakeHostState]:
        return self.hosts

    def usual_seconds(self) -> list[tuple[str, str, float]]:
        return self.usual


class FakeStore:
    def __init__(self) -> None:
        self.used = 4096
        self.error: SampanError | None = None
        self.asked = 0

    def usage(self) -> int:
        self.asked += 1
        if self.error:
            raise self.error
        return self.used

    def check_writable(self) -> None:
        if self.error:
            raise self.error


class FakeMirror:
    """One image under ``docker.io/library/alpine:3``; ``error`` is raised by every question when set."""

    def __init__(self) -> None:
        self.registries = REGISTRIES
        self.downloads_in_flight = 0
        self.health = FakeHealth()
        self.store = FakeStore()
        self.image = manifest_of()
        self.manifests: dict[tuple[str, str, str], FakeManifestReply] = {}
        self.blobs: dict[Digest, Callable[[], FakeBlob]] = {}
        self.tag_list = ["3", "3.20", "edge", "latest"]
        self.index = parse_manifest(
            json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).encode()
        )
        self.error: Exception | None = None
        self.wait: asyncio.Event | None = None
        self.asked: list[tuple[str, str, str, str]] = []
        self.given: list[FakeBlob] = []
        self.closed = False
        for name in ("3", str(self.image.digest)):
            self.add_manifest("docker.io", "library/alpine", name, FakeManifestReply(self.image))
        self.add_blob(CONFIG)
        self.add_blob(LAYER)

    def add_manifest(self, registry: str, repository: str, name: str, reply: FakeManifestReply) -> None:
        self.manifests[registry, repository, name] = reply

    def add_blob(
        self,
        data: bytes,
        *,
        stride: int = 1 << 30,
        source: str = "store",
        before: Callable[[int], Awaitable[None]] | None = None,
        short_by: int = 0,
        attempts: tuple[Attempt, ...] = (),
    ) -> Digest:
        digest = Digest.of(data)
        self.blobs[digest] = lambda: FakeBlob(data, source, attempts, stride, before, short_by)
        return digest

    async def _ask(self, kind: str, registry: str, repository: str, wanted: object) -> None:
        self.asked.append((kind, registry, repository, str(wanted)))
        if self.wait is not None:
            await self.wait.wait()
        if self.error is not None:
            raise self.error

    async def manifest(self, registry: str, repository: str, wanted: str | Digest) -> FakeManifestReply:
        await self._ask("manifest", registry, repository, wanted)
        try:
            return self.manifests[registry, repository, str(wanted)]
        except KeyError:
            raise NotFound(f"{registry}/{repository}:{wanted}", ()) from None

    async def blob(self, registry: str, repository: str, digest: Digest) -> FakeBlob:
        await self._ask("blob", registry, repository, digest)
        if digest not in self.blobs:
            raise NotFound(str(digest), (Attempt("a.example", "missing", 0.1, 404),))
        blob = self.blobs[digest]()
        self.given.append(blob)
        return blob

    async def stat_blob(self, registry: str, repository: str, digest: Digest) -> tuple[int, str]:
        await self._ask("stat", registry, repository, digest)
        if digest not in self.blobs:
            raise NotFound(str(digest), ())
        blob = self.blobs[digest]()
        blob.close()
        return blob.size, blob.source

    async def tags(self, registry: str, repository: str) -> list[str]:
        await self._ask("tags", registry, repository, "")
        return self.tag_list

    async def referrers(self, registry: str, repository: str, digest: Digest) -> Index:
        await self._ask("referrers", registry, repository, digest)
        assert isinstance(self.index, Index)
        return self.index

    async def close(self) -> None:
        self.closed = True
