"""What Prometheus is told of the webhook; every name is explained in docs/webhook.md.

Guarantees that the number of series is bounded: labels are words of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from sampan.rewrite.admission import Outcome
from sampan.server.metrics import without_creation_times
from sampan.server.tally import Distribution

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

# From a pod's two images to an object of a thousand.
REVIEW_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)


class WebhookMetrics:
    """Plain numbers for each review, which Prometheus reads when it asks, and counters for what is rare."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._reviews = dict.fromkeys(Outcome, 0)
        self._images = 0
        self._seconds = Distribution(REVIEW_SECONDS)
        self._connections = 0
        self._expires = 0.0
        r = self.registry
        self._refused = Counter(
            "sampan_webhook_refused", "Requests that are no AdmissionReview.", ("status",), registry=r
        )
        self._reloads = Counter(
            "sampan_webhook_reloads", "Certificates and rules taken up.", ("what", "outcome"), registry=r
        )
        self._beyond = Counter("sampan_connections_refused", "Connections beyond the limit.", registry=r)
        self._stalled = Counter("sampan_clients_stalled", "Clients dropped: they took no bytes.", registry=r)
        for collector in (self, ProcessCollector(registry=None)):
            r.register(collector)

    def reviewed(self, outcome: Outcome, images: int, seconds: float) -> None:
        self._reviews[outcome] += 1
        self._images += images
        self._seconds.add(seconds)

    def refused(self, status: int) -> None:
        self._refused.labels(str(status)).inc()

    def reloaded(self, what: str, *, well: bool) -> None:
        self._reloads.labels(what, "ok" if well else "failed").inc()

    def certificate_expires(self, seconds: float) -> None:
        """``seconds`` since the epoch."""
        self._expires = seconds

    def connection_refused(self) -> None:
        self._beyond.inc()

    def clients_stalled(self, count: int) -> None:
        self._stalled.inc(count)

    def render(self, connections: int) -> bytes:
        """The text that Prometheus reads. ``connections``: of clients, now."""
        self._connections = connections
        return without_creation_times(generate_latest(self.registry))

    def collect(self) -> Iterator[Metric]:
        """For Prometheus' registry."""
        reviews = CounterMetricFamily("sampan_webhook_reviews", "AdmissionReviews.", labels=("outcome",))
        for outcome, count in self._reviews.items():
            reviews.add_metric((outcome.value,), count)
        images = CounterMetricFamily("sampan_webhook_images_rewritten", "Images.", value=self._images)
        seconds = HistogramMetricFamily("sampan_webhook_review_seconds", "To answer a review.")
        seconds.add_metric((), self._seconds.buckets(), self._seconds.total)
        expires = GaugeMetricFamily(
            "sampan_webhook_certificate_expires_timestamp_seconds", "When it ends.", value=self._expires
        )
        connections = GaugeMetricFamily(
            "sampan_connections", "Connections of clients.", value=self._connections
        )
        yield from (reviews, images, seconds, expires, connections)
