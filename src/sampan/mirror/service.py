"""The mirror: answers from the store, and from the hosts for what the store lacks.

This is the only API that the server, the pull client and the bundle maker use. It decides the order
(store first, then hosts; stale rather than down) and leaves the doing to the modules beside it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sampan.clock import Clock, SystemClock
from sampan.errors import AllHostsFailed, Attempt, NotFound, OtherSize
from sampan.mirror.asking import Asking, HostsFor
from sampan.mirror.blobs import BlobAnswer, Brought, Downloads, Told
from sampan.mirror.events import Observer, Silence
from sampan.mirror.fetch import BlobSource
from sampan.mirror.looking import Looking
from sampan.mirror.manifests import AnyManifest, Manifests
from sampan.mirror.patience import Patience
from sampan.mirror.race import Won
from sampan.mirror.referring import EMPTY_INDEX, referrers_index
from sampan.mirror.room import Room
from sampan.mirror.route import Question, eligible
from sampan.mirror.spread import Spread
from sampan.mirror.stored import stored_blob
from sampan.mirror.tagged import TagPolicy, Tags
from sampan.oci import Digest, Index, Registries
from sampan.oci.attached import attached_tags
from sampan.store.content import Ingest, Store
from sampan.store.tags import TagStore
from sampan.upstream.client import RegistryClient
from sampan.upstream.health import Health
from sampan.upstream.host import Host

HARMLESS = frozenset({"beaten", "denied", "missing"})  # outcomes that leave an empty list as true as it is

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ManifestAnswer:
    """``source``: ``store`` or a host's name. ``age_seconds``: since a tag was last confirmed."""

    manifest: AnyManifest
    source: str
    stale: bool = False
    age_seconds: float | None = None
    attempts: tuple[Attempt, ...] = ()


