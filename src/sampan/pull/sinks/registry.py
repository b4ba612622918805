"""The sink ``registry:HOST/REPOSITORY[:TAG]``: another registry, by the distribution spec.

Guarantees that a tag appears there only when all that it names was taken and verified by that registry:
blobs first, then manifests from the leaves up, the tag with the last. Bytes and digests are the original
ones. What the repository has already is neither fetched nor sent, nor what another repository there has
when that is the one which is pulled. What is attached to an image can be found there: by the registry's
own list, else by the tag that stands in for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sampan.errors import HostError, InvalidManifest, SinkExists, SinkUnavailable
from sampan.oci.attached import attached_tags, is_attached, is_list
from sampan.oci.digest import Digest
from sampan.oci.manifest import OCI_INDEX, Descriptor, Index, Manifest
from sampan.oci.reference import Reference
from sampan.pull.closure import Wanted
from sampan.pull.sink import Content, SinkSpec
from sampan.pull.sinks import SinkSetting
from sampan.pull.sinks.attached_list import entries_of, entry_of, list_with
from sampan.pull.sinks.describe import Json, describe
from sampan.upstream.push import Destination

UPLOADS_AT_ONCE = 3  # as Docker does it; the host's own limits hold besides

T = TypeVar("T")


class RegistrySink:
    """See :class:`sampan.pull.sink.Sink`."""

    def __init__(self, target: Reference, destination: Destination) -> None:
        self.name = f"registry ({target})"
        self._target = target
        self._client, self._host = destination.client, destination.host
        self._repository = target.repository
        self._put_before: dict[str, Digest] = {}
        self._room = asyncio.Semaphore(UPLOADS_AT_ONCE)

    async def check(self) -> None:
        """Whether this user may push there."""
        async with self._explained():
            await self._client.check(self._host, self._repository)

    async def present(self, wanted: Wanted, content: Content) -> frozenset[Digest]:  # noqa: ARG002
        """What the repository has, or takes from the image's own one when that is in the same registry."""
        source = self._repository_beside(wanted.reference)
        async with self._explained():
            there = await _together([self._has_or_mounts(layer.digest, source) for layer in wanted.layers])
        return frozenset(layer.digest for layer, has in zip(wanted.layers, there, strict=True) if has)

    async def put(self, wanted: Wanted, content: Content) -> None:
        """An index goes as it is when all of it was pulled; see :mod:`sampan.pull.sinks.describe`."""
        described = describe(wanted)
        top = Digest.parse(str(described.entry["digest"]))
        tag = self._tag_of(wanted)
        if tag is not None and self._put_before.setdefault(tag, top) != top:
            raise SinkExists(
                f"{wanted.reference} and another image would both be {self._target.name}:{tag}",
                hint="push them one by one, each with a tag of its own",
            )
        types = {manifest.digest: manifest.media_type for manifest in wanted.manifests}
        types[top] = str(described.entry["mediaType"])
        async with self._explained():
            await _together([self._give(blob, content) for blob in wanted.blobs])
            # Indexes stand before what they list, so the way back meets the leaves first.
            unlisted = {
                digest
                for digest, raw in list(described.manifests.items())[::-1]
                if digest != top and not await self._manifest(digest, raw, digest, types[digest])
            }
            if tag is not None and is_list(tag) and isinstance(wanted.root, Index):
                await self._list(tag, entries_of(wanted.root), wanted.root.raw)
            elif not await self._manifest(tag or top, described.manifests[top], top, types[top]):
                unlisted.add(top)
            await self._list_by_tag([one for one in wanted.manifests if one.digest in unlisted])

    async def _manifest(self, name: str | Digest, raw: bytes, digest: Digest, media_type: str) -> bool:
        """Whether the registry lists it for its subject."""
        return await self._client.manifest(self._host, self._repository, name, raw, digest, media_type)

    async def _list_by_tag(self, manifests: Sequence[Manifest | Index]) -> None:
        """What is attached to something, where the registry does not list it by itself."""
        for manifest in manifests:
            if manifest.subject is not None:
                await self._list(attached_tags(manifest.subject.digest)[0], [entry_of(manifest)])

    async def _list(self, tag: str, entries: Sequence[Json], whole: bytes | None = None) -> None:
        """``entries`` into the list under ``tag``, beside what others have put there; ``whole``: a list of
        just these, which keeps its bytes where there is none yet."""
        there = await self._client.index_at(self._host, self._repository, tag)
        raw = whole if there is None and whole is not None else list_with(there, entries)
        if raw is not None:
            await self._manifest(tag, raw, Digest.of(raw), OCI_INDEX)

    async def finish(self) -> None:
        """Each image was complete by itself."""

    async def close(self) -> None:
        await self._client.close()

    def _tag_of(self, wanted: Wanted) -> str | None:
        """What is attached to an image keeps its own tag, or has none: it is found by its digest."""
        tag = wanted.reference.tag
        if is_attached(tag or "") or (tag is None and wanted.root.subject is not None):
            return tag
        return self._target.tag or tag

    def _repository_beside(self, reference: Reference) -> str | None:
        """Another repository of that registry, from which blobs need not be carried here and back."""
        beside = reference.registry == self._target.registry and reference.repository != self._repository
        return reference.repository if beside else None

    async def _has_or_mounts(self, digest: Digest, source: str | None) -> bool:
        if await self._has(digest):
            return True
        if source is None:
            return False
        async with self._room:
            return await self._client.mount(self._host, self._repository, digest, source)

    async def _has(self, digest: Digest) -> bool:
        async with self._room:
            return await self._client.has_blob(self._host, self._repository, digest)

    async def _give(self, blob: Descriptor, content: Content) -> None:
        if await self._has(blob.digest):
            return
        async with self._room:
            with content.open(blob.digest) as stored:
                await self._client.blob(
                    self._host, self._repository, blob.digest, stored.file, stored.size, offset=stored.offset
                )

    @asynccontextmanager
    async def _explained(self) -> AsyncIterator[None]:
        """A failure of that registry is the sink's, not that of a host to pull from."""
        try:
            yield
        except InvalidManifest as error:
            raise SinkUnavailable(f"cannot push to {self._target}: {error.message}") from error
        except HostError as error:
            raise SinkUnavailable(
                f"cannot push to {self._target}: {error.message}", hint=error.hint or _hint(error)
            ) from error


def _hint(error: HostError) -> str | None:
    if error.outcome in ("denied", "login"):
        return "log in there, as with docker login, as a user who may push"
    if error.outcome == "tls":
        return "a mirror in sampan.toml that names this host may set ca, or http:// in its URL"
    return None


async def _together(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All of ``work`` side by side; the first error cancels the rest and is raised alone."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    return [task.result() for task in tasks]


def open_sink(spec: SinkSpec, setting: SinkSetting) -> RegistrySink:
    """The repository that ``spec`` names. Raises ConfigError for a host that cannot be one."""
    assert spec.target is not None
    assert setting.destination is not None
    return RegistrySink(spec.target, setting.destination(spec.target.registry))
