"""Who uses what: when each blob was last used, and which blobs are in use this moment.

Guarantees that a blob in use, or used after a mark was taken, is known as such until it is forgotten.
It lives in memory alone; :class:`~sampan.store.disk.DiskStore` writes the last use into a file's time of
modification, at most once a minute for each blob, so that a restart forgets a minute at most and a hit
costs no write. The callers hold the store's lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sampan.oci.digest import Digest

NOTE_SECONDS = 60.0  # the order of eviction does not need more, and a write for each hit would cost one


@dataclass(slots=True)
class Use:
    """The last use of one blob: wall clock, its place in the order of all uses, when it was noted."""

    at: float
    number: int
    noted_at: float


class Uses:
    """Uses by digest; one entry for each blob that this process used and did not forget."""

    def __init__(self) -> None:
        self._last: dict[Digest, Use] = {}
        self._held: dict[Digest, int] = {}
        self._count = 0

    def use(self, digest: Digest, now: float) -> bool:
        """Note a use at ``now`` (wall clock, seconds); whether it should be written to disk."""
        self._count += 1
        last = self._last.get(digest)
        if last is None:
            self._last[digest] = Use(now, self._count, now)
            return True
        last.at, last.number = now, self._count
        if abs(now - last.noted_at) < NOTE_SECONDS:  # abs: a clock that was set back must not stop it
            return False
        last.noted_at = now
        return True

    def last(self, digest: Digest) -> float | None:
        """When it was last used, as far as this process knows."""
        use = self._last.get(digest)
        return None if use is None else use.at

    def mark(self) -> int:
        """This moment, for :meth:`used_since`: no clock, for clocks stand still and jump."""
        return self._count

    def used_since(self, digest: Digest, mark: int) -> bool:
        """Whether it was used after ``mark`` was taken."""
        use = self._last.get(digest)
        return use is not None and use.number > mark

    def hold(self, digest: Digest) -> None:
        """One more user."""
        self._held[digest] = self._held.get(digest, 0) + 1

    def release(self, digest: Digest) -> None:
        """One user less."""
        count = self._held.pop(digest, 0) - 1
        if count > 0:
            self._held[digest] = count

    def is_held(self, digest: Digest) -> bool:
        """Whether anyone uses it now."""
        return digest in self._held

    def forget(self, digest: Digest) -> None:
        """The blob is gone."""
        self._last.pop(digest, None)
