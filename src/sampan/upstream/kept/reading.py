"""The document, made into what is known of hosts."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

import msgspec

from sampan.clock import Clock
from sampan.errors import Attempt, printable
from sampan.upstream.breaker import REST_SECONDS_MAX, Breaker
from sampan.upstream.budget import Refusals
from sampan.upstream.health import STRIKE_SECONDS, Health, Machine, Memory, Room
from sampan.upstream.host import Host
from sampan.upstream.kept.document import (
    Document,
    KeptAttempt,
    KeptBreaker,
    KeptMachine,
    KeptRoom,
    KeptSeries,
    NotKept,
    settings_of,
)
from sampan.upstream.quota import Pulls, place_of
from sampan.upstream.tempo import SAMPLES_MAX, Usual


def revive(health: Health, clock: Clock, data: bytes, hosts: Collection[Host]) -> float:
    """Fill ``health``, which knows nothing yet, with what ``data`` has of ``hosts``. Returns when it was
    written, by the wall clock. Raises NotKept."""
    try:
        document = msgspec.json.decode(data, type=Document)
    except (ValueError, RecursionError) as error:
        raise NotKept(printable(str(error))) from error
    read, memory = _Reading(clock.monotonic(), max(clock.time() - document.written, 0.0)), health.memory
    named = {(host.name, settings): host for host in hosts if (settings := settings_of(host)) is not None}
    urls = {host.url for host in hosts}
    for machine in document.machines:
        if machine.url in urls:
            memory.machines.remember(machine.url, read.machine(machine))
    places = set(urls)
    for storage in document.storages:
        if storage.url in urls:
            memory.storages.remember((storage.url, storage.kind), storage.storage)
            places.add(storage.storage)
    for branch in document.branches:
        if branch.place in places and (breaker := read.breaker(branch.breaker)) is not None:
            memory.branches.remember((branch.place, branch.kind), breaker)
    for room in document.rooms:
        if (host := named.get((room.host, room.settings))) is not None:
            read.room(memory, (host, room.repository, room.kind), room)
    for series in document.tempo:
        if series.url in urls:
            health.tempo.series.remember((series.url, series.step), read.usual(series))
    since = clock.time() - clock.monotonic()
    counted = {place_of(host) for host in hosts}
    operators = {host.operator for host in hosts}
    refusals = (
        Refusals(each.operator, tuple(read.at(ago) + since for ago in each.refused_ago))
        for each in document.refusals
        if each.operator in operators
    )
    health.budget.recall(refusals, hosts)
    health.quota.recall(
        Pulls(each.place, None, each.limit, min(each.left, each.limit), read.until(each.seconds) + since)
        for each in document.pulls
        if each.place in counted
    )
    return document.written


class _Reading:
    """Seen from ``now``, ``passed`` seconds after it was written."""

    def __init__(self, now: float, passed: float) -> None:
        self._now = now
        self._passed = passed

    def machine(self, kept: KeptMachine) -> Machine:
        return Machine(
            breaker=self.breaker(kept.breaker) or Breaker(),
            strikes=kept.strikes,
            struck_until=self.until(min(kept.struck_seconds, STRIKE_SECONDS * kept.strikes)),
            verified_blobs=kept.verified_blobs,
            verified_bytes=kept.verified_bytes,
            bytes_per_second=kept.bytes_per_second,
        )

    def room(self, memory: Memory, key: Room, kept: KeptRoom) -> None:
        if (breaker := self.breaker(kept.breaker)) is not None:
            memory.rooms.remember(key, breaker)
        if (denied := _attempt_of(kept.denied)) is not None and kept.denied_seconds > self._passed:
            memory.denied.remember(key, (self.until(kept.denied_seconds), denied))

    def usual(self, kept: KeptSeries) -> Usual:
        return Usual(deque(kept.seconds, maxlen=SAMPLES_MAX), self.at(kept.heard_ago))

    def breaker(self, kept: KeptBreaker | None) -> Breaker | None:
        """One whose rest has been over for as long as the longest of rests is forgotten."""
        if kept is None or self._passed - kept.rest_seconds > REST_SECONDS_MAX:
            return None
        seconds = kept.rest_seconds if kept.firm else min(kept.rest_seconds, REST_SECONDS_MAX)
        return Breaker(
            failures=kept.failures,
            rest_until=self.until(seconds),
            failed_at=self.at(kept.failed_ago),
            opened=kept.opened,
            firm=kept.firm,
            last=_attempt_of(kept.last),
        )

    def until(self, seconds: float) -> float:
        """When ``seconds`` that were left then are over."""
        return self._now + seconds - self._passed

    def at(self, ago: float) -> float:
        """When it was, if it was so long ago then."""
        return self._now - ago - self._passed


def _attempt_of(kept: KeptAttempt | None) -> Attempt | None:
    return None if kept is None else Attempt(kept.host, kept.outcome, kept.seconds, kept.status)
