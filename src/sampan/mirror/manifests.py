"""Manifests by digest: from the store, else from any host, verified either way.

Also what is known of blobs before they are asked for: the sizes that their manifests declare.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from sampan.errors import Attempt, StoreError
from sampan.mirror.asking import Asking
from sampan.mirror.looking import Looking
from sampan.mirror.route import Question
from sampan.mirror.single import SingleFlight
from sampan.oci import Digest, Index, Manifest
from sampan.store.content import Store
from sampan.upstream.client import RegistryClient
from sampan.upstream.host import Host

SIZES_MAX = 100_000  # remembered sizes of blobs: about 20 MB at the most

AnyManifest = Manifest | Index

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FoundManifest:
    """``source``: ``store`` or the host that gave it just now."""

    manifest: AnyManifest
    source: str
    attempts: tuple[Attempt, ...] = ()


class Manifests:
    """Manifests in ``store``, and the hosts behind it."""

    def __init__(self, store: Store, looking: Looking, client: RegistryClient, asking: Asking) -> None:
        self._store = store
        self._looking = looking
        self._client = client
        self._asking = asking
        self._fetches: SingleFlight[FoundManifest] = SingleFlight()
        # By repository: a manifest that lies about a layer's size must not spoil it for the others.
        self._sizes: OrderedDict[tuple[str, str, Digest], int] = OrderedDict()

    async def stored(self, registry: str, repository: str, digest: Digest) -> AnyManifest | None:
        """From the store alone; asks nobody."""
        manifest = await self._looking.manifest(digest)
        if manifest is not None and not self._are_sizes_noted(registry, repository, manifest):
            self._note_sizes(registry, repository, manifest)
        return manifest

    async def by_digest(
        self, registry: str, repository: str, digest: Digest, *, spares: bool = False
    ) -> FoundManifest:
        """Raises AllHostsFailed, NotFound or RegistryUnknown. What is stored asks nobody; ``spares``: nor is
        a host asked that has few pulls left."""
        if (manifest := await self.stored(registry, repository, digest)) is not None:
            return FoundManifest(manifest, "store")
        return await self._fetches.run(
            (registry, repository, digest, spares),
            lambda: self._fetch(Question(registry, repository, "manifest", digest, spares=spares), digest),
        )

    async def _fetch(self, question: Question, digest: Digest) -> FoundManifest:
        async def ask(host: Host, connected: Callable[[], None]) -> AnyManifest:
            return await self._client.manifest(host, question.repository, digest, on_connected=connected)

        won = await self._asking.first(question, ask)
        await self.keep(question.registry, question.repository, won.answer)
        return FoundManifest(won.answer, won.host.name, won.attempts)

    async def keep(self, registry: str, repository: str, manifest: AnyManifest) -> None:
        """Into the store. A full disk does not keep a client from its answer."""
        self._note_sizes(registry, repository, manifest)
        try:
            await asyncio.to_thread(self._store.put_manifest, manifest)
        except StoreError as error:
            log.warning("%s is not stored: %s", manifest.digest, error.message)

    def size_of(self, registry: str, repository: str, digest: Digest) -> int | None:
        """The size of a blob in bytes as a manifest of that repository, seen here, declares it."""
        return self._sizes.get((registry, repository, digest))

    def _are_sizes_noted(self, registry: str, repository: str, manifest: AnyManifest) -> bool:
        """By the first that it names, for that is forgotten first. Not by its own digest, which the
        index around it has noted, too."""
        named = manifest.manifests if isinstance(manifest, Index) else (manifest.config,)
        first = named[0] if named else manifest
        return (registry, repository, first.digest) in self._sizes

    def _note_sizes(self, registry: str, repository: str, manifest: AnyManifest) -> None:
        self._sizes[registry, repository, manifest.digest] = manifest.size
        for descriptor in manifest.references:
            self._sizes[registry, repository, descriptor.digest] = descriptor.size
        while len(self._sizes) > SIZES_MAX:
            self._sizes.popitem(last=False)

    async def close(self) -> None:
        """Stop the fetches that run."""
        await self._fetches.close()
