"""What a tag means, and how long it is believed: fresh, revalidated, or stale while nobody answers.

Blobs by digest need no trust; a tag's meaning does. The one guarantee: every answer can be traced to
the host that gave it and the time it did, and a known tag is answered though every host is down.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any

from sampan.errors import AllHostsFailed, Attempt, NotLocked, StoreError
from sampan.mirror.asking import Asking
from sampan.mirror.ballot import Ballot, Voice
from sampan.mirror.looking import Looking
from sampan.mirror.manifests import AnyManifest, Manifests
from sampan.mirror.route import Question, eligible
from sampan.mirror.single import SingleFlight
from sampan.oci import Descriptor, Digest
from sampan.oci.attached import is_attached
from sampan.store.tags import TagRecord, TagStore
from sampan.upstream.client import RegistryClient
from sampan.upstream.host import Host
from sampan.upstream.url import Url, registrable_domain

QUIET_TAGS_MAX = 10_000
CLOCK_STEP_SECONDS = 60.0  # a clock that is set back by less makes no record a stranger's
AGE_SECONDS_MAX = 2.0**31  # what HTTP says for ages beyond counting (RFC 9111, 1.2.2)

log = logging.getLogger(__name__)

Name = tuple[str, str, str]  # registry, repository, tag


@dataclass(frozen=True, slots=True)
class TagPolicy:
    """``[tags]`` of the configuration, in seconds; ``stale_for_seconds`` None: for ever. ``locked``: what
    tags mean, whatever anybody says, and no other tag means anything; None: there is no lock."""

    fresh_for_seconds: float = 300.0
    stale_for_seconds: float | None = None
    agree: int = 1
    locked: Mapping[Name, Digest] | None = None


@dataclass(frozen=True, slots=True)
class Tagged:
    """A tag's manifest. ``source``: ``store`` or the host that was asked just now."""

    manifest: AnyManifest
    source: str
    stale: bool
    age_seconds: float
    attempts: tuple[Attempt, ...] = ()


ManifestAsk = Callable[[Host, Callable[[], None]], Coroutine[Any, Any, AnyManifest]]


