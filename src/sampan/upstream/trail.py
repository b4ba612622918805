"""What requests met on their way, noted for whoever looks at a host: sockets, certificates, answers, times.

It decides nothing, but that no more requests are made than whoever looks wants to make. Requests are made far
below the question, by logins and redirects, so the notes go where a variable of the task says; without one
nothing is noted.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sampan.errors import HostError, NotARegistry, RateLimited
from sampan.oci.distribution import RATE_LIMIT, RATE_REMAINING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sampan.upstream.certificate import Certificate
    from sampan.upstream.url import Url

REDIRECTS = frozenset({301, 302, 303, 307, 308})
CIRCLE = 3  # redirects in a row: whoever leads further leads in circles
NOTED_HEADERS = ("Date", "Age", RATE_LIMIT, RATE_REMAINING)


@dataclass(slots=True)
class Hop:
    """One request to one machine. ``login``: it was for a token. ``phases``: when ``connect``, ``tls`` and
    ``answer`` were entered, on the loop's clock, as ``began`` and ``ended`` are. ``dialled``: the
    addresses that were tried, in order. ``reused``: the connection was there already.
    """

    url: Url
    login: bool
    began: float
    phases: dict[str, float] = field(default_factory=dict)
    dialled: list[str] = field(default_factory=list)
    certificate: Certificate | None = None
    reused: bool = False
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    ended: float | None = None
    error: HostError | None = None

    def enter(self, phase: str) -> None:
        """``phase`` begins now; what is entered twice began the first time."""
        self.phases.setdefault(phase, _now())

    def see(self, certificate: Certificate | None) -> None:
        """The peer showed ``certificate``."""
        self.certificate = certificate

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """The head of the answer is there."""
        self.status, self.headers, self.ended = status, headers, _now()

    def failed(self, error: HostError) -> None:
        self.error, self.ended = error, _now()

    def seconds(self, phase: str) -> float | None:
        """How long ``phase`` took; None: it was not come to."""
        began = self.phases.get(phase)
        if began is None:
            return None
        later = [at for at in (*self.phases.values(), self.ended) if at is not None and at > began]
        return min(later, default=began) - began


class Trail:
    """The hops of all requests that a task and its children make, in order: at most ``hops_max`` to the
    machine of ``url`` and for its logins. What redirects lead to elsewhere is not counted."""

    def __init__(self, url: Url, hops_max: int) -> None:
        self._netloc = url.netloc
        self._hops_max = hops_max
        self.hops: list[Hop] = []

    @property
    def count(self) -> int:
        """How many requests the host has had, those for its tokens among them."""
        return sum(hop.login or hop.url.netloc == self._netloc for hop in self.hops)

    def since(self, position: int) -> Iterator[Hop]:
        """The hops from the ``position``-th on, those for tokens left out."""
        return (hop for hop in self.hops[position:] if not hop.login)

    def begin(self, url: Url, *, login: bool) -> Hop:
        """A request is about to be made. Raises RateLimited, without a status, or NotARegistry for
        redirects in circles, when it is one too many."""
        if (login or url.netloc == self._netloc) and self.count >= self._hops_max:
            raise self._too_many()
        hop = Hop(url, login, _now())
        self.hops.append(hop)
        return hop

    def _too_many(self) -> HostError:
        if all(hop.status in REDIRECTS for hop in self.hops[-CIRCLE:]):
            return NotARegistry(f"{self._netloc}: redirects without end", outcome="redirect")
        words = f"{self._netloc}: left alone after {self._hops_max} requests"
        return RateLimited(words, outcome="rate-limited")


TRAIL: ContextVar[Trail | None] = ContextVar("TRAIL", default=None)


def begin_hop(url: Url, *, login: bool) -> Hop | None:
    """The note of a request to ``url``; None when nobody wants to know."""
    trail = TRAIL.get()
    return None if trail is None else trail.begin(url, login=login)


def _now() -> float:
    return asyncio.get_running_loop().time()
