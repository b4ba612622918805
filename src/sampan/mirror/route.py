"""Which host next? Pure: hosts and what is remembered of them in, an order out.

The one guarantee: a host is asked only for what it may be asked for (its ``allow``, its renamed
repositories, its capabilities). It makes no request and forgets nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from sampan.errors import Attempt
from sampan.oci import Digest
from sampan.upstream.health import Health, Standing, Verdict
from sampan.upstream.host import Host
from sampan.upstream.quota import Quota, Supply


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the hosts. ``kind``: ``manifest``, ``blob``, ``tags`` or ``referrers``. ``method``: by
    HEAD it is what the content would be, without its bytes, and no pull. ``spares``: there is an answer
    already, and a host with few pulls left is not asked for a newer one."""

    registry: str
    repository: str
    kind: str
    object: str | Digest
    method: str = "GET"
    spares: bool = False

    @property
    def step(self) -> str:
        """As what the time that it takes is measured: a host may have to ask others for what a tag means."""
        is_tag = self.kind == "manifest" and not isinstance(self.object, Digest)
        return f"{self.method} {'tag' if is_tag else self.kind}"

    @property
    def capability(self) -> str:
        """Content by digest can be checked and needs ``pull``; what a tag means, which there are, and
        what refers to an image cannot: ``resolve``."""
        return "pull" if isinstance(self.object, Digest) and self.kind in ("manifest", "blob") else "resolve"

    @property
    def is_pull(self) -> bool:
        """Whether hosts that count pulls count this."""
        return self.kind == "manifest" and self.method == "GET"

    def __str__(self) -> str:
        name = f"{self.registry}/{self.repository}"
        if self.kind in ("tags", "referrers"):
            return f"{self.kind} of {name}"
        return f"{name}{'@' if isinstance(self.object, Digest) else ':'}{self.object}"


@dataclass(frozen=True, slots=True)
class Route:
    """``hosts``: whom to ask, in this order; ``last_resort``: whom when none of those could serve it.
    ``resting``: what is remembered of the hosts that are not in ``hosts``, an attempt each; ``rests``:
    of those of them that have denied nothing, by name, the seconds until they are asked."""

    hosts: tuple[Host, ...]
    resting: tuple[Attempt, ...]
    rests: Mapping[str, float] = field(default_factory=dict)
    last_resort: tuple[Host, ...] = ()

    @property
    def denied(self) -> bool:
        """Whether every resting host, and there are some, has denied it."""
        return bool(self.resting) and not self.rests

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
    """Order by health, then by the pulls that are left; ties keep the configured order. A host with few is
    still better than one that failed a moment ago: what is left is there to be used. When nobody is well, or
    those cannot serve it, the ones whose last failure is a few seconds old are tried again rather than
    nobody, and at last those whose pulls are used up."""
    ranked: list[tuple[Standing, Supply, int, Host]] = []
    resting: list[Attempt] = []
    again: list[Host] = []
    spent: list[Host] = []
    rests: dict[str, float] = {}
    for position, host in enumerate(eligible(hosts, question)):
        verdict = health.judge(host, question.repository, question.kind, str(question.object))
        pulls = _pulls(host, question, health.quota)
        if verdict.standing is Standing.OPEN:
            asked = (question.repository, question.kind, str(question.object))
            if not pulls.are_kept and health.may_ask_anyway(host, *asked):
                (spent if pulls.supply is Supply.NONE else again).append(host)
        elif verdict.standing < Standing.OPEN:
            if not (pulls.are_kept or pulls.supply is Supply.NONE):
                ranked.append((verdict.standing, pulls.supply, position, host))
                continue
            verdict = Verdict(Standing.OPEN, pulls.rest_seconds, health.quota.attempt(host))
            if not pulls.are_kept:
                spent.append(host)
        if verdict.standing is Standing.OPEN:
            kept_seconds = pulls.rest_seconds if pulls.are_kept else 0.0
            rests[host.name] = max(min(verdict.rest_seconds, verdict.anyway_seconds), kept_seconds)
        if verdict.last is not None:
            # It may have been another host on the same machine that failed.
            resting.append(replace(verdict.last, host=host.name))
    ranked.sort(key=lambda row: row[:3])
    well = tuple(host for *_, host in ranked)
    return Route(
        hosts=well or (*again, *spent),
        resting=tuple(resting),
        rests=rests,
        last_resort=(*again, *spent) if well else (),
    )


@dataclass(frozen=True, slots=True)
class _Pulls:
    """What the count of pulls at a host says of a question. ``are_kept``: it is not asked, not even when
    nobody else is left; ``rest_seconds``: until that may be otherwise."""

    supply: Supply
    are_kept: bool = False
    rest_seconds: float = 0.0


def _pulls(host: Host, question: Question, quota: Quota) -> _Pulls:
    rest_seconds = (
        quota.rest_seconds(host, head=question.method == "HEAD") if question.kind == "manifest" else 0.0
    )
    if rest_seconds > 0:
        return _Pulls(Supply.NONE, are_kept=True, rest_seconds=rest_seconds)
    supply = quota.supply(host) if question.is_pull else Supply.ENOUGH
    if supply is Supply.ENOUGH:
        return _Pulls(supply)
    # After a 429 of a host that counts nothing aloud, only a pull can tell whether there are any again.
    window_seconds = quota.window_seconds(host)
    return _Pulls(supply, question.spares and window_seconds > 0, window_seconds)
