"""What a tag means, and how long it is believed: fresh, revalidated, or stale while nobody answers.

Blobs by digest need no trust; a tag's meaning does. The one guarantee: every answer can be traced to
the host that gave it and the time it did, and a known tag is answered though every host is down.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import Any

from sampan.errors import AllHostsFailed, Attempt, NotLocked, StoreError
from sampan.mirror.asking import Asking
from sampan.mirror.ballot import Ballot, Voice
from sampan.mirror.looking import Looking
from sampan.mirror.manifests import AnyManifest, Manifests
from sampan.mirror.race import Won
from sampan.mirror.route import Question, eligible, plan_route
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


DescriptorAsk = Callable[[Host, Callable[[], None]], Coroutine[Any, Any, Descriptor | None]]
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
        # What is stored may be served a while longer: pulls that are running out are for what is not.
        spares = known is not None and self._may_be_stale(known[0])
        question = Question(registry, repository, "manifest", tag, spares=spares)
        try:
            if self._policy.agree > 1:
                return await self._agreed(name, question, known)
            if known is not None and (confirmed := await self._confirmed(name, question, known)) is not None:
                return confirmed
            getter = self._getter(repository, tag)
            won = await self._asking.first(question, getter, hosts=self._sparing(question))
        except AllHostsFailed:
            self._be_quiet(name)  # a dead upstream costs one time-out a window
            raise
        return await self._learned(name, won.answer, won.host.name, won.attempts)

    def _sparing(self, question: Question) -> Sequence[Host] | None:
        """Who alone may say what the tag means now: the hosts that are spared, if there are any, for another
        that has more pulls may be behind them, and what is stored is served instead. None: all may."""
        if not question.spares:
            return None
        hosts = self._asking.hosts(question.registry)
        resting = plan_route(hosts, question, self._asking.health).resting
        spared = {attempt.host for attempt in resting if attempt.outcome == "pull-limit"}
        return [host for host in hosts if host.name in spared] or None

    async def _confirmed(
        self, name: Name, question: Question, known: tuple[TagRecord, AnyManifest]
    ) -> Tagged | None:
        """Ask by HEAD, which is free where a GET counts; None: the manifest must be fetched. Only when the
        tag has moved a GET follows, by digest, if there are pulls for it."""
        registry, repository, tag = name

        won = await self._asking.first(replace(question, method="HEAD"), self._header(repository, tag))
        said = won.answer
        if said is None:
            return None
        if said.digest == known[0].descriptor.digest:
            await self._touch(name, won.host.name)
            return Tagged(known[1], won.host.name, False, 0.0, won.attempts)
        try:
            manifest = await self._manifests.by_digest(
                registry, repository, said.digest, spares=question.spares
            )
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

    def _header(self, repository: str, tag: str, led: dict[Host, Url] | None = None) -> DescriptorAsk:
        """``led`` is told who led elsewhere, and where."""

        async def ask(host: Host, connected: Callable[[], None]) -> Descriptor | None:
            on_led = None if led is None else partial(led.__setitem__, host)
            return await self._client.head_manifest(
                host, repository, tag, on_connected=connected, on_led=on_led
            )

        return ask

    def _getter(self, repository: str, tag: str, led: dict[Host, Url] | None = None) -> ManifestAsk:
        """As :meth:`_header`."""

        async def ask(host: Host, connected: Callable[[], None]) -> AnyManifest:
            on_led = None if led is None else partial(led.__setitem__, host)
            return await self._client.manifest(host, repository, tag, on_connected=connected, on_led=on_led)

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
            attempts += self._moved(record)
        return Tagged(manifest, host, False, 0.0, attempts)

    def _moved(self, record: TagRecord) -> tuple[Attempt, ...]:
        """A tag that names something else is told; one that goes back to what it named before is so as a
        fault of whoever says it: a mirror that is behind does that, or one that means harm. Its owner may
        have taken it back, too: only agreement or a lock can tell."""
        if record.previous is None or record.changed_at != record.checked_at:
            return ()
        digest = record.descriptor.digest
        if not record.came_back:
            log.info("%s moved from %s to %s, says %s", record.name, record.previous, digest, record.host)
            return ()
        log.warning(
            "%s went back from %s to %s, which it named before, says %s: a mirror that is behind does that; "
            "see [tags] agree, and sampan lock",
            record.name,
            record.previous,
            digest,
            record.host,
        )
        told = Attempt(record.host, "rollback", 0.0, detail=f"{record.name} went back to {digest}")
        self._asking.observer.attempted(record.registry, "manifest", told)
        return (told,)

    def _be_quiet(self, name: Name) -> None:
        self._quiet_until[name] = self._asking.clock.monotonic() + self._policy.fresh_for_seconds
        self._quiet_until.move_to_end(name)
        if len(self._quiet_until) > QUIET_TAGS_MAX:
            self._quiet_until.popitem(last=False)

    # -- agreement ---------------------------------------------------------------------------------

    async def _agreed(
        self, name: Name, question: Question, known: tuple[TagRecord, AnyManifest] | None
    ) -> Tagged:
        """Ask every operator group; the digest that ``agree`` of them give is the tag's meaning."""
        groups: dict[str, list[Host]] = {}
        for host in eligible(self._asking.hosts(question.registry), question):
            groups.setdefault(host.operator, []).append(host)
        ballot = Ballot(self._policy.agree)
        await self._poll(ballot, question, groups.values(), known)
        winner = ballot.winner()
        disagreeing = ballot.disagreeing(winner) if ballot.is_split else []
        for attempt in disagreeing:
            log.warning("%s/%s:%s: %s says that it is %s", *name, attempt.host, attempt.detail)
            self._asking.observer.attempted(name[0], "manifest", attempt)
        if winner is None:
            raise ballot.failure(str(question))
        return await self._learned(name, winner.manifest, winner.host, (*ballot.attempts, *disagreeing))

    async def _poll(
        self,
        ballot: Ballot,
        question: Question,
        groups: Iterable[Sequence[Host]],
        known: tuple[TagRecord, AnyManifest] | None,
    ) -> None:
        """Until all spoke or nobody can change it. Once there is agreement, whoever is silent for
        longer than a dead host's connection takes has no voice."""
        waiting = {asyncio.create_task(self._ask_group(ballot, question, hosts, known)) for hosts in groups}
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

    async def _ask_group(
        self,
        ballot: Ballot,
        question: Question,
        hosts: Sequence[Host],
        known: tuple[TagRecord, AnyManifest] | None,
    ) -> None:
        led: dict[Host, Url] = {}
        try:
            won = await self._said(question, hosts, known, led)
        except AllHostsFailed as error:
            ballot.abstain(error)
        else:
            url = led.get(won.host)
            operator = hosts[0].operator if url is None else self._operator(question.registry, url)
            ballot.count(Voice(won.answer, won.host.name, operator), won.attempts)

    async def _said(
        self,
        question: Question,
        hosts: Sequence[Host],
        known: tuple[TagRecord, AnyManifest] | None,
        led: dict[Host, Url],
    ) -> Won[AnyManifest]:
        """What one group says; ``led`` is told who led elsewhere, and where. A HEAD is enough where it says
        what is known already."""
        repository, tag = question.repository, str(question.object)
        if known is not None:
            head = await self._asking.first(
                replace(question, method="HEAD"), self._header(repository, tag, led), hosts=hosts
            )
            if head.answer is not None and head.answer.digest == known[0].descriptor.digest:
                return Won(known[1], head.host, head.asked_at, head.attempts)
        return await self._asking.first(question, self._getter(repository, tag, led), hosts=hosts)

    def _operator(self, registry: str, url: Url) -> str:
        """Who runs the machine at ``url``, to which one of the hosts led."""
        known = (host for host in self._asking.hosts(registry) if host.base.origin == url.origin)
        return next((host.operator for host in known), registrable_domain(url.host))
