"""What is counted for every single request, in plain numbers that Prometheus reads when it asks.

The client library's own counters take a lock for each step, which for a manifest from the store cost more
than finding the manifest. Guarantees the same text; used from the event loop alone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

# From a hit in the kernel's cache to a large layer for a slow client.
DURATION_SECONDS = (
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
# To 40 s: what a request that no host can serve may take.
FIRST_BYTE_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 40)


class Distribution:
    """How often values fell below each of ``bounds``, and their sum."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative, by upper bound, as Prometheus has them."""
        rows, below = [], 0
        for bound, count in zip((*self._bounds, None), self.counts, strict=True):
            below += count
            rows.append(("+Inf" if bound is None else str(float(bound)), float(below)))
        return rows


class Tally:
    """Requests by kind and status; their first bytes and their bytes by kind and origin."""

    def __init__(self) -> None:
        self._ended: dict[tuple[str, int], Distribution] = {}
        self._first: dict[tuple[str, str], Distribution] = {}
        self._sent_bytes = {"store": 0, "host": 0}

    def add(
        self,
        kind: str,
        status: int,
        *,
        seconds: float,
        first_byte_seconds: float | None,
        source: str,
        sent_bytes: int,
    ) -> None:
        """One request. ``source``: ``store``, a host's name, or empty where no content was given."""
        ended = self._ended.get((kind, status))
        if ended is None:
            ended = self._ended[kind, status] = Distribution(DURATION_SECONDS)
        ended.add(seconds)
        if not source:
            return
        origin = "store" if source == "store" else "host"
        self._sent_bytes[origin] += sent_bytes
        if first_byte_seconds is not None:
            first = self._first.get((kind, origin))
            if first is None:
                first = self._first[kind, origin] = Distribution(FIRST_BYTE_SECONDS)
            first.add(first_byte_seconds)

    def collect(self) -> Iterator[Metric]:
        """For Prometheus' registry."""
        requests = CounterMetricFamily("sampan_requests", "Requests of clients.", labels=("kind", "status"))
        duration = HistogramMetricFamily(
            "sampan_request_duration_seconds",
            "From a request's head to the last byte of its answer.",
            labels=("kind", "status"),
        )
        for (kind, status), ended in self._ended.items():
            requests.add_metric((kind, str(status)), sum(ended.counts))
            duration.add_metric((kind, str(status)), ended.buckets(), ended.total)
        first_byte = HistogramMetricFamily(
            "sampan_first_byte_seconds",
            "From a request's head to the first byte of the content.",
            labels=("kind", "origin"),
        )
        for (kind, origin), first in self._first.items():
            first_byte.add_metric((kind, origin), first.buckets(), first.total)
        sent = CounterMetricFamily(
            "sampan_sent_bytes", "Bytes of content sent to clients.", labels=("origin",)
        )
        for origin, count in self._sent_bytes.items():
            sent.add_metric((origin,), count)
        yield from (requests, duration, first_byte, sent)
