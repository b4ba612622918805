"""Several hosts gave a blob, and it is not what its digest says: who lied?

One giver after another is suspected: what it gave is fetched again from the others, in its place. When the
whole is then right, those whose bytes were different lied. The guarantee: a host is called a liar only when
its bytes differ from bytes that are proved right, and whoever was honest loses nothing. What an earlier run
left is suspected first, for nobody answers for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sampan.errors import AllHostsFailed
from sampan.mirror.arrival import Arrival
from sampan.mirror.gathering import BeginAnew, Gathering
from sampan.oci.digest import Digest
from sampan.store.content import Ingest
from sampan.store.spans import Spans
from sampan.upstream.host import Host

PART_BYTES = 4 * 1024 * 1024  # compared at once: long enough to be hashed without the interpreter

Print = tuple[int, int, Digest]
"""Start and stop of a part, and the digest of what was there."""


async def find_liars(ingest: Ingest, arrival: Arrival, gathering: Gathering) -> list[Host] | None:
    """Who lied, when ``ingest`` is right now; None when it could not be mended. Nobody is in it who gave
    all: then there is nothing to compare. Raises StoreError and what ``gathering`` raises otherwise."""
    prints: list[tuple[Host | None, list[Print]]] = []
    suspects = _suspects(arrival)
    for suspect in suspects if len(suspects) > 1 else ():
        parts = arrival.ledger.of(suspect)
        if not parts:
            continue  # all of it has been fetched again meanwhile
        prints.append((suspect, await asyncio.to_thread(_prints, ingest, parts)))
        await _forget(ingest, arrival, parts)
        try:
            await gathering.fill(ingest, avoid=() if suspect is None else (suspect,))
        except (AllHostsFailed, BeginAnew):
            return None
        if await asyncio.to_thread(ingest.matches):
            return [
                host
                for host, before in prints
                if host is not None and await asyncio.to_thread(_differs, ingest, before)
            ]
    return None


def _suspects(arrival: Arrival) -> Sequence[Host | None]:
    """The least believed first, then who gave the least: it costs the least to ask again."""

    def rank(host: Host | None) -> tuple[bool, bool, int]:
        return host is not None, host is not None and arrival.is_trusted(host), arrival.ledger.of(host).total

    return sorted(arrival.ledger.givers, key=rank)


async def _forget(ingest: Ingest, arrival: Arrival, parts: Spans) -> None:
    """In one go, as far as readers see: none is given what is about to be replaced."""
    spans = list(parts)
    arrival.is_doubted(spans[0][0])
    for start, stop in spans:
        await asyncio.to_thread(ingest.forget, start, stop)


def _prints(ingest: Ingest, spans: Spans) -> list[Print]:
    algorithm = ingest.digest.algorithm
    return [
        (start, end, Digest.of(ingest.read(start, end), algorithm))
        for span_start, span_stop in spans
        for start in range(span_start, span_stop, PART_BYTES)
        for end in (min(start + PART_BYTES, span_stop),)
    ]


def _differs(ingest: Ingest, before: Sequence[Print]) -> bool:
    algorithm = ingest.digest.algorithm
    return any(Digest.of(ingest.read(start, stop), algorithm) != was for start, stop, was in before)
