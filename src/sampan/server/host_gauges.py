"""What Prometheus is told of hosts: how each stands, and what is left of its pulls and of its refusals.

It only reads; every name is explained in docs/metrics.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily

from sampan.server.contract import Health, HostStatus, PullsLeft, RefusalsLeft

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

STATES = ("ready", "demoted", "open")


def host_gauges(health: Health | None, hosts_max: int) -> Iterator[Metric]:
    """At most ``hosts_max`` of each kind; None: nobody is asked."""
    yield from _states([] if health is None else health.states()[:hosts_max])
    yield from _pulls([] if health is None else health.quota.known()[:hosts_max])
    yield _usual([] if health is None else islice(health.usual_seconds(), hosts_max))
    yield _refusals([] if health is None else health.budget.left()[:hosts_max])


def _states(states: Sequence[HostStatus]) -> Iterator[Metric]:
    state = GaugeMetricFamily(
        "sampan_host_state", "1 for the state that a host is in.", labels=("host", "kind", "state")
    )
    strikes = GaugeMetricFamily("sampan_host_strikes", "Wrong content from a host.", labels=("host", "kind"))
    for host in states:
        for name in STATES:
            state.add_metric((host.host, host.kind, name), float(host.state == name))
        strikes.add_metric((host.host, host.kind), host.strikes)
    yield state
    yield strikes


def _pulls(known: Sequence[PullsLeft]) -> Iterator[Metric]:
    """Of several logins at one place the one that has the fewest left."""
    limit = GaugeMetricFamily("sampan_host_pull_limit", "Pulls that a host gives.", labels=("host",))
    left = GaugeMetricFamily("sampan_host_pulls_left", "Pulls that are left of it.", labels=("host",))
    least: dict[str, PullsLeft] = {}
    for pulls in sorted(known, key=lambda pulls: pulls.left):
        least.setdefault(pulls.place, pulls)
    for place, pulls in least.items():
        limit.add_metric((place,), pulls.limit)
        left.add_metric((place,), pulls.left)
    yield limit
    yield left


def _usual(usual: Iterable[tuple[str, str, float]]) -> Metric:
    family = GaugeMetricFamily(
        "sampan_host_usual_seconds", "What a host usually takes for a step.", labels=("host", "step")
    )
    for host, step, seconds in usual:
        family.add_metric((host, step), seconds)
    return family


def _refusals(left: Sequence[RefusalsLeft]) -> Metric:
    family = GaugeMetricFamily(
        "sampan_refusals_left", "Refusals until an operator is not asked.", labels=("operator",)
    )
    for one in left:
        family.add_metric((one.operator,), one.refusals)
    return family
