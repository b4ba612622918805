"""What Prometheus is told; every name is explained in docs/metrics.md.

Guarantees that the number of series is bounded: hosts and registries come from the configuration, and
whatever a wildcard lets in beyond that shares one label. It has a registry of its own, so that two servers
in one process do not meet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily

from sampan.clock import Clock
from sampan.errors import Attempt, StoreError
from sampan.server.contract import HostStatus, MirrorApi

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
HOSTS_MAX = 200  # labels; more than any configuration names, less than a wildcard can bring
STORE_USAGE_SECONDS = 15.0  # how long the store's size is believed: to count it may mean to walk it
DURATION_BUCKETS = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
    60,
    300,
    1800,
)
FIRST_BYTE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 40)
STATES = ("ready", "demoted", "open")
OTHER = "other"


class Metrics:
    """Hears of requests from the server and, as its ``Observer``, of everything else from the mirror."""

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
        for collector in (self._state, ProcessCollector(registry=None)):
            self.registry.register(collector)
        self._ended: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._first: dict[tuple[str, str], Histogram] = {}

    def _define_requests(self) -> None:
        r = self.registry
        self._requests = Counter(
            "sampan_requests", "Requests by kind and status.", ("kind", "status"), registry=r
        )
        self._duration = Histogram(
            "sampan_request_duration_seconds",
            "From a request's head to the last byte of its answer.",
            ("kind",),
            buckets=DURATION_BUCKETS,
            registry=r,
        )
        self._first_byte = Histogram(
            "sampan_first_byte_seconds",
            "From a request's head to the first byte of its answer.",
            ("kind", "origin"),
            buckets=FIRST_BYTE_BUCKETS,
            registry=r,
        )
        self._sent = Counter(
            "sampan_sent_bytes", "Bytes of content sent to clients.", ("origin",), registry=r
        )
        self._left = Counter("sampan_clients_left", "Clients that left before the end.", registry=r)
        self._cut = Counter("sampan_answers_cut", "Answers cut short: no host had the rest.", registry=r)
        self._stalled = Counter("sampan_clients_stalled", "Clients dropped: they took no bytes.", registry=r)
        self._refused = Counter("sampan_connections_refused", "Connections beyond the limit.", registry=r)
        self._logins = Counter("sampan_logins_refused", "Requests without a valid login.", registry=r)
        self._reloads = Counter("sampan_reloads", "Configurations loaded.", ("outcome",), registry=r)

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
        self._received = Counter(
            "sampan_received_bytes", "Bytes of content from hosts.", ("host",), registry=r
        )
        self._downloads = Counter("sampan_downloads", "Downloads that ended.", ("outcome",), registry=r)

    # What the server tells.

    def serving(self, mirror: MirrorApi) -> None:
        """``mirror`` answers from now on: its state is shown, its registries are labels."""
        self._state.mirror = mirror
        self._named = mirror.registries.named | {mirror.registries.default}

    def request_ended(
        self,
        kind: str,
        status: int,
        *,
        seconds: float,
        first_byte_seconds: float | None,
        source: str,
        sent_bytes: int,
    ) -> None:
        """A request was answered; ``first_byte_seconds`` is None when nothing was."""
        children = self._ended.get((kind, status))
        if children is None:
            children = self._requests.labels(kind, str(status)), self._duration.labels(kind)
            self._ended[kind, status] = children
        children[0].inc()
        children[1].observe(seconds)
        if source:
            origin = "store" if source == "store" else "host"
            if first_byte_seconds is not None:
                self._first_byte_of(kind, origin).observe(first_byte_seconds)
            self._sent.labels(origin).inc(sent_bytes)

    def _first_byte_of(self, kind: str, origin: str) -> Histogram:
        child = self._first.get((kind, origin))
        if child is None:
            child = self._first[kind, origin] = self._first_byte.labels(kind, origin)
        return child

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

    def reloaded(self, *, well: bool) -> None:
        self._reloads.labels("ok" if well else "failed").inc()

    # What the mirror tells: sampan.mirror.events.Observer.

    def attempted(self, registry: str, kind: str, attempt: Attempt) -> None:  # noqa: ARG002  (the protocol's)
        self._attempts.labels(self._host(attempt.host), kind, attempt.outcome).inc()

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
        return generate_latest(self.registry)

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
        yield from _host_gauges([] if self.mirror is None else self.mirror.health.states()[:HOSTS_MAX])


def _host_gauges(states: Iterable[HostStatus]) -> Iterator[Metric]:
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
