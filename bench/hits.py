"""A large blob that is there: what it costs the server's processor to send it."""

from __future__ import annotations

from bench.client import Client
from bench.processor import cpu_seconds
from bench.stage import Party, Stage
from bench.table import Bound, Row

GETS = 8  # a sample: 2 GiB, some 0.3 s of processor time where a tick is 0.01 s
GIGABYTE = 10**9
MEASURE = "processor time for a stored blob"


def measure(stage: Stage) -> list[Row]:
    """Against nginx, whose worker does nothing but sendfile, and docker-registry as the blob's host."""
    ours: list[float] = []
    files: list[float] = []
    hosting: list[float] = []
    with stage.sampan() as sampan, stage.nginx_files() as nginx, stage.registry_host() as registry:
        for party in (sampan, nginx, registry):
            _cost(stage, party, gets=2)
        for _ in range(stage.rounds):
            for party, samples in ((sampan, ours), (nginx, files), (registry, hosting)):
                samples.append(_cost(stage, party, gets=GETS))
    return [
        Row(MEASURE, "nginx, sendfile", "CPU-s/GB", ours, files, Bound("at most", 1.2)),
        Row(MEASURE, "docker-registry hosting", "CPU-s/GB", ours, hosting, Bound("less than", 1)),
    ]


def _cost(stage: Stage, party: Party, *, gets: int) -> float:
    """CPU-seconds a gigabyte."""
    layer = stage.stock.layer
    began = cpu_seconds(party.process.popen.pid)
    with Client(party.netloc) as client:
        for _ in range(gets):
            client.fetch(layer.path, size_bytes=layer.size_bytes)
    return (cpu_seconds(party.process.popen.pid) - began) / (gets * layer.size_bytes / GIGABYTE)
