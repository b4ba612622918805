"""The files of a store that are no blobs, as a sweep drops them: partials, quarantine, what a killed process
left.

Guarantees that an ingest in flight, in this process or another, is never touched, and that a dry run counts
what would go and touches nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sampan.store.leftovers import (
    ABANDONED_SECONDS,
    QUARANTINE_SECONDS,
    Leftover,
    drop_idle,
    is_abandoned,
    is_in_flight,
    leftovers,
)
from sampan.store.removal import Account, Kind, Removal, when
from sampan.words import Text, sentence

if TYPE_CHECKING:
    from sampan.store.disk import DiskStore
    from sampan.store.tags import TagStore


class Files:
    """Those of ``store``; what goes is told to ``account``."""

    def __init__(self, store: DiskStore, tags: TagStore, account: Account, *, dry_run: bool) -> None:
        self._store = store
        self._tags = tags
        self._account = account
        self._dry_run = dry_run

    def used_bytes(self) -> int:
        """By all of them."""
        folders = (self._store.ingests, self._store.quarantine)
        return sum(found.size for folder in folders for found in leftovers(folder))

    def in_flight_bytes(self) -> int:
        """What nobody can drop: partials that are being written now."""
        folder = self._store.ingests
        return sum(found.size for found in leftovers(folder) if is_in_flight(folder, found.name))

    def drop_abandoned(self) -> None:
        """Old partials, what a killed process left, old quarantine, notes of blobs that are gone."""
        now = self._store.clock.time()
        for found in leftovers(self._store.ingests):
            if is_abandoned(found, now):
                self._drop_ingest(found, _why_abandoned(found))
        for found in leftovers(self._store.quarantine):
            if abs(now - found.touched_at) > QUARANTINE_SECONDS:
                why = sentence(
                    "in quarantine since {time}: whoever wanted to look into it has",
                    time=when(found.touched_at),
                )
                self._drop_quarantined(found, why)
        if not self._dry_run:
            self._store.drop_stray_notes(now - ABANDONED_SECONDS)
            self._tags.drop_leftovers(now - ABANDONED_SECONDS)

    def drop_quarantine_until(self, max_size_bytes: int) -> None:
        """The oldest first."""
        why = sentence("room is needed, and it was damaged: it is of no use but to look into it")
        for found in _oldest_first(leftovers(self._store.quarantine)):
            if self._account.used_bytes <= max_size_bytes:
                return
            self._drop_quarantined(found, why)

    def drop_partials_until(self, max_size_bytes: int, *, rested_seconds: float) -> None:
        """Partials that nobody writes and nobody wrote lately, the oldest first."""
        before = self._store.clock.time() - rested_seconds
        for found in _oldest_first(leftovers(self._store.ingests)):
            if self._account.used_bytes <= max_size_bytes:
                return
            if not rested_seconds or found.touched_at < before:
                why = sentence(
                    "room is needed, and nobody has gone on with it since {time}", time=when(found.touched_at)
                )
                self._drop_ingest(found, why)

    def _drop_ingest(self, found: Leftover, why: Text) -> None:
        self._drop(found, "partial", why, self._is_idle if self._dry_run else self._drop_idle)

    def _drop_quarantined(self, found: Leftover, why: Text) -> None:
        self._drop(found, "quarantined", why, self._store.quarantine.unlink)

    def _drop(self, found: Leftover, kind: Kind, why: Text, drop: Callable[[str], bool]) -> None:
        is_dropped = self._account.has(found.name)
        may_count = self._dry_run and kind == "quarantined"  # nothing stands in its way
        if not is_dropped and (may_count or drop(found.name)):
            self._account.count(Removal(found.name, kind, found.size, why))

    def _is_idle(self, name: str) -> bool:
        return not is_in_flight(self._store.ingests, name)

    def _drop_idle(self, name: str) -> bool:
        return drop_idle(self._store.ingests, name)


def _oldest_first(found: list[Leftover]) -> list[Leftover]:
    return sorted(found, key=lambda each: (each.touched_at, each.name))


def _why_abandoned(found: Leftover) -> Text:
    if not found.resumable:
        return sentence("left by a process that was killed: nobody can go on with it")
    return sentence("nobody has gone on with it since {time}", time=when(found.touched_at))
