"""A manifest by tag, asked for again and again: requests a second."""

from __future__ import annotations

from bench.client import fetch
from bench.rate import requests_per_second
from bench.stage import Party, Stage
from bench.table import Bound, Row

SECONDS = 2
WARM_UP_SECONDS = 1
MEASURE = "manifest by tag from the store"


def measure(stage: Stage) -> list[Row]:
    """Against docker-registry as a proxy, which has the manifest but asks its remote what the tag
    means each time, and as the image's own host."""
    ours: list[float] = []
    proxy: list[float] = []
    hosting: list[float] = []
    with stage.sampan() as sampan, stage.registry_proxy() as a_proxy, stage.registry_host() as a_host:
        for party in (sampan, a_proxy, a_host):
            _warm_up(stage, party)
        for _ in range(stage.rounds):
            for party, samples in ((sampan, ours), (a_proxy, proxy), (a_host, hosting)):
                samples.append(requests_per_second(_url(stage, party), seconds=SECONDS))
    return [
        Row(MEASURE, "docker-registry proxy", "req/s", ours, proxy, Bound("at least", 20)),
        Row(MEASURE, "docker-registry hosting", "req/s", ours, hosting, Bound("at least", 5)),
    ]


def _url(stage: Stage, party: Party) -> str:
    return f"http://{party.netloc}{stage.stock.manifest_path}"


def _warm_up(stage: Stage, party: Party) -> None:
    fetch(party.netloc, stage.stock.manifest_path, size_bytes=stage.stock.manifest.size_bytes)
    requests_per_second(_url(stage, party), seconds=WARM_UP_SECONDS)
