"""Which host next? Pure: hosts and what is remembered of them in, an order out.

The one guarantee: a host is asked only for what it may be asked for (its ``allow``, its renamed
repositories, its capabilities). It makes no request and forgets nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sampan.errors import Attempt
from sampan.oci import Digest
from sampan.upstream.health import Health, Standing
from sampan.upstream.host import Host


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the hosts. ``kind``: ``manifest``, ``blob``, ``tags`` or ``referrers``."""

    registry: str
    repository: str
    kind: str
    object: str | Digest

    @property
    def capability(self) -> str:
        """Content by digest needs ``pull``; what a tag means, and which there are, is ``resolve``."""
        return "pull" if isinstance(self.object, Digest) else "resolve"

    def __str__(self) -> str:
        name = f"{self.registry}/{self.repository}"
        if self.kind in ("tags", "referrers"):
            return f"{self.kind} of {name}"
        return f"{name}{'@' if isinstance(self.object, Digest) else ':'}{self.object}"


@dataclass(frozen=True, slots=True)
class Route:
    """``hosts``: whom to ask, in this order. ``resting``: those not asked, as remembered; ``denied``:
    whether every one of those has denied it; ``rest_seconds``: until the first of the others is asked."""

    hosts: tuple[Host, ...]
    resting: tuple[Attempt, ...]
    denied: bool
    rest_seconds: float | None = None


def eligible(hosts: Iterable[Host], question: Question) -> list[Host]:
    """The hosts that may be asked at all, whatever their health."""
    return [
        host
        for host in hosts
        if question.capability in host.capabilities and host.repository_for(question.repository) is not None
    ]


def plan_route(hosts: Iterable[Host], question: Question, health: Health) -> Route:
    """Order by health; ties keep the configured order. When nobody is well, those whose last
    failure is a few seconds old are tried again rather than nobody."""
    ranked: list[tuple[Standing, int, Host]] = []
    resting: list[Attempt] = []
    again: list[Host] = []
    rests: list[float] = []
    for position, host in enumerate(eligible(hosts, question)):
        verdict = health.judge(host, question.repository, question.kind, str(question.object))
        if verdict.standing < Standing.OPEN:
            ranked.append((verdict.standing, position, host))
            continue
        if verdict.standing is Standing.OPEN:
            rests.append(verdict.rest_seconds)
            if health.may_ask_anyway(host, question.repository, question.kind):
                again.append(host)
        if verdict.last is not None:
            resting.append(verdict.last)
    ranked.sort(key=lambda row: row[:2])
    hosts = tuple(host for _, _, host in ranked) or tuple(again)
    return Route(hosts, tuple(resting), bool(resting) and not rests, min(rests, default=None))
