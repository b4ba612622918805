"""Asking every host of a registry what a tag means: each on its own, all side by side.

Guarantees that one host's silence delays no other's answer, and that what becomes an image's content here
(the manifest, the config that names a platform) was fetched by digest and verified. What the answers are
worth is weighed in :mod:`sampan.lock.verdict`. Nothing is stored.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence

from sampan.clock import Clock
from sampan.errors import AllHostsFailed, Missing, WrongContent
from sampan.lock.verdict import Saying, Verdict, weigh
from sampan.mirror.asking import Asking, HostsFor
from sampan.mirror.events import Silence
from sampan.mirror.patience import Patience
from sampan.mirror.route import Question, eligible
from sampan.oci import Descriptor, Digest, Index, Manifest, Reference
from sampan.upstream.client import RegistryClient
from sampan.upstream.health import Health
from sampan.upstream.host import Host

REFERENCES_MAX = 16  # surveyed at one time; the hosts' own limits hold besides
CONFIG_BYTES_MAX = 4 * 1024 * 1024  # as for manifests; the largest configs seen have some 100 KiB
CREATED = "org.opencontainers.image.created"

AnyManifest = Manifest | Index


class Survey:
    """Questions to hosts. ``health``: the one that ``client`` tells of pulls and of refusals."""

    def __init__(
        self,
        hosts_for: HostsFor,
        client: RegistryClient,
        clock: Clock,
        patience: Patience | None = None,
        health: Health | None = None,
    ) -> None:
        self._client = client
        self._asking = Asking(hosts_for, health or Health(clock), clock, Silence(), patience or Patience())
        self._room = asyncio.Semaphore(REFERENCES_MAX)

    def hosts(self, reference: Reference) -> Sequence[Host]:
        """Who may be asked at all. Raises RegistryUnknown."""
        return self._asking.hosts(reference.registry)

    async def verdict(self, reference: Reference, agree: int) -> Verdict:
        """What ``reference``, which has a tag, means to its hosts."""
        question = Question(reference.registry, reference.repository, "manifest", reference.tag or "")
        hosts = eligible(self.hosts(reference), question)
        async with self._room:
            sayings = await asyncio.gather(*(self._saying(host, question) for host in hosts))
        return weigh(reference, tuple(sayings), agree)

    async def _saying(self, host: Host, question: Question) -> Saying:
        """By HEAD where that is any use, for many hosts count a GET."""
        tag = str(question.object)

        async def ask(host: Host, connected: Callable[[], None]) -> Digest:
            named = await self._client.head_manifest(host, question.repository, tag, on_connected=connected)
            if named is not None:
                return named.digest
            manifest = await self._client.manifest(host, question.repository, tag, on_connected=connected)
            return manifest.digest

        try:
            won = await self._asking.first(question, ask, hosts=[host])
        except AllHostsFailed as error:
            return Saying(host, failure=error)
        return Saying(host, won.answer)

    # -- content by digest -------------------------------------------------------------------------

    async def manifest(self, reference: Reference, digest: Digest, hosts: Sequence[Host]) -> AnyManifest:
        """The manifest that ``hosts`` named. Raises AllHostsFailed or NotFound."""

        async def ask(host: Host, connected: Callable[[], None]) -> AnyManifest:
            return await self._client.manifest(host, reference.repository, digest, on_connected=connected)

        question = Question(reference.registry, reference.repository, "manifest", digest)
        return (await self._asking.first(question, ask, hosts=self._givers(question, hosts))).answer

    async def config(
        self, reference: Reference, config: Descriptor, hosts: Sequence[Host]
    ) -> Mapping[str, object]:
        """An image's config as a mapping, empty when it is none. Raises AllHostsFailed or NotFound."""

        async def ask(host: Host, connected: Callable[[], None]) -> bytes:
            return await self._small_blob(host, reference.repository, config, connected)

        question = Question(reference.registry, reference.repository, "blob", config.digest)
        won = await self._asking.first(question, ask, hosts=self._givers(question, hosts))
        try:
            document = json.loads(won.answer)
        except (ValueError, RecursionError):
            document = None
        return document if isinstance(document, dict) else {}

    async def created(self, reference: Reference, digest: Digest, hosts: Sequence[Host]) -> str:
        """When the image behind ``digest`` was built, as RFC 3339 has it; empty when nobody can tell."""
        try:
            manifest = await self.manifest(reference, digest, hosts)
            if named := manifest.annotations.get(CREATED):
                return named
            if isinstance(manifest, Index):
                images = [d for d in manifest.manifests if d.platform and d.platform.os != "unknown"]
                manifest = await self.manifest(reference, images[0].digest, hosts) if images else manifest
            if isinstance(manifest, Index):
                return ""
            written = (await self.config(reference, manifest.config, hosts)).get("created")
        except AllHostsFailed:
            return ""
        return written if isinstance(written, str) else ""

    def _givers(self, question: Question, hosts: Sequence[Host]) -> Sequence[Host]:
        """``hosts`` first; then all who may give content by digest, for that needs no trust."""
        others = self._asking.hosts(question.registry)
        return eligible(dict.fromkeys((*hosts, *others)), question)

    async def _small_blob(
        self, host: Host, repository: str, blob: Descriptor, connected: Callable[[], None]
    ) -> bytes:
        if blob.size > CONFIG_BYTES_MAX:
            raise Missing(f"{host.name}: a config of {blob.size} bytes is not asked for", outcome="missing")
        whole = self._client.blob(host, repository, blob.digest, size=blob.size, on_connected=connected)
        async with whole as stream:
            data = b"".join([piece async for piece in stream])
        if Digest.of(data, blob.digest.algorithm) != blob.digest:
            raise WrongContent(f"{host.name}: a config that is not {blob.digest}", outcome="wrong-content")
        return data
