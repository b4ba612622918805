"""Several hosts gave a blob, and it is not what its digest says: who lied?

One giver after another is suspected: what it gave is fetched again from the others, in its place. Whoever
then gives other bytes than the suspect did is suspected next. When the whole is right, those whose bytes were
different lied. The guarantee: a host is called a liar only when its bytes differ from bytes that are proved
right, and whoever was honest loses nothing. What an earlier run left is suspected first, for nobody answers
for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from sampan.errors import AllHostsFailed
from sampan.mirror.arrival import Arrival
from sampan.mirror.gathering import BeginAnew, Gathering
from sampan.oci.digest import Digest
from sampan.store.content import Ingest
from sampan.store.spans import Spans
from sampan.upstream.host import Host

PART_BYTES = 256 * 1024  # compared at once: who was sent any of a part that was wrong is told


@dataclass(frozen=True, slots=True)
class Print:
    """What ``host`` (None: an earlier run) gave from ``start`` to ``stop``."""

    host: Host | None
    start: int
    stop: int
    digest: Digest


class Dispute:
    """About one blob, until it is right: :meth:`mend`, perhaps again, and then :meth:`liars`."""

    def __init__(self, arrival: Arrival, gathering: Gathering) -> None:
        self._arrival = arrival
        self._gathering = gathering
        self._prints: list[Print] = []

    async def mend(self, ingest: Ingest) -> bool:
        """Replace what is wrong in ``ingest``; False when that could not be done. Where one host gave all
        there is nothing to compare. Raises StoreError and what the gathering raises otherwise."""
        suspects = self._suspects()
        if len(suspects) < 2:
            return False
        while suspects:
            suspect = suspects.pop(0)
            before = await self._print(ingest, suspect)
            try:
                await self._replace(ingest, suspect, before)
            except (AllHostsFailed, BeginAnew):
                break
            if await asyncio.to_thread(ingest.matches):
                changed = await asyncio.to_thread(_wrong, ingest, self._prints)
                self._arrival.is_settled(Spans((one.start, one.stop) for one in changed))
                return True
            contradicting = self._givers_of(await asyncio.to_thread(_wrong, ingest, before))
            suspects.sort(key=lambda host: host not in contradicting)
        for giver in self._arrival.ledger.givers:
            await self._print(ingest, giver)
        return False

    async def liars(self, ingest: Ingest) -> set[Host]:
        """Now that ``ingest`` is right: who gave something else."""
        wrong = await asyncio.to_thread(_wrong, ingest, self._prints)
        self._prints = []
        return {one.host for one in wrong if one.host is not None}

    def _suspects(self) -> list[Host | None]:
        """The least believed first, then who gave the least: it costs the least to ask again."""
        arrival = self._arrival

        def rank(host: Host | None) -> tuple[bool, bool, int]:
            is_trusted = host is not None and arrival.is_trusted(host)
            return host is not None, is_trusted, arrival.ledger.of(host).total

        return sorted(arrival.ledger.givers, key=rank)

    async def _print(self, ingest: Ingest, host: Host | None) -> list[Print]:
        """What is there of ``host``, remembered."""
        parts = list(self._arrival.ledger.of(host))
        prints = await asyncio.to_thread(_prints, ingest, host, parts)
        self._prints += prints
        return prints

    async def _replace(self, ingest: Ingest, host: Host | None, prints: list[Print]) -> None:
        if not prints:
            return  # all of it has been fetched again meanwhile
        parts = Spans((one.start, one.stop) for one in prints)
        self._arrival.is_disputed(prints[0].start, parts.total)
        await asyncio.to_thread(_forget, ingest, parts)
        await self._gathering.fill(ingest, avoid=() if host is None else (host,))

    def _givers_of(self, prints: list[Print]) -> set[Host | None]:
        ledger = self._arrival.ledger
        return {
            host
            for host in ledger.givers
            if any(ledger.of(host).overlap(one.start, one.stop) for one in prints)
        }


def _prints(ingest: Ingest, host: Host | None, parts: Iterable[tuple[int, int]]) -> list[Print]:
    return [
        Print(host, start, stop, _digest(ingest, start, stop))
        for part_start, part_stop in parts
        for start in range(part_start, part_stop, PART_BYTES)
        for stop in (min(start + PART_BYTES, part_stop),)
    ]


def _forget(ingest: Ingest, parts: Spans) -> None:
    for part in parts:
        ingest.forget(*part)
    ingest.rehash()  # here, where nobody waits to write


def _wrong(ingest: Ingest, prints: list[Print]) -> list[Print]:
    """Those of which there are other bytes now."""
    return [one for one in prints if _digest(ingest, one.start, one.stop) != one.digest]


def _digest(ingest: Ingest, start: int, stop: int) -> Digest:
    return Digest.of(ingest.read(start, stop), ingest.digest.algorithm)
