"""An absent blob from a host that may stream: how much later its first byte comes than directly."""

from __future__ import annotations

from bench.client import Client
from bench.stage import LOOSE_PER_ROUND, Stage
from bench.stock import Blob
from bench.table import Bound, Row

MILLISECONDS = 1000.0


def measure(stage: Stage) -> list[Row]:
    """Each sample is another blob; both connections are kept, the first blob of all warms up."""
    first, *rest = stage.stock.loose[: stage.rounds * LOOSE_PER_ROUND]
    ours: list[float] = []
    direct: list[float] = []
    with (
        stage.sampan(verify="stream") as sampan,
        Client(sampan.netloc) as through,
        Client(stage.origin.netloc) as straight,
    ):
        _milliseconds(through, first)
        for blob in rest:
            direct.append(_milliseconds(straight, blob))
            ours.append(_milliseconds(through, blob))
    wanted = Bound("at most", 10)
    return [Row("first byte of an absent blob", "directly", "ms", ours, direct, wanted, is_difference=True)]


def _milliseconds(client: Client, blob: Blob) -> float:
    return client.fetch(blob.path, size_bytes=blob.size_bytes).first_byte_seconds * MILLISECONDS
