"""What the hosts did in one download: who failed, how often without progress, and for how long each gave.

It asks nobody; :mod:`sampan.mirror.gathering` does, and tells it here.
"""

from __future__ import annotations

from collections.abc import Iterable

from sampan.errors import Attempt, HostError, WrongContent
from sampan.mirror.fetch import BlobSource
from sampan.mirror.ledger import Ledger
from sampan.upstream.host import Host

PROGRESS_BYTES = 64 * 1024  # less than this is no progress
FAILURES_WITHOUT_PROGRESS_MAX = 2  # by one host, in one download
ATTEMPTS_MAX = 200  # of one download: a host that cuts every few bytes must not go on for ever


class Tries:
    """``attempts``: all that failed, and at the end those that gave, in order."""

    def __init__(self, source: BlobSource) -> None:
        self.attempts: list[Attempt] = []
        self._source = source
        self._failures: dict[Host, int] = {}
        self._liars: set[Host] = set()
        self._left: set[Host] = set()
        self._seconds: dict[Host, float] = {}

    @property
    def are_many(self) -> bool:
        """Whether it is time to give up."""
        return len(self.attempts) >= ATTEMPTS_MAX

    def exhausted(self) -> set[Host]:
        """Who has failed too often."""
        return {host for host, count in self._failures.items() if count >= FAILURES_WITHOUT_PROGRESS_MAX}

    def failing(self) -> set[Host]:
        """Who has failed at all: of use when nobody else is, not for pieces."""
        return {host for host, count in self._failures.items() if count}

    def add(self, attempts: Iterable[Attempt]) -> None:
        """Attempts that came to nothing, each once."""
        self.attempts += [attempt for attempt in attempts if attempt not in self.attempts]

    def spent(self, host: Host, seconds: float) -> None:
        """A body of ``host`` took so long, however it ended."""
        self._seconds[host] = self._seconds.get(host, 0.0) + seconds

    def failed(self, host: Host, error: HostError, count_bytes: int, seconds: float) -> None:
        """A body of ``host`` ended badly after ``count_bytes``."""
        if count_bytes >= PROGRESS_BYTES:
            self._failures.pop(host, None)
        self.blame(host)
        self.attempts.append(self._source.failed(host, error, seconds=seconds, count_bytes=count_bytes))

    def left(self, host: Host, seconds: float) -> None:
        """Others gave sooner what was asked of it: no failure, but to be told, and remembered for a
        while; once."""
        if host in self._left:
            return
        self._left.add(host)
        self.attempts.append(self._source.left(host, seconds=seconds))

    def blame(self, host: Host) -> None:
        """One more failure, of which there is nothing to tell."""
        self._failures[host] = self._failures.get(host, 0) + 1

    def exhaust(self, host: Host) -> None:
        """It is not to be asked again."""
        self._failures[host] = FAILURES_WITHOUT_PROGRESS_MAX

    def lied(self, host: Host) -> None:
        """Its bytes are not the blob's: struck, once, and not asked again."""
        if host in self._liars:
            return
        lie = WrongContent(
            f"{host.name} sent bytes that are not {self._source.digest}", outcome="wrong-content"
        )
        self.failed(host, lie, 0, 0.0)
        self.exhaust(host)
        self._liars.add(host)

    def credit(self, ledger: Ledger) -> None:
        """The blob is right: each host that gave a part is credited with it, once; but no liar, though the
        last that it gave was right."""
        for host in (host for host in ledger.givers if host is not None and host not in self._liars):
            count, seconds = ledger.of(host).total, self._seconds.get(host, 0.0)
            is_well = host not in self._left
            self.attempts.append(
                self._source.delivered(host, seconds=seconds, count_bytes=count, is_well=is_well)
            )
