"""Tidying a store: evict to a size, drop what was abandoned, remove an image.

Guarantees that what a kept manifest needs, what is pinned, what is being served and what is being written
stays; that a manifest goes before its blobs, with the disk's word for it, so that at no instant, a crash
included, a manifest is kept whose blobs were removed; and that a dry run says what the sweep would do. One
sweep runs at a time, also of several processes. It does not decide when to sweep.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from sampan.errors import StoreError
from sampan.store.directory import try_lock
from sampan.store.eviction import Eviction
from sampan.store.files import Files
from sampan.store.removal import Account, Outcome, SweepReport
from sampan.words import sentence, size_text

if TYPE_CHECKING:
    from sampan.oci.digest import Digest
    from sampan.store.disk import DiskStore
    from sampan.store.tags import TagRecord, TagStore

PARTIAL_REST_SECONDS = 24 * 3600.0  # what failed today is likely to be asked for again: it goes last
LOCK = "sweep.lock"
# Another's sweep takes seconds. Whoever waited for a minute goes on beside it: both may free the same room.
OTHERS_LOOK_SECONDS = 0.05
OTHERS_LOOKS = 1200

log = logging.getLogger(__name__)


def tidy(store: DiskStore, tags: TagStore, *, dry_run: bool = False) -> SweepReport:
    """Drop what is of no use though there were room: for a start, and now and then. Raises StoreError."""

    def work(sweep: _Sweep) -> SweepReport:
        sweep.files.drop_abandoned()
        return sweep.account.report(sentence("there is room for the rest"))

    return _swept(store, tags, work, dry_run=dry_run)


def evict(store: DiskStore, tags: TagStore, max_size_bytes: int, *, dry_run: bool = False) -> SweepReport:
    """Bring the store to ``max_size_bytes``, least recently used first; ``dry_run``: only say how.

    Counts blobs, partial files and quarantine. Each call looks at the whole store, so ask for a little
    less than the limit that made you call. Images go whole, with the records of tags that name
    them. Blocks; run it in a thread. Raises StoreError.
    """
    return _swept(store, tags, lambda sweep: sweep.bring_to(max_size_bytes), dry_run=dry_run)


def free(store: DiskStore, tags: TagStore, size_bytes: int, *, dry_run: bool = False) -> SweepReport:
    """As :func:`evict`, down to ``size_bytes`` less than what is used now: for a disk that is full.

    What is larger than all that could go drives nothing out: it would not fit either.
    """

    def work(sweep: _Sweep) -> SweepReport:
        account = sweep.account
        if size_bytes > account.used_bytes - sweep.files.in_flight_bytes():
            reason = sentence("{size} is more than all that could go", size=size_text(size_bytes))
            return account.report(reason)
        return sweep.bring_to(max(0, account.used_bytes - size_bytes))

    return _swept(store, tags, work, dry_run=dry_run)


def remove(
    store: DiskStore,
    tags: TagStore,
    wanted: Sequence[tuple[Digest, TagRecord | None]],
    *,
    dry_run: bool = False,
) -> tuple[SweepReport, list[Outcome]]:
    """Remove images or lone blobs, each with its tags and with what no other image needs; with one of its
    tags, only that name if the image has another or another image needs it.

    What is pinned stays, as does what others need: the outcomes say so. Raises StoreError.
    """
    outcomes: list[Outcome] = []

    def work(sweep: _Sweep) -> SweepReport:
        eviction = sweep.eviction()
        outcomes.extend(eviction.drop(digest, tag) for digest, tag in wanted)
        return sweep.account.report(sentence("it was to be removed"))

    return _swept(store, tags, work, dry_run=dry_run), outcomes


class _Sweep:
    """One of them, under way: ``files`` that are no blobs, and images."""

    def __init__(self, store: DiskStore, tags: TagStore, *, dry_run: bool) -> None:
        self._store = store
        self._tags = tags
        self._dry_run = dry_run
        self._mark = store.mark()  # before anything is looked at: what is used from now on stays
        self._pinned = store.pinned()
        self.account = Account()
        self.files = Files(store, tags, self.account, dry_run=dry_run)
        self.account.used_bytes = store.recount() + self.files.used_bytes()

    def eviction(self) -> Eviction:
        """For the images; looks at the whole store."""
        return Eviction(
            self._store, self._tags, self.account, self._pinned, self._mark, dry_run=self._dry_run
        )

    def bring_to(self, max_size_bytes: int) -> SweepReport:
        """What is of least use first, until it fits."""
        account, files = self.account, self.files
        files.drop_abandoned()
        files.drop_quarantine_until(max_size_bytes)
        files.drop_partials_until(max_size_bytes, rested_seconds=PARTIAL_REST_SECONDS)
        if account.used_bytes > max_size_bytes:
            self.eviction().drop_until(max_size_bytes)
        files.drop_partials_until(max_size_bytes, rested_seconds=0.0)
        size = size_text(max_size_bytes)
        if account.used_bytes <= max_size_bytes:
            return account.report(sentence("fits into {size}", size=size))
        kept = account.what_stays()
        return account.report(
            sentence("more than {size}, but all that is left is {kept}", size=size, kept=kept)
        )


def _swept(
    store: DiskStore, tags: TagStore, work: Callable[[_Sweep], SweepReport], *, dry_run: bool
) -> SweepReport:
    with _alone(store):
        report = work(_Sweep(store, tags, dry_run=dry_run))
    if report.freed_bytes and not dry_run:
        log.info("freed %d bytes, %d are used: %s", report.freed_bytes, report.used_bytes, report.reason)
    return report


@contextmanager
def _alone(store: DiskStore) -> Iterator[None]:
    """While no other process sweeps; a crash of it ends its turn. Where nothing can be locked, on a full disk
    for instance, it is done all the same: that must not keep anybody from making room."""
    with ExitStack() as opened:
        try:
            # To read, if it is there: root may have made it, and the mirror is somebody else.
            file = opened.enter_context(store.top.open(LOCK) or store.top.open_or_create(LOCK))
            for _ in range(OTHERS_LOOKS):
                if try_lock(file):
                    break
                time.sleep(OTHERS_LOOK_SECONDS)
        except StoreError as error:
            log.debug("swept without a lock: %s", error.message)
        yield
