"""What is known of hosts, made into the document."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import msgspec

from sampan.clock import Clock
from sampan.errors import Attempt
from sampan.upstream.breaker import Breaker
from sampan.upstream.budget import Refusals
from sampan.upstream.health import Branch, Health, Machine, Memory, Room
from sampan.upstream.host import Host
from sampan.upstream.kept.document import (
    BRANCHES_MAX,
    MACHINES_MAX,
    OPERATORS_MAX,
    REFUSALS_MAX,
    ROOMS_MAX,
    SERIES_MAX,
    VERSION,
    WRITTEN_MAX,
    Document,
    KeptAttempt,
    KeptBranch,
    KeptBreaker,
    KeptMachine,
    KeptPulls,
    KeptRefusals,
    KeptRoom,
    KeptSeries,
    KeptStorage,
    Record,
    settings_of,
)
from sampan.upstream.quota import Pulls
from sampan.upstream.tempo import Usual

Key = TypeVar("Key")
Value = TypeVar("Value")
R = TypeVar("R", bound=Record)


def written(health: Health, clock: Clock) -> bytes:
    """What ``health`` knows, as a document of at most ``BYTES_MAX`` bytes."""
    write, memory = _Writing(clock.monotonic(), clock.time()), health.memory
    refusals = health.budget.remembered()
    pulls = [each for each in health.quota.known() if each.username is None]
    branches = _newest(memory.branches, BRANCHES_MAX, write.branch)
    told_of = {(each.place, each.kind) for each in branches}
    storages = {branch: place for branch, place in memory.storages.items() if (place, branch[1]) in told_of}
    rooms = {room: (memory.rooms.get(room), memory.denied.get(room)) for room in _rooms(memory)}
    document = Document(
        version=VERSION,
        written=min(max(clock.time(), 0.0), WRITTEN_MAX),
        machines=_newest(memory.machines, MACHINES_MAX, write.machine),
        branches=branches,
        storages=_newest(storages, BRANCHES_MAX, write.storage),
        rooms=_newest(rooms, ROOMS_MAX, write.room),
        tempo=_newest(health.tempo.series, SERIES_MAX, write.series),
        refusals=_newest({each.operator: each for each in refusals}, OPERATORS_MAX, write.refusals),
        pulls=_newest({each.place: each for each in pulls}, MACHINES_MAX, write.pulls),
    )
    return msgspec.json.encode(document)


def _rooms(memory: Memory) -> Iterator[Room]:
    """Those of which anything is known; of objects nothing is kept."""
    yield from memory.rooms
    for key in memory.denied:
        if len(key) == 3:
            yield key


def _newest(known: Mapping[Key, Value], most: int, write: Callable[[Key, Value], R | None]) -> list[R]:
    """What ``write`` makes of the newest ``most``, the oldest first. What could not be read back is left out:
    one odd name must not cost all the rest."""
    records: list[R] = []
    for key, value in reversed(list(known.items())):
        record = write(key, value)
        if record is not None and _is_readable(record):
            records.append(record)
            if len(records) == most:
                break
    return records[::-1]


def _is_readable(record: Record) -> bool:
    try:
        msgspec.json.decode(msgspec.json.encode(record), type=type(record))
    except (ValueError, OverflowError):
        return False
    return True


class _Writing:
    """What is known, seen from ``now``; None: it is not worth a word."""

    def __init__(self, now: float, wall: float) -> None:
        self._now = now
        self._wall = wall
        self._settings: dict[Host, str | None] = {}

    def machine(self, url: str, known: Machine) -> KeptMachine | None:
        record = KeptMachine(
            url=url,
            breaker=self._breaker(known.breaker),
            strikes=known.strikes,
            struck_seconds=self._left(known.struck_until),
            verified_blobs=known.verified_blobs,
            verified_bytes=known.verified_bytes,
            bytes_per_second=known.bytes_per_second,
        )
        return None if record == KeptMachine(url=url) else record

    def branch(self, branch: Branch, breaker: Breaker) -> KeptBranch | None:
        kept = self._breaker(breaker)
        return None if kept is None else KeptBranch(place=branch[0], kind=branch[1], breaker=kept)

    def storage(self, branch: Branch, storage: str) -> KeptStorage:
        return KeptStorage(url=branch[0], kind=branch[1], storage=storage)

    def room(self, room: Room, known: tuple[Breaker | None, tuple[float, Attempt] | None]) -> KeptRoom | None:
        host, repository, kind = room
        breaker = None if known[0] is None else self._breaker(known[0])
        until, denied = known[1] or (0.0, None)
        if denied is not None and (until <= self._now or denied.status == 401 or denied.outcome == "login"):
            denied = None
        if host not in self._settings:
            self._settings[host] = settings_of(host)
        settings = self._settings[host]
        if settings is None or (breaker is None and denied is None):
            return None
        return KeptRoom(
            host=host.name,
            settings=settings,
            repository=repository,
            kind=kind,
            breaker=breaker,
            denied=_attempt(denied),
            denied_seconds=0.0 if denied is None else self._left(until),
        )

    def series(self, key: tuple[str, str], usual: Usual) -> KeptSeries:
        seconds = [round(each, 3) for each in usual.seconds]
        return KeptSeries(url=key[0], step=key[1], heard_ago=self._ago(usual.heard_at), seconds=seconds)

    def refusals(self, operator: str, known: Refusals) -> KeptRefusals:
        ago = [round(max(self._wall - at, 0.0), 3) for at in known.at[-REFUSALS_MAX:]]
        return KeptRefusals(operator=operator, refused_ago=ago)

    def pulls(self, place: str, known: Pulls) -> KeptPulls:
        seconds = round(known.ends_at - self._wall, 3)
        return KeptPulls(place=place, limit=known.limit, left=known.left, seconds=seconds)

    def _breaker(self, known: Breaker) -> KeptBreaker | None:
        """A probe that is under way will not come back to tell: the next request is one."""
        if known.failures == 0:
            return None
        return KeptBreaker(
            failures=known.failures,
            failed_ago=self._ago(known.failed_at),
            rest_seconds=0.0 if known.probing else self._left(known.rest_until),
            opened=known.opened,
            firm=known.firm,
            last=_attempt(known.last),
        )

    def _left(self, until: float) -> float:
        return round(max(until - self._now, 0.0), 3)

    def _ago(self, at: float) -> float:
        return round(max(self._now - at, 0.0), 3)


def _attempt(known: Attempt | None) -> KeptAttempt | None:
    if known is None:
        return None
    return KeptAttempt(
        host=known.host, outcome=known.outcome, seconds=round(known.seconds, 3), status=known.status
    )
