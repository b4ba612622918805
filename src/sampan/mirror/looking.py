"""Looking into the store before anybody is asked: at once where memory tells, else in a thread.

The one guarantee: to look never fails and never keeps the event loop waiting for a disk that reads or
hashes. A disk that cannot be read has nothing, and the log says so; a client still gets what a host has.
It writes nothing.
"""

from __future__ import annotations

import asyncio
import logging

from sampan.errors import StoreError
from sampan.mirror.single import SingleFlight
from sampan.oci import Digest, Index, Manifest
from sampan.store.content import OpenBlob, Store
from sampan.store.tags import TagRecord, TagStore

log = logging.getLogger(__name__)


class Looking:
    """What is in ``store`` and ``tags``. None: it is not there, or cannot be had from there."""

    def __init__(self, store: Store, tags: TagStore) -> None:
        self._store = store
        self._tags = tags
        self._hashing: SingleFlight[bool] = SingleFlight()
        self._referring: SingleFlight[list[Manifest | Index]] = SingleFlight()

    async def manifest(self, digest: Digest) -> Manifest | Index | None:
        """What was used lately costs no thread."""
        try:
            return self._store.recall_manifest(digest) or await asyncio.to_thread(
                self._store.get_manifest, digest
            )
        except StoreError as error:
            _warn(digest, error)
            return None

    async def blob(self, digest: Digest, size: int | None) -> OpenBlob | None:
        """``size`` as a manifest declares it, which may be a lie: then only hashing the blob can tell
        which of them is wrong, once for all who ask at that time."""
        try:
            blob = self._store.open_at_once(digest, size)
            if blob is None and self._store.stat(digest) is not None:
                await self._hashing.run(digest, lambda: asyncio.to_thread(self._store.verify, digest))
                blob = self._store.open_at_once(digest)
        except StoreError as error:
            _warn(digest, error)
            return None
        return blob

    def checking(self, digest: Digest) -> asyncio.Task[bool] | None:
        """Whether a stored blob is right, for the first time since the start: a disk may have forgotten since
        then. None: it is known to be. One that is not is set aside, and fetched anew by the next who asks."""
        if self._store.is_verified(digest):
            return None
        return self._hashing.start(digest, lambda: asyncio.to_thread(self._store.verify, digest))

    def size_of(self, digest: Digest) -> int | None:
        """Of a blob, in bytes."""
        try:
            return self._store.stat(digest)
        except StoreError as error:
            _warn(digest, error)
            return None

    async def tag(self, registry: str, repository: str, tag: str) -> TagRecord | None:
        """What was looked at in the last seconds costs no thread."""
        try:
            return self._tags.recall(registry, repository, tag) or await asyncio.to_thread(
                self._tags.get, registry, repository, tag
            )
        except StoreError as error:
            _warn(f"{registry}/{repository}:{tag}", error)
            return None

    async def tags(self, registry: str, repository: str) -> list[str]:
        """The tags that are known of a repository."""
        try:
            return await asyncio.to_thread(self._tags.list, registry, repository)
        except StoreError as error:
            _warn(f"tags of {registry}/{repository}", error)
            return []

    async def referrers(self, subject: Digest) -> list[Manifest | Index]:
        """What is stored and refers to it; looked for once for all who ask at that time."""
        try:
            return await self._referring.run(
                subject, lambda: asyncio.to_thread(self._store.referrers, subject)
            )
        except StoreError as error:
            _warn(f"what refers to {subject}", error)
            return []

    async def close(self) -> None:
        """Stop waiting for what is being hashed or read."""
        await self._hashing.close()
        await self._referring.close()


def _warn(what: object, error: StoreError) -> None:
    log.warning("cannot look for %s in the store: %s", what, error.message)
