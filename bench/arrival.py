"""A large blob that is absent: how long until a client has all of it, through a party that keeps it.

Every sample is a new process with an empty store. Sampan and docker-registry verify, nginx does not.
The manifest is asked for first, as any runtime does, and is not part of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from bench.client import Client
from bench.stage import Party, Stage
from bench.table import Bound, Row

MEASURE = "an absent 256 MiB blob"
WARM_UP_ROUNDS = 1

Start = Callable[[], AbstractContextManager[Party]]


def measure(stage: Stage) -> list[Row]:
    """Sampan as it is on first meeting a host (all is verified before the first byte leaves), and with
    ``verify = "stream"``, which is also how it treats a host that has earned its trust."""
    parties: dict[str, Start] = {
        "unearned": stage.sampan,
        "stream": partial(stage.sampan, verify="stream"),
        "registry": stage.registry_proxy,
        "nginx": stage.nginx_cache,
    }
    seconds: dict[str, list[float]] = {name: [] for name in parties}
    for number in range(WARM_UP_ROUNDS + stage.rounds):
        for name, start in parties.items():
            sample = _seconds(stage, start)
            if number >= WARM_UP_ROUNDS:
                seconds[name].append(sample)
    return [
        _row(f"{MEASURE}, {how}", peer, seconds[ours], seconds[theirs], bound)
        for how, ours in (("host may stream", "stream"), ("host unknown", "unearned"))
        for peer, theirs, bound in (
            ("docker-registry proxy", "registry", Bound("less than", 1)),
            ("nginx proxy_cache", "nginx", Bound("at most", 1.5)),
        )
    ]


def _row(measure: str, peer: str, ours: list[float], theirs: list[float], bound: Bound) -> Row:
    return Row(measure, peer, "s", ours, theirs, bound)


def _seconds(stage: Stage, start: Start) -> float:
    stock = stage.stock
    with start() as party, Client(party.netloc) as client:
        client.fetch(stock.manifest_path, size_bytes=stock.manifest.size_bytes)
        return client.fetch(stock.layer.path, size_bytes=stock.layer.size_bytes).seconds
