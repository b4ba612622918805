"""What the mirror tells whoever watches it: metrics, the log, a progress display.

An observer hears of things that happened; it cannot change them and must return at once.
"""

from __future__ import annotations

from typing import Protocol

from sampan.errors import Attempt


class Observer(Protocol):
    """``kind`` is ``manifest``, ``blob``, ``tags`` or ``referrers``."""

    def attempted(self, registry: str, kind: str, attempt: Attempt) -> None:
        """One request to one host ended, well (``attempt.outcome == "ok"``) or not."""

    def hedged(self, registry: str, kind: str, *, won: bool) -> None:
        """A host that was asked because another one was late has ``won``, or it was asked in vain."""

    def received(self, host: str, count_bytes: int) -> None:
        """Bytes of a body arrived from ``host``."""

    def answered(self, registry: str, kind: str, source: str, *, stale: bool) -> None:
        """A client's request was answered from ``store`` or from the named host."""

    def download_started(self, registry: str) -> None: ...

    def download_ended(self, registry: str, outcome: str) -> None:
        """``outcome``: ``committed``, ``failed``, ``abandoned``."""


class Silence:
    """The observer of those who do not watch."""

    def attempted(self, registry: str, kind: str, attempt: Attempt) -> None:
        pass

    def hedged(self, registry: str, kind: str, *, won: bool) -> None:
        pass

    def received(self, host: str, count_bytes: int) -> None:
        pass

    def answered(self, registry: str, kind: str, source: str, *, stale: bool) -> None:
        pass

    def download_started(self, registry: str) -> None:
        pass

    def download_ended(self, registry: str, outcome: str) -> None:
        pass
