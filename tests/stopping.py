"""A host that stops each layer at a byte that is known beforehand, and says when it is there."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import Literal

from pulling import Event
from sampan.testing import Delivery, Fault, Image, Match, Reply, Request

MIB = 1024 * 1024
KILLS = 10
# How much of each layer the host has given at the n-th kill, in eleventh parts: they end one by one.
LAYERS_BYTES = (22 * MIB, 11 * MIB, 7 * MIB + 512)
PACES = (1.0, 1.6, 3.1)


class Stop(asyncio.Event):
    """Where answers wait; ``reached`` counts those that do, for another thread."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Semaphore(0)

    async def wait(self) -> Literal[True]:
        self.reached.release()
        return await super().wait()


def stops_at(places: dict[str, int], gate: Stop) -> Fault:
    """Each layer goes as far as its place, counted from the beginning of the blob, and waits there."""

    def change(request: Request, right: Reply) -> Reply:
        place = places[request.digest or ""] - offset_of(request)
        # A connection that waits behind a whole body must not look free to whoever has read that body.
        return right.with_header("Connection", "close").delivered(Delivery(hold_at=max(place, 0), gate=gate))

    return Fault("stops", change, Match(kind="blob", when=lambda request: request.digest in places))


def offset_of(request: Request) -> int:
    """The first byte that is asked for."""
    return asked_for(request, size=0)[0]


def asked_for(request: Request, size: int) -> tuple[int, int]:
    """The bytes that are asked for, of a blob of ``size``: the first, and the one behind the last."""
    unit, _, places = request.headers.get("range", "bytes=0-").partition("=")
    assert unit == "bytes"
    first, _, last = places.partition("-")
    return int(first), int(last) + 1 if last else size


def places_at(image: Image, number: int) -> dict[str, int]:
    """Layer -> where it stops at the ``number``-th kill, from 1; at its end the latest."""
    return {
        layer.digest: min(int(layer.size * pace * number / (KILLS + 1)), layer.size)
        for layer, pace in zip(image.layers, PACES, strict=True)
    }


@dataclass
class Written:
    """Whether all ``left`` has been told to be on disk."""

    left: dict[str, int]

    def __call__(self, event: Event) -> bool:
        digest = event.get("digest")
        if event["event"] == "blob-done" or event.get("arrived_bytes") == self.left.get(str(digest)):
            self.left.pop(str(digest), None)
        return not self.left
