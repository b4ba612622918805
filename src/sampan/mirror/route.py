"""Which host next? Pure: hosts and what is remembered of them in, an order out.

The one guarantee: a host is asked only for what it may be asked for (its ``allow``, its renamed
repositories, its capabilities). It makes no request and forgets nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

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
        """Content by digest can be checked and needs ``pull``; what a tag means, which there are, and
        what refers to an image cannot: ``resolve``."""
        return "pull" if isinstance(self.object, Digest) and self.kind in ("manifest", "blob") else "resolve"

    def __str__(self) -> str:
        name = f"{self.registry}/{self.repository}"
        if self.kind in ("tags", "referrers"):
            return f"{self.kind} of {name}"
        return f"{name}{'@' if isinstance(self.object, Digest) else ':'}{self.object}"


@dataclass(frozen=True, slots=True)
class Route:
    """``hosts``: whom to ask, in this order; ``last_resort``: whom when none of those could serve it.
    ``resting``: what is remembered of the hosts that are not in ``hosts``, an attempt each; ``undecided``:
    the names of those of them that have denied nothing; ``rest_seconds``: until the first of these is
    asked as usual."""

    hosts: tuple[Host, ...]
    resting: tuple[Attempt, ...]
    undecided: frozenset[str] = frozenset()
    rest_seconds: float | None = None
    last_resort: tuple[Host, ...] = ()

    @property
    def denied(self) -> bool:
        """Whether every resting host, and there are some, has denied it."""
        return bool(self.resting) and not self.undecided

    def with_last(self, hosts: Collection[Host]) -> Route:
        """The same, but for those: they come when all others have been asked."""
        return replace(self, hosts=tuple(sorted(self.hosts, key=hosts.__contains__)))


def eligible(hosts: Iterable[Host], question: Question) -> list[Host]:
    """The hosts that may be asked at all, whatever their health."""
    return [
        host
        for host in hosts
        if question.capability in host.capabilities and host.repository_for(question.repository) is not None
    ]


def plan_route(hosts: Iterable[Host], question: Question, health: Health) -> Route:
    """Order by health; ties keep the configured order. When nobody is well, or those cannot serve it,
    the ones whose last failure is a few seconds old are tried again rather than nobody."""
    ranked: list[tuple[Standing, int, Host]] = []
    resting: list[Attempt] = []
    again: list[Host] = []
    rests: dict[str, float] = {}
    for position, host in enumerate(eligible(hosts, question)):
        verdict = health.judge(host, question.repository, question.kind, str(question.object))
        if verdict.standing < Standing.OPEN:
            ranked.append((verdict.standing, position, host))
            continue
        if verdict.standing is Standing.OPEN:
            rests[host.name] = verdict.rest_seconds
            if health.may_ask_anyway(host, question.repository, question.kind, str(question.object)):
                again.append(host)
        if verdict.last is not None:
            # It may have been another host on the same machine that failed.
            resting.append(replace(verdict.last, host=host.name))
    ranked.sort(key=lambda row: row[:2])
    well = tuple(host for _, _, host in ranked)
    return Route(
        hosts=well or tuple(again),
        resting=tuple(resting),
        undecided=frozenset(rests),
        rest_seconds=min(rests.values(), default=None),
        last_resort=tuple(again) if well else (),
    )
