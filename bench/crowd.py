"""Sixteen clients at once on one absent blob: how often the origin sends it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

from bench.client import fetch
from bench.stage import Party, Stage
from bench.table import Bound, Row

CLIENTS = 16


def measure(stage: Stage) -> list[Row]:
    """As counted at the origin; once for each party, as it is no matter of luck."""
    ours = _times_fetched(stage, stage.sampan)
    registry = _times_fetched(stage, stage.registry_proxy)
    nginx = _times_fetched(stage, stage.nginx_cache)
    measure = f"{CLIENTS} clients on an absent blob, fetched"
    return [
        Row(measure, "the blob's size", "times", [ours], [1.0], Bound("at most", 1.001)),
        Row(measure, "docker-registry proxy", "times", [ours], [registry]),
        Row(measure, "nginx proxy_cache_lock", "times", [ours], [nginx]),
    ]


def _times_fetched(stage: Stage, start: Callable[[], AbstractContextManager[Party]]) -> float:
    layer = stage.stock.layer
    stage.origin.forget()
    with start() as party, ThreadPoolExecutor(CLIENTS) as pool:
        asked = [
            pool.submit(fetch, party.netloc, layer.path, size_bytes=layer.size_bytes) for _ in range(CLIENTS)
        ]
        for each in asked:
            each.result()
        return stage.origin.sent_bytes(layer.path) / layer.size_bytes
