"""A bundle as a mirror: what it holds is served by the names that its images have.

Guarantees that a registry which only the bundle names is never dialled; and that with a mirror behind it, the
hosts of that mirror are asked what a tag means as ever, and the bundle answers where none of them does. How
its blobs are verified and read is known to :mod:`sampan.bundle.stock`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from sampan.bundle.stock import CarriedBlob, Name, Stock
from sampan.errors import AllHostsFailed, NotFound, RegistryUnknown, SampanError
from sampan.mirror.blobs import BlobAnswer
from sampan.mirror.service import ManifestAnswer, Mirror
from sampan.oci import Digest, Index, Registries
from sampan.oci.manifest import parse_manifest
from sampan.pull.sinks.attached_list import entry_of, list_with
from sampan.store.content import Store
from sampan.upstream.budget import Left
from sampan.upstream.health import Health, HostState
from sampan.upstream.quota import Pulls


class BundleMirror:
    """The mirror, as its server sees it (``sampan.server.contract.MirrorApi``).

    ``behind``: a mirror for what the bundles lack, None for the bundles alone; ``registries``: those that it
    has hosts for, to which those that the bundles name are added."""

    def __init__(self, stock: Stock, *, behind: Mirror | None, registries: Registries) -> None:
        self._stock = stock
        self._behind = behind
        self._configured = registries
        self.registries = replace(registries, named=registries.named | stock.registries)

    @property
    def downloads_in_flight(self) -> int:
        """For metrics."""
        return self._behind.downloads_in_flight if self._behind else 0

    @property
    def health(self) -> Health | _Nobody:
        """For metrics."""
        return self._behind.health if self._behind else _Nobody()

    @property
    def store(self) -> Store | _Nothing:
        """For metrics and readiness."""
        return self._behind.store if self._behind else _Nothing()

    def _mirror_for(self, registry: str) -> Mirror | None:
        """Who is asked beside the bundles. Raises RegistryUnknown for a registry that is nobody's."""
        is_configured = self._behind is not None and self._configured.find(registry) is not None
        if not is_configured and registry not in self.registries.named:
            raise RegistryUnknown(
                f"the registry {registry} is neither configured here nor in {self._stock.title}"
            )
        return self._behind if is_configured else None

    async def manifest(self, registry: str, repository: str, wanted: str | Digest) -> ManifestAnswer:
        """By a tag from the mirror behind when it has hosts for it; else, and by digest, from the bundles.

        Raises AllHostsFailed, NotFound, RegistryUnknown.
        """
        mirror = self._mirror_for(registry)
        if isinstance(wanted, Digest):
            found = await asyncio.to_thread(self._stock.manifest, wanted)
            if found is not None:
                return ManifestAnswer(found, self._stock.title)
            if mirror is None:
                raise self._absent(f"{registry}/{repository}@{wanted}")
            return await mirror.manifest(registry, repository, wanted)
        if mirror is None:
            return await self._tagged((registry, repository, wanted))
        try:
            return await mirror.manifest(registry, repository, wanted)
        except AllHostsFailed as error:
            if (registry, repository, wanted) not in self._stock.tags:
                raise
            return replace(await self._tagged((registry, repository, wanted)), attempts=error.attempts)

    async def _tagged(self, name: Name) -> ManifestAnswer:
        if name not in self._stock.tags:
            raise self._absent("{}/{}:{}".format(*name))
        digest, title = self._stock.tags[name]
        manifest = await asyncio.to_thread(self._stock.manifest, digest)
        assert manifest is not None
        return ManifestAnswer(manifest, title, stale=True, age_seconds=self._stock.age_seconds())

    async def blob(self, registry: str, repository: str, digest: Digest) -> BlobAnswer:
        """A blob, when all of it has been found right. Raises AllHostsFailed, NotFound, RegistryUnknown,
        ContentMismatch and StoreError for one that is damaged and that nobody else has."""
        mirror = self._mirror_for(registry)
        if self._stock.carried.size_of(digest) is None:
            if mirror is None:
                raise self._absent(f"{registry}/{repository}@{digest}")
            return await mirror.blob(registry, repository, digest)
        try:
            size = await self._stock.verified(digest)
            return CarriedBlob(size, self._stock.title, self._stock.extents(digest))
        except SampanError:
            if mirror is None:
                raise
            return await mirror.blob(registry, repository, digest)

    async def stat_blob(self, registry: str, repository: str, digest: Digest) -> tuple[int, str]:
        """(size in bytes, source). Raises AllHostsFailed, NotFound, RegistryUnknown."""
        mirror = self._mirror_for(registry)
        size = self._stock.carried.size_of(digest)
        if size is not None:
            return size, self._stock.title
        if mirror is None:
            raise self._absent(f"{registry}/{repository}@{digest}")
        return await mirror.stat_blob(registry, repository, digest)

    async def tags(self, registry: str, repository: str) -> list[str]:
        """Those of the bundles, and those that the mirror behind knows. Raises AllHostsFailed, NotFound."""
        mirror = self._mirror_for(registry)
        ours = {tag for where, name, tag in self._stock.tags if (where, name) == (registry, repository)}
        if mirror is None:
            if not ours:
                raise self._absent(f"tags of {registry}/{repository}")
            return sorted(ours)
        try:
            return sorted(ours.union(await mirror.tags(registry, repository)))
        except AllHostsFailed:
            if not ours:
                raise
            return sorted(ours)

    async def referrers(self, registry: str, repository: str, digest: Digest) -> Index:
        """What the bundles have, and what the mirror behind finds. Raises AllHostsFailed, RegistryUnknown."""
        mirror = self._mirror_for(registry)
        found = await asyncio.to_thread(self._stock.referrers, registry, repository, digest)
        try:
            listed = None if mirror is None else (await mirror.referrers(registry, repository, digest)).raw
        except AllHostsFailed:
            if not found:
                raise
            listed = None
        raw = list_with(listed, [entry_of(manifest) for manifest in found]) or listed or b""
        index = parse_manifest(raw)
        assert isinstance(index, Index)
        return index

    async def close(self) -> None:
        """Of the mirror behind; the bundles are whoever opened them to close."""
        if self._behind is not None:
            await self._behind.close()

    def _absent(self, what: str) -> NotFound:
        return NotFound(what, (), hint=f"it is not in {self._stock.title}, and no host may be asked for it")


class _Nobody:
    """The health of no hosts, which have neither pulls nor refusals."""

    @property
    def quota(self) -> _Nobody:
        return self

    @property
    def budget(self) -> _Nobody:
        return self

    def known(self) -> Sequence[Pulls]:
        return ()

    def left(self) -> Sequence[Left]:
        return ()

    def states(self) -> Sequence[HostState]:
        return ()

    def usual_seconds(self) -> Sequence[tuple[str, str, float]]:
        return ()


class _Nothing:
    """The store of a server that has none."""

    def usage(self) -> int:
        return 0

    def check_writable(self) -> None:
        """Nothing is written."""