class Mirror:
    """Construction touches no network. All methods may raise RegistryUnknown before any dial."""

    def __init__(
        self,
        *,
        hosts_for: HostsFor,
        registries: Registries,
        store: Store,
        tag_store: TagStore,
        room: Room,
        client: RegistryClient,
        health: Health,
        tag_policy: TagPolicy | None = None,
        observer: Observer | None = None,
        patience: Patience | None = None,
        spread: Spread | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.registries = registries
        self.store = store
        self.health = health
        self._client = client
        self._clock = clock or SystemClock()
        self._observer = observer or Silence()
        self._asking = Asking(
            hosts_for,
            health,
            self._clock,
            self._observer,
            patience or Patience(),
            has_spare=client.has_spare,
        )
        self._looking = Looking(store, tag_store)
        self._manifests = Manifests(store, self._looking, client, self._asking)
        self._tags = Tags(
            tag_store, self._looking, self._manifests, client, self._asking, tag_policy or TagPolicy()
        )
        self._room = room
        self._downloads = Downloads(store, room, self._clock, self._observer, spread or Spread())

    @property
    def downloads_in_flight(self) -> int:
        """For metrics."""
        return len(self._downloads)

    async def manifest(self, registry: str, repository: str, wanted: str | Digest) -> ManifestAnswer:
        """The manifest or index that a tag or a digest names. Raises AllHostsFailed, NotFound."""
        if isinstance(wanted, Digest):
            self._asking.hosts(registry)
            found = await self._manifests.by_digest(registry, repository, wanted)
            answer = ManifestAnswer(found.manifest, found.source, attempts=found.attempts)
        else:
            tagged = await self._tags.manifest(registry, repository, wanted)
            answer = ManifestAnswer(
                tagged.manifest, tagged.source, tagged.stale, tagged.age_seconds, tagged.attempts
            )
        self._observer.answered(registry, "manifest", answer.source, stale=answer.stale)
        return answer

    async def blob(self, registry: str, repository: str, digest: Digest) -> BlobAnswer:
        """A blob that may be answered now, whole or on its way. Raises AllHostsFailed, NotFound."""
        self._asking.hosts(registry)
        size = self._manifests.size_of(registry, repository, digest)
        answer: BlobAnswer | None = await stored_blob(self._looking, digest, size)
        if answer is None:
            question = Question(registry, repository, "blob", digest)
            answer = await self._downloads.follow(digest, size, lambda: self._source(question, digest))
        self._observer.answered(registry, "blob", answer.source, stale=False)
        return answer

    async def bring(
        self,
        registry: str,
        repository: str,
        digest: Digest,
        *,
        told: Told = lambda _bytes, _hosts: None,
        into: Callable[[], Ingest] | None = None,
    ) -> Brought:
        """A blob into the store, for those who take it from there: unlike :meth:`blob` it returns when
        the blob is committed, and a disk that cannot hold it is an error.

        ``told`` hears now and then how many bytes are on disk, and who gives them. ``into`` opens another
        place for a blob that the store lacks (in a thread), and the store does not get it then. Raises
        AllHostsFailed, NotFound, StoreError.
        """
        self._asking.hosts(registry)
        size = self._manifests.size_of(registry, repository, digest)
        stored = await self._looking.blob(digest, size)
        if stored is not None:
            with stored:
                return Brought(stored.size, already=True)
        question = Question(registry, repository, "blob", digest)
        return await self._downloads.bring(digest, size, lambda: self._source(question, digest), told, into)

    def _source(self, question: Question, digest: Digest) -> BlobSource:
        return BlobSource(
            question,
            digest,
            self._asking.hosts(question.registry),
            client=self._client,
            health=self.health,
            clock=self._clock,
            noted=self._asking.noted(question),
            patience=self._asking.patience,
            hedged=self._asking.hedged(question),
        )

    async def stat_blob(self, registry: str, repository: str, digest: Digest) -> tuple[int, str]:
        """(size in bytes, source) without bringing it. Raises AllHostsFailed, NotFound."""
        self._asking.hosts(registry)
        size = self._looking.size_of(digest)
        if size is not None:
            return size, "store"

        declared = self._manifests.size_of(registry, repository, digest)

        async def ask(host: Host, connected: Callable[[], None]) -> int:
            connected()
            told = await self._client.stat_blob(host, repository, digest)
            if declared not in (None, told):
                what = f"{host.name}: {told} bytes in place of a blob of {declared} bytes"
                raise OtherSize(what, outcome="other-size")
            return told

        won = await self._asking.first(Question(registry, repository, "blob", digest, "HEAD"), ask)
        return won.answer, won.host.name

    async def tags(self, registry: str, repository: str) -> list[str]:
        """The repository's tags, sorted: what a host lists and what is known here. A host that
        disabled the list answers an empty one, which says nothing: the next is asked.
        Raises AllHostsFailed, NotFound."""
        hosts = list(self._asking.hosts(registry))
        known = set(await self._looking.tags(registry, repository))
        question = Question(registry, repository, "tags", "")

        async def ask(host: Host, connected: Callable[[], None]) -> list[str]:
            connected()
            return await self._client.tags(host, repository)

        listed: list[str] = []
        failed: list[Attempt] = []
        is_there = bool(known)
        while not listed and (eligible(hosts, question) or not is_there):
            try:
                won = await self._asking.first(question, ask, hosts=hosts)
            except AllHostsFailed as error:
                if known or (is_there and isinstance(error, NotFound)):
                    break
                raise
            _tell(question, won.attempts)
            listed, is_there = won.answer, True
            failed += (attempt for attempt in won.attempts if attempt.outcome not in HARMLESS)
            hosts = _others(hosts, won)
        if failed and not (known or listed):
            raise AllHostsFailed(str(question), failed)
        return sorted(known.union(listed))

    async def referrers(self, registry: str, repository: str, digest: Digest) -> Index:
        """What refers to ``digest``, by the first host that knows of something, and what the store has beyond
        that, from a bundle say. When no host tells and the store has nothing, empty when all deny that they
        know, or none may be asked. Raises AllHostsFailed when hosts failed rather than denied."""
        told, failure = await self._told_referrers(registry, repository, digest)
        known = await self._known_referrers(registry, repository, digest, told)
        if known is None and failure and failure.attempts and not isinstance(failure, NotFound):
            raise failure
        return known or EMPTY_INDEX

    async def _told_referrers(
        self, registry: str, repository: str, digest: Digest
    ) -> tuple[Index | None, AllHostsFailed | None]:
        """What a host tells. A mirror that copies images alone answers an empty list, which says nothing:
        the next is asked. None and why when none tells."""
        hosts = list(self._asking.hosts(registry))
        question = Question(registry, repository, "referrers", digest)

        async def ask(host: Host, connected: Callable[[], None]) -> Index:
            connected()
            return await self._client.referrers(host, repository, digest)

        told: Index | None = None
        while told is None or (not told.manifests and eligible(hosts, question)):
            try:
                won = await self._asking.first(question, ask, hosts=hosts)
            except AllHostsFailed as error:
                _tell(question, error.attempts)
                return told, error
            _tell(question, won.attempts)
            told = won.answer
            hosts = _others(hosts, won)
        return told, None

    async def _known_referrers(
        self, registry: str, repository: str, digest: Digest, told: Index | None
    ) -> Index | None:
        """What a host ``told``, byte for byte where the store has nothing beyond it; what is stored and names
        ``digest``; and, where no host told, what stands under the tag in the endpoint's place."""
        found = await self._looking.referrers(digest)
        if told is not None:
            listed = {descriptor.digest for descriptor in told.manifests}
            beyond = [manifest for manifest in found if manifest.digest not in listed]
            return referrers_index(beyond, told) if beyond else told
        record = await self._looking.tag(registry, repository, attached_tags(digest)[0])
        kept = None if record is None else await self._looking.manifest(record.descriptor.digest)
        kept = kept if isinstance(kept, Index) else None
        return referrers_index(found, kept) if found or kept else None

    async def tidy(self) -> None:
        """Drop what earlier runs left behind; to be called once, after the start."""
        await self._room.tidy()

    async def close(self) -> None:
        """Stop what runs, keep what arrived, close the connections."""
        await self._downloads.close()
        await self._tags.close()
        await self._manifests.close()
        await self._looking.close()
        await self._room.close()
        await self._client.close()


def _others(hosts: Iterable[Host], won: Won[Any]) -> list[Host]:
    """Whom else to ask, for the answer says nothing: not those that have failed, but those that were only
    later than it."""
    asked = {won.host.name, *(attempt.host for attempt in won.attempts if attempt.outcome != "beaten")}
    return [host for host in hosts if host.name not in asked]


def _tell(question: Question, attempts: Iterable[Attempt]) -> None:
    """Why a host was passed over: a list of referrers says nothing of who gave it."""
    for attempt in attempts:
        log.info("%s: %s", question, attempt)
