"""Who gave which bytes of a blob. Pure.

Guarantees that each byte has one giver at most, the last that was told. What an earlier run left has the
giver None: nobody knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sampan.store.spans import Spans
from sampan.upstream.host import Host


class Ledger:
    """The spans of each giver."""

    def __init__(self) -> None:
        self._given: dict[Host | None, Spans] = {}

    def gave(self, host: Host | None, start: int, stop: int) -> None:
        """These bytes are those of ``host``."""
        for other, spans in self._given.items():
            if other != host:
                spans.cut(start, stop)
        self._given.setdefault(host, Spans()).add(start, stop)

    @property
    def givers(self) -> set[Host | None]:
        """Whose bytes there are."""
        return {host for host, spans in self._given.items() if spans}

    def of(self, host: Host | None) -> Spans:
        """What ``host`` gave."""
        return self._given.get(host, Spans())

    def prefix_of(self, believed: Callable[[Host], bool]) -> int:
        """How many bytes, from the start, are all of hosts that are ``believed``."""
        hosts: Iterable[Host] = (host for host in self._given if host is not None)
        return Spans(span for host in hosts if believed(host) for span in self._given[host]).prefix