class Tags:
    """Tags, with their memory in ``store``."""

    def __init__(
        self,
        store: TagStore,
        looking: Looking,
        manifests: Manifests,
        client: RegistryClient,
        asking: Asking,
        policy: TagPolicy,
    ) -> None:
        self._store = store
        self._looking = looking
        self._manifests = manifests
        self._client = client
        self._asking = asking
        self._policy = policy
        self._checks: SingleFlight[Tagged] = SingleFlight()
        self._quiet_until: OrderedDict[Name, float] = OrderedDict()

    async def manifest(self, registry: str, repository: str, tag: str) -> Tagged:
        """What the tag names. Raises AllHostsFailed or NotFound, and RegistryUnknown."""
        name = (registry, repository, tag)
        self._asking.hosts(registry)
        if self._policy.locked is not None and not is_attached(tag):
            return await self._locked(name, self._policy.locked)
        known = await self._known(name)
        if known is None:
            return await self._checks.run(name, lambda: self._ask(name, None))
        if self._is_fresh(known[0]):
            return self._stored(known, stale=False)
        return await self._revalidate(name, known)

    async def _locked(self, name: Name, locked: Mapping[Name, Digest]) -> Tagged:
        """What the lock says, by digest from whoever has it. What is attached to a digest (a signature)
        is not for the lock to say: it moves, and whoever reads it checks it."""
        if (digest := locked.get(name)) is None:
            raise NotLocked(
                "{}/{}:{} is not in the lock that is in force here".format(*name),
                hint="add it with sampan lock create, or ask for it by digest",
            )
        found = await self._manifests.by_digest(name[0], name[1], digest)
        return Tagged(found.manifest, found.source, False, 0.0, found.attempts)

    async def close(self) -> None:
        """Stop the checks that run."""
        await self._checks.close()

    # -- what is known -----------------------------------------------------------------------------

    async def _known(self, name: Name) -> tuple[TagRecord, AnyManifest] | None:
        record = await self._looking.tag(*name)
        if record is None:
            return None
        manifest = await self._manifests.stored(name[0], name[1], record.descriptor.digest)
        return None if manifest is None else (record, manifest)

    def _age_seconds(self, record: TagRecord) -> float:
        """Since the tag was last confirmed. A stamp from the future (the clock was wrong) is old, but
        for the small steps by which clocks are set right."""
        age = self._asking.clock.time() - record.checked_at
        return inf if age < -CLOCK_STEP_SECONDS else max(age, 0.0)

    def _is_fresh(self, record: TagRecord) -> bool:
        return self._age_seconds(record) < self._policy.fresh_for_seconds

    def _stored(
        self, known: tuple[TagRecord, AnyManifest], *, stale: bool, attempts: tuple[Attempt, ...] = ()
    ) -> Tagged:
        record, manifest = known
        age_seconds = min(self._age_seconds(record), AGE_SECONDS_MAX)
        return Tagged(manifest, "store", stale, age_seconds, attempts)

    # -- asking again ------------------------------------------------------------------------------

    async def _revalidate(self, name: Name, known: tuple[TagRecord, AnyManifest]) -> Tagged:
        """Ask, but not for longer than a dead host costs: then the stored answer is served, marked,
        and the check goes on behind it."""
        may_be_stale = self._may_be_stale(known[0])
        if may_be_stale and self._asking.clock.monotonic() < self._quiet_until.get(name, 0.0):
            return self._stored(known, stale=True)
        task = self._checks.start(name, lambda: self._ask(name, known))
        await asyncio.wait([task], timeout=self._asking.patience.stale_seconds if may_be_stale else None)
        if not task.done():
            return self._stored(known, stale=True)
        try:
            return task.result()
        except AllHostsFailed as error:
            if not may_be_stale:
                raise
            log.warning("%s/%s:%s is served stale: %s", *name, error.message.replace("\n", ";"))
            return self._stored(known, stale=True, attempts=error.attempts)

    def _may_be_stale(self, record: TagRecord) -> bool:
        limit = self._policy.stale_for_seconds
        return limit is None or self._age_seconds(record) < self._policy.fresh_for_seconds + limit

    async def _ask(self, name: Name, known: tuple[TagRecord, AnyManifest] | None) -> Tagged:
        registry, repository, tag = name
        question = Question(registry, repository, "manifest", tag)
        try:
            if self._policy.agree > 1:
                return await self._agreed(name, question)
            if known is not None and (confirmed := await self._confirmed(name, question, known)) is not None:
                return confirmed
            won = await self._asking.first(question, self._getter(repository, tag))
        except AllHostsFailed:
            self._be_quiet(name)  # a dead upstream costs one time-out a window
            raise
        return await self._learned(name, won.answer, won.host.name, won.attempts)

    async def _confirmed(
        self, name: Name, question: Question, known: tuple[TagRecord, AnyManifest]
    ) -> Tagged | None:
        """Ask by HEAD, which is free where a GET counts; None: the manifest must be fetched."""
        registry, repository, tag = name

        async def ask(host: Host, connected: Callable[[], None]) -> Descriptor | None:
            return await self._client.head_manifest(host, repository, tag, on_connected=connected)

        won = await self._asking.first(question, ask)
        said = won.answer
        if said is None:
            return None
        if said.digest == known[0].descriptor.digest:
            await self._touch(name, won.host.name)
            return Tagged(known[1], won.host.name, False, 0.0, won.attempts)
        try:
            manifest = await self._manifests.by_digest(registry, repository, said.digest)
        except AllHostsFailed:
            return None  # nothing verifies what HEAD says: the bytes will tell what the tag means
        return await self._learned(name, manifest.manifest, won.host.name, won.attempts)

    async def _touch(self, name: Name, host: str) -> None:
        """Write down that ``host`` confirmed it. A full disk does not keep a client from its answer."""
        now = self._asking.clock.time()
        try:
            await asyncio.to_thread(self._store.touch, *name, host=host, now=now)
        except StoreError as error:
            log.warning("%s/%s:%s: that it was confirmed is not remembered: %s", *name, error.message)

    def _getter(self, repository: str, tag: str) -> ManifestAsk:
        async def ask(host: Host, connected: Callable[[], None]) -> AnyManifest:
            return await self._client.manifest(host, repository, tag, on_connected=connected)

        return ask

    async def _learned(
        self, name: Name, manifest: AnyManifest, host: str, attempts: tuple[Attempt, ...]
    ) -> Tagged:
        registry, repository, tag = name
        await self._manifests.keep(registry, repository, manifest)
        self._quiet_until.pop(name, None)
        try:
            record = await asyncio.to_thread(
                self._store.put,
                registry,
                repository,
                tag,
                manifest.descriptor,
                host=host,
                now=self._asking.clock.time(),
            )
        except StoreError as error:
            log.warning("%s/%s:%s is not remembered: %s", *name, error.message)
        else:
            if record.previous is not None and record.changed_at == record.checked_at:
                log.info(
                    "%s/%s:%s moved from %s to %s, says %s", *name, record.previous, manifest.digest, host
                )
        return Tagged(manifest, host, False, 0.0, attempts)

    def _be_quiet(self, name: Name) -> None:
        self._quiet_until[name] = self._asking.clock.monotonic() + self._policy.fresh_for_seconds
        self._quiet_until.move_to_end(name)
        if len(self._quiet_until) > QUIET_TAGS_MAX:
            self._quiet_until.popitem(last=False)

    # -- agreement ---------------------------------------------------------------------------------

    async def _agreed(self, name: Name, question: Question) -> Tagged:
        """Ask every operator group; the digest that ``agree`` of them give is the tag's meaning."""
        groups: dict[str, list[Host]] = {}
        for host in eligible(self._asking.hosts(question.registry), question):
            groups.setdefault(host.operator, []).append(host)
        ballot = Ballot(self._policy.agree)
        await self._poll(ballot, question, groups.values())
        winner = ballot.winner()
        if winner is None:
            raise ballot.failure(str(question))
        return await self._learned(name, winner.manifest, winner.host, tuple(ballot.attempts))

    async def _poll(self, ballot: Ballot, question: Question, groups: Iterable[Sequence[Host]]) -> None:
        """Until all spoke or nobody can change it. Once there is agreement, whoever is silent for
        longer than a dead host's connection takes has no voice."""
        waiting = {asyncio.create_task(self._ask_group(ballot, question, hosts)) for hosts in groups}
        try:
            while waiting and not ballot.is_decided(len(waiting)):
                seconds = self._asking.patience.stale_seconds if ballot.winner() is not None else None
                done, waiting = await asyncio.wait(
                    waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    task.result()
                if not done:
                    return
        finally:
            for task in waiting:
                task.cancel()
            if waiting:
                await asyncio.wait(waiting)

    async def _ask_group(self, ballot: Ballot, question: Question, hosts: Sequence[Host]) -> None:
        led: dict[Host, Url] = {}

        async def ask(host: Host, connected: Callable[[], None]) -> AnyManifest:
            return await self._client.manifest(
                host,
                question.repository,
                str(question.object),
                on_connected=connected,
                on_led=partial(led.__setitem__, host),
            )

        try:
            won = await self._asking.first(question, ask, hosts=hosts)
        except AllHostsFailed as error:
            ballot.abstain(error)
        else:
            operator = (
                self._operator(question.registry, led[won.host]) if won.host in led else hosts[0].operator
            )
            ballot.count(Voice(won.answer, won.host.name, operator), won.attempts)

    def _operator(self, registry: str, url: Url) -> str:
        """Who runs the machine at ``url``, to which one of the hosts led."""
        known = (host for host in self._asking.hosts(registry) if host.base.origin == url.origin)
        return next((host.operator for host in known), registrable_domain(url.host))
