"""What Prometheus is told; every name is explained in docs/metrics.md.

Guarantees that the number of series is bounded: hosts and registries come from the configuration, and
whatever a wildcard lets in beyond that shares one label. It has a registry of its own, so that two servers
in one process do not meet.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily

from sampan.clock import Clock
from sampan.errors import Attempt, StoreError
from sampan.server.contract import MirrorApi
from sampan.server.host_gauges import host_gauges
from sampan.server.tally import Tally

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
HOSTS_MAX = 200  # labels; more than any configuration names, less than a wildcard can bring
STORE_USAGE_SECONDS = 15.0  # how long the store's size is believed: to count it may mean to walk it
DELAY_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
OTHER = "other"
_CREATED = re.compile(rb"(?m)^(?:# (?:HELP|TYPE) )?sampan_\w+_created[ {].*\n")  # when each began: noise


class Metrics:
    """Of requests the server tells (``requests``); of all else the mirror, whose ``Observer`` this is."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.registry = CollectorRegistry(auto_describe=True)
        self._named: frozenset[str] = frozenset()
        self._hosts: set[str] = set()
        self._store_bytes = 0
        self._store_asked_at: float | None = None
        self._define_requests()
        self._define_upstream()
        self._state = _MirrorState()
        self.requests = Tally()
        for collector in (self.requests, self._state, ProcessCollector(registry=None)):
            self.registry.register(collector)

    def _define_requests(self) -> None:
        r = self.registry
        self._left = Counter("sampan_clients_left", "Clients that left before the end.", registry=r)
        self._cut = Counter("sampan_answers_cut", "Answers cut short: no host had the rest.", registry=r)
        self._stalled = Counter("sampan_clients_stalled", "Clients dropped: they took no bytes.", registry=r)
        self._refused = Counter("sampan_connections_refused", "Connections beyond the limit.", registry=r)
        self._logins = Counter("sampan_logins_refused", "Requests without a valid login.", registry=r)
        self._reloads = Counter("sampan_reloads", "Configurations loaded.", ("outcome",), registry=r)

        self._late = Histogram(
            "sampan_event_loop_delay_seconds",
            "By how much the event loop is late.",
            registry=r,
            buckets=DELAY_SECONDS,
        )

    def _define_upstream(self) -> None:
        r = self.registry
        self._answers = Counter(
            "sampan_answers",
            "Answers of the mirror; hit: from the store.",
            ("registry", "kind", "result"),
            registry=r,
        )
        self._stale = Counter(
            "sampan_stale_answers", "Tags answered though not confirmed.", ("registry",), registry=r
        )
        self._attempts = Counter(
            "sampan_attempts", "Requests to hosts by outcome.", ("host", "kind", "outcome"), registry=r
        )
        self._hedges = Counter(
            "sampan_hedges",
            "Hosts asked beside a late one; won: they answered first.",
            ("kind", "outcome"),
            registry=r,
        )
        self._received = Counter(
            "sampan_received_bytes", "Bytes of content from hosts.", ("host",), registry=r
        )
        self._downloads = Counter("sampan_downloads", "Downloads that ended.", ("outcome",), registry=r)

    # What the server tells.

    def serving(self, mirror: MirrorApi) -> None:
        """``mirror`` answers from now on: its state is shown, its registries are labels."""
        self._state.mirror = mirror
        self._named = mirror.registries.named | {mirror.registries.default}

    def client_left(self) -> None:
        self._left.inc()

    def answer_cut(self) -> None:
        self._cut.inc()

    def clients_stalled(self, count: int) -> None:
        self._stalled.inc(count)

    def connection_refused(self) -> None:
        self._refused.inc()

    def login_refused(self) -> None:
        self._logins.inc()

    def loop_was_late(self, seconds: float) -> None:
        self._late.observe(seconds)

    def reloaded(self, *, well: bool) -> None:
        self._reloads.labels("ok" if well else "failed").inc()

    # What the mirror tells: sampan.mirror.events.Observer.

    def attempted(self, registry: str, kind: str, attempt: Attempt) -> None:  # noqa: ARG002  (the protocol's)
        self._attempts.labels(self._host(attempt.host), kind, attempt.outcome).inc()

    def hedged(self, registry: str, kind: str, *, won: bool) -> None:  # noqa: ARG002  (the protocol's)
        self._hedges.labels(kind, "won" if won else "lost").inc()

    def received(self, host: str, count_bytes: int) -> None:
        self._received.labels(self._host(host)).inc(count_bytes)

    def answered(self, registry: str, kind: str, source: str, *, stale: bool) -> None:
        label = self._registry(registry)
        self._answers.labels(label, kind, "hit" if source == "store" else "miss").inc()
        if stale:
            self._stale.labels(label).inc()

    def download_started(self, registry: str) -> None:
        """Shown by the mirror's own count."""

    def download_ended(self, registry: str, outcome: str) -> None:  # noqa: ARG002  (the protocol's)
        self._downloads.labels(outcome).inc()

    async def render(self, connections: int) -> bytes:
        """The text that Prometheus reads. ``connections``: of clients, now."""
        self._state.connections = connections
        self._state.store_bytes = await self._usage()
        return without_creation_times(generate_latest(self.registry))

    async def _usage(self) -> int:
        now = self._clock.monotonic()
        mirror = self._state.mirror
        if mirror is not None and (
            self._store_asked_at is None or now - self._store_asked_at >= STORE_USAGE_SECONDS
        ):
            self._store_asked_at = now
            try:
                self._store_bytes = await asyncio.to_thread(mirror.store.usage)
            except StoreError:  # a sick disk must not hide the rest; /readyz says so
                pass
        return self._store_bytes

    def _registry(self, name: str) -> str:
        return name if name in self._named else OTHER

    def _host(self, name: str) -> str:
        if name in self._hosts:
            return name
        if len(self._hosts) >= HOSTS_MAX:
            return OTHER
        self._hosts.add(name)
        return name


def without_creation_times(text: bytes) -> bytes:
    """``text`` for Prometheus without the series that say when each counter began."""
    return _CREATED.sub(b"", text)


class _MirrorState:
    """What is true at the moment of asking, read when Prometheus asks."""

    def __init__(self) -> None:
        self.mirror: MirrorApi | None = None
        self.connections = 0
        self.store_bytes = 0

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("sampan_connections", "Connections of clients.", value=self.connections)
        yield GaugeMetricFamily("sampan_store_bytes", "Size of the store.", value=self.store_bytes)
        in_flight = 0 if self.mirror is None else self.mirror.downloads_in_flight
        yield GaugeMetricFamily("sampan_downloads_in_flight", "Downloads under way.", value=in_flight)
        yield from host_gauges(None if self.mirror is None else self.mirror.health, HOSTS_MAX)
