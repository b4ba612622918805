"""What a pull came to: which host gave what, what failed where, how much was there already.

Guarantees that the sum is of what the events said, and nothing else. It prints nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sampan.errors import Attempt, printable
from sampan.pull.events import BlobDone, Event, Failed, ImageDone, Resolved
from sampan.words import UNIT_BYTES as UNIT_BYTES
from sampan.words import size_text as size_text

_ALREADY = {"store": "already in the store", "sink": "already where it goes"}


class Tally:
    """A listener that counts."""

    def __init__(self) -> None:
        self.given: Counter[str] = Counter()  # bytes by giver
        self.blobs: Counter[str] = Counter()  # how many each giver had a part in
        self.already: Counter[str] = Counter()  # bytes, by where they were
        self.resumed_bytes = 0
        self.failures: dict[str, Counter[str]] = {}
        self.done = 0
        self.failed = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, Resolved | BlobDone | Failed):
            for attempt in event.attempts:
                self._note(attempt)
        if isinstance(event, BlobDone):
            self._count(event)
        self.done += isinstance(event, ImageDone)
        self.failed += isinstance(event, Failed)

    def _note(self, attempt: Attempt) -> None:
        if attempt.outcome != "ok":
            words = f"{attempt.outcome} ({attempt.status})" if attempt.status else attempt.outcome
            self.failures.setdefault(attempt.host, Counter())[words] += 1

    def _count(self, blob: BlobDone) -> None:
        if blob.already:
            self.already[blob.already] += blob.size
            return
        for host, count in blob.hosts.items():
            giver = giver_text(host, blob.behind.get(host, ""))
            self.given[giver] += count
            self.blobs[giver] += 1
        self.resumed_bytes += blob.resumed_bytes

    def lines(self) -> Iterator[str]:
        """The summary, for people: the largest giver first."""
        for giver, count in self.given.most_common():
            blobs = self.blobs[giver]
            yield f"{giver} gave {size_text(count)} of {blobs} blob{'s' if blobs > 1 else ''}"
        if self.resumed_bytes:
            yield f"an earlier pull had left {size_text(self.resumed_bytes)} of unfinished blobs"
        for where, count in self.already.most_common():
            yield f"{_ALREADY[where]}: {size_text(count)}"
        for host, outcomes in self.failures.items():
            words = ", ".join(f"{word} {n} times" if n > 1 else word for word, n in outcomes.most_common())
            yield f"{printable(host)} failed: {words}"


def giver_text(host: str, behind: str) -> str:
    """Who gave something: ``host``, and where it had that from when it is a mirror that says so."""
    if not behind:
        return printable(host)
    return f"the store of {printable(host)}" if behind == "store" else f"{behind} via {printable(host)}"
