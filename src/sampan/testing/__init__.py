"""The test kit that sampan ships: a registry that misbehaves on request and a clock that stands still.

Beside what is named here: :mod:`sampan.testing.faults` (what can be wrong with an answer),
:mod:`sampan.testing.catalogue` (every fault that sampan is tested against, by its number) and
:mod:`sampan.testing.dns` (a nameserver that says what it is told to).
"""

from sampan.testing import faults
from sampan.testing.body import Body
from sampan.testing.cdn import FakeCdn
from sampan.testing.clock import ManualClock
from sampan.testing.counting import Bans, PullCount
from sampan.testing.dead_ends import BlackHole, ClosedPort, HelloReset, Silence
from sampan.testing.fault import Fault
from sampan.testing.images import (
    Content,
    Image,
    Layer,
    artifact,
    file_layer,
    image,
    index,
    older,
    random_bytes,
    random_layer,
    random_layer_file,
)
from sampan.testing.match import Match
from sampan.testing.proxy import FakeProxy
from sampan.testing.registry import FakeRegistry
from sampan.testing.table import FAULT_TABLE
from sampan.testing.tap import Tap
from sampan.testing.thread import ServerThread
from sampan.testing.tokens import BasicAuth, TokenServer
from sampan.testing.wire import Delivery, Ending, Reply, Request

__all__ = [
    "FAULT_TABLE",
    "Bans",
    "BasicAuth",
    "BlackHole",
    "Body",
    "ClosedPort",
    "Content",
    "Delivery",
    "Ending",
    "FakeCdn",
    "FakeProxy",
    "FakeRegistry",
    "Fault",
    "HelloReset",
    "Image",
    "Layer",
    "ManualClock",
    "Match",
    "PullCount",
    "Reply",
    "Request",
    "ServerThread",
    "Silence",
    "Tap",
    "TokenServer",
    "artifact",
    "faults",
    "file_layer",
    "image",
    "index",
    "older",
    "random_bytes",
    "random_layer",
    "random_layer_file",
]
