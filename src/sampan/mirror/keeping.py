"""The memory of hosts in a file of the store's directory, so that a restart does not ask the dead again.

Guarantees that no file, and no disk, keeps the mirror from starting or from serving; that the file is the
old one or the new one, never a torn one, whenever the power goes; and that the event loop never waits for the
disk. Of two processes on one directory the last to write is remembered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from sampan.clock import Clock
from sampan.errors import StoreError
from sampan.store.directory import Directory, NotAFile
from sampan.upstream.health import Health
from sampan.upstream.host import Host
from sampan.upstream.kept import BYTES_MAX, NotKept, revive, written

DIRECTORY = "health"
NAME = "hosts.json"
ASIDE = "hosts.json.bad"
KEEP_SECONDS = 60.0  # what a process that is killed has learned since is learned again
LOOK_SECONDS = 5.0  # but refusals, which add up to a ban, are written down as soon as this
ABANDONED_SECONDS = 3600.0
TOLD_MAX = 10  # hosts named in a line of the log

log = logging.getLogger(__name__)


class Keeping:
    """``store``: the directory of the store; ``hosts``: those that are configured, of whom alone anything is
    taken up. As a context it writes now and then, when there is news, and at the end."""

    def __init__(self, store: Path, health: Health, hosts: Collection[Host], clock: Clock) -> None:
        self._store = store
        self._health = health
        self._hosts = hosts
        self._clock = clock
        self._kept_changes = health.changes
        self._is_failing = False
        self._ending = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def recall(self) -> None:
        """Take up what is in the file; to be called before anybody is asked. May block."""
        try:
            with _kept(self._store) as kept:
                if kept is not None:
                    self._take_up(kept)
        except StoreError as error:
            log.warning("what was remembered of hosts cannot be read, and begins anew: %s", error.message)
        else:
            self._tell()

    def look(self) -> float | None:
        """Take up what is in the file and leave it as it is: when it was written, by the wall clock, or None
        when nothing can be made of it. May block."""
        try:
            with _kept(self._store) as kept:
                return None if kept is None else self._read(kept)
        except (StoreError, NotKept):
            return None

    def _take_up(self, kept: Directory) -> None:
        try:
            self._read(kept)
        except (NotAFile, NotKept) as error:
            kept.rename(NAME, kept, ASIDE)
            log.warning(
                "what was remembered of hosts is no such file, and begins anew; it is kept as %s: %s",
                kept.path / ASIDE,
                error,
            )

    def _read(self, kept: Directory) -> float | None:
        data = kept.read(NAME, size_max=BYTES_MAX)
        return None if data is None else revive(self._health, self._clock, data, self._hosts)

    def _tell(self) -> None:
        """Whoever starts anew in the hope that a host is asked should know that it is not."""
        resting = {state.host for state in self._health.states() if state.state != "ready"}
        resting.update(key[0].name for key in self._health.memory.denied)
        if resting:
            named = ", ".join(sorted(resting)[:TOLD_MAX])
            log.info("as before the restart, %d hosts are asked last or not at all: %s", len(resting), named)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="keep health")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        is_over, looks, refusals = False, 0, self._health.budget.changes
        while not is_over:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    is_over = await self._ending.wait()
            except TimeoutError:
                pass
            looks += 1
            if is_over or looks >= KEEP_SECONDS / LOOK_SECONDS or refusals != self._health.budget.changes:
                looks, refusals = 0, self._health.budget.changes
                await self._keep()

    async def _keep(self) -> None:
        if self._health.changes == self._kept_changes:
            return
        changes = self._health.changes
        data = written(self._health, self._clock)
        try:
            await asyncio.to_thread(self._write, data)
        except StoreError as error:
            if not self._is_failing:  # a disk that is full or read-only says so once
                log.warning("what is remembered of hosts would not outlive a restart: %s", error.message)
            self._is_failing = True
        else:
            self._is_failing = False
            self._kept_changes = changes

    def _write(self, data: bytes) -> None:
        with closing(Directory.root(self._store)) as store, closing(store.child(DIRECTORY)) as kept:
            kept.write(NAME, data)
            kept.drop_leftovers(self._clock.time() - ABANDONED_SECONDS)


@contextmanager
def _kept(store: Path) -> Iterator[Directory | None]:
    """The directory where the file is; None: there is none, and none is made. Raises StoreError."""
    if not store.is_dir():
        yield None
        return
    with closing(Directory.root(store)) as root:
        kept = root.find_child(DIRECTORY)
        try:
            yield kept
        finally:
            if kept is not None:
                kept.close()
