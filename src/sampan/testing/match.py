"""Which requests are meant: by what they ask for, and by their place in the row of those alike."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.testing.wire import Request


@dataclass(frozen=True, slots=True)
class Match:
    """A request is meant when every field that is not None holds; ``Match()`` means all.

    ``kind``: ``base`` (``/v2/``), ``manifest``, ``blob``, ``tags``, ``referrers``, ``token``,
    ``challenge`` (a request whose credentials do not do: it would get 401), ``cdn`` or ``other``.
    ``tagged``: a manifest asked for by tag (True) or by digest (False). ``ranged``: with a Range header,
    or without. ``every_connection``: requests on each n-th connection. ``nth``: only the n-th (from 1) of
    those that meet all else, counted from when the match was put to use. ``when``: any other test.
    """

    kind: str | None = None
    method: str | None = None
    repository: str | None = None
    tag: str | None = None
    digest: str | None = None
    tagged: bool | None = None
    ranged: bool | None = None
    every_connection: int | None = None
    nth: int | None = None
    when: Callable[[Request], bool] | None = None

    def meets(self, request: Request) -> bool:
        """Whether ``request`` is meant, ``nth`` left aside."""
        named = ("kind", "method", "repository", "tag", "digest")
        return (
            all(getattr(self, name) in (None, getattr(request, name)) for name in named)
            and self.tagged in (None, request.tag is not None)
            and self.ranged in (None, "range" in request.headers)
            and (self.every_connection is None or request.connection % self.every_connection == 0)
            and (self.when is None or self.when(request))
        )

    def or_else(self, other: Match) -> Match:
        """This match, with the fields that it leaves open taken from ``other``."""
        mine = {each.name: getattr(self, each.name) for each in fields(self)}
        theirs = {name: getattr(other, name) for name, value in mine.items() if value is None}
        return Match(**(mine | theirs))


class Counter:
    """A match in use: counts what it has seen, and lets at most ``times`` requests through."""

    def __init__(self, on: Match, times: int | None = None) -> None:
        self.on = on
        self.seen = 0
        self.taken = 0
        self._times = times

    def takes(self, request: Request) -> bool:
        """Whether this request is one of those meant; it counts as taken then."""
        if not self.on.meets(request):
            return False
        self.seen += 1
        if self.on.nth not in (None, self.seen) or (self._times is not None and self.taken >= self._times):
            return False
        self.taken += 1
        return True
