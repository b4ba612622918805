"""Several hosts gave a blob, and it is not what its digest says: who lied?

One giver after another is suspected: what it gave is fetched again from the others, in its place. When the
whole is then right, those whose bytes were different lied. The guarantee: a host is called a liar only when
its bytes differ from bytes that are proved right, and whoever was honest loses nothing. What an earlier run
left is suspected first, for nobody answers for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from sampan.errors import AllHostsFailed
from sampan.mirror.arrival import Arrival
from sampan.mirror.gathering import BeginAnew, Gathering
from sampan.oci.digest import Digest
from sampan.store.content import Ingest
from sampan.store.spans import Spans
from sampan.upstream.host import Host

PART_BYTES = 4 * 1024 * 1024  # compared at once: long enough to be hashed without the interpreter


@dataclass(frozen=True, slots=True)
class Print:
    """What ``host`` (None: an earlier run) gave from ``start`` to ``stop``."""

    host: Host | None
    start: int
    stop: int
    digest: Digest


async def find_liars(ingest: Ingest, arrival: Arrival, gathering: Gathering) -> set[Host] | None:
    """Who lied, when ``ingest`` is right now; None when it could not be mended. Nobody is in it who gave
    all: then there is nothing to compare. Raises StoreError and what ``gathering`` raises otherwise."""
    prints: list[Print] = []
    suspects = _suspects(arrival)
    for suspect in suspects if len(suspects) > 1 else ():
        parts = arrival.ledger.of(suspect)
        if not parts:
            continue  # all of it has been fetched again meanwhile
        prints += await asyncio.to_thread(_prints, ingest, suspect, parts)
        arrival.is_disputed(next(iter(parts))[0], parts.total)
        await asyncio.to_thread(_forget, ingest, parts)
        try:
            await gathering.fill(ingest, avoid=() if suspect is None else (suspect,))
        except (AllHostsFailed, BeginAnew):
            return None
        if await asyncio.to_thread(ingest.matches):
            wrong = await asyncio.to_thread(_wrong, ingest, prints)
            arrival.is_settled(Spans((part.start, part.stop) for part in wrong))
            return {part.host for part in wrong if part.host is not None}
    return None


def _suspects(arrival: Arrival) -> Sequence[Host | None]:
    """The least believed first, then who gave the least: it costs the least to ask again."""

    def rank(host: Host | None) -> tuple[bool, bool, int]:
        return host is not None, host is not None and arrival.is_trusted(host), arrival.ledger.of(host).total

    return sorted(arrival.ledger.givers, key=rank)


def _prints(ingest: Ingest, host: Host | None, parts: Spans) -> list[Print]:
    return [
        Print(host, start, stop, _digest(ingest, start, stop))
        for part_start, part_stop in parts
        for start in range(part_start, part_stop, PART_BYTES)
        for stop in (min(start + PART_BYTES, part_stop),)
    ]


def _forget(ingest: Ingest, parts: Spans) -> None:
    for part in list(parts):
        ingest.forget(*part)
    ingest.rehash()  # here, where nobody waits to write


def _wrong(ingest: Ingest, prints: Sequence[Print]) -> list[Print]:
    """Those of which other bytes proved right."""
    return [one for one in prints if _digest(ingest, one.start, one.stop) != one.digest]


def _digest(ingest: Ingest, start: int, stop: int) -> Digest:
    return Digest.of(ingest.read(start, stop), ingest.digest.algorithm)
