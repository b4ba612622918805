"""What an abuse may cost, and what it may leave behind: measured, whatever the machine is busy with."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import FrameType

from faults.trial import Trial, trial
from sampan.testing import FakeRegistry, image, random_layer
from serving.wire import Response
from standstill import quiet

MIB = 1024 * 1024
ALPINE = image("library/alpine", "3", layers=[random_layer(1, 20_000)])
CALLS_MAX = (
    5_000  # of functions for one request, both ends of its connection together; refused ones take 1,300
)
BYTES_MAX = 8 * MIB  # more than there was before


@contextmanager
def bounded(*, calls_max: int = CALLS_MAX, bytes_max: int = BYTES_MAX) -> Iterator[None]:
    """How many functions this thread may call, and how much more memory Python may take, meanwhile."""
    count = 0

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    tracemalloc.start()
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(before)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert count <= calls_max, count
    assert peak_bytes <= bytes_max, peak_bytes


def files(directory: Path) -> set[str]:
    """All that is there, by name."""
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


@asynccontextmanager
async def unasked(
    path: Path, *, requests: int = 1, calls_max: int = CALLS_MAX, bytes_max: int = BYTES_MAX
) -> AsyncIterator[Trial]:
    """A whole mirror that is asked ``requests`` times for what it must refuse: its host is not even
    connected to, nothing is written, and the log has neither a traceback nor what a terminal would obey."""
    async with FakeRegistry("unasked", strict=True) as host:
        host.add(ALPINE)
        async with trial(path, [host]) as endured:
            before = files(path)
            with bounded(calls_max=requests * calls_max, bytes_max=bytes_max):
                yield endured
                await quiet()
            assert host.connections == 0
            assert files(path) == before
            assert_harmless(endured.written())


def assert_harmless(text: str) -> None:
    """Lines that may be shown on a terminal, none of them of a traceback."""
    assert "Traceback" not in text
    assert text.replace("\n", "").isprintable(), text


def assert_refused(response: Response, *codes: str) -> None:
    """With a status of its own and the spec's JSON, in ASCII, of a few words that may be shown."""
    assert 400 <= response.status < 500, response
    assert response.error["code"] in codes, response
    assert response.body.isascii(), response
    message = response.error["message"]
    assert message.isprintable(), message
    assert 0 < len(message) < 500, message
    assert len(response.body) < 2000
