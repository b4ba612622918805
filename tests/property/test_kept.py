"""Whatever is in the file of what is remembered of hosts: the start succeeds, nothing lasts for ever."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sampan.errors import Attempt, Denied, RateLimited, TimedOut, WrongContent
from sampan.mirror.keeping import DIRECTORY, NAME, Keeping
from sampan.testing import ManualClock
from sampan.upstream.health import Health, Standing
from sampan.upstream.host import Host
from sampan.upstream.kept import written

HOST = Host.from_url("https://mirror.test")
REPOSITORY = "library/alpine"
LONGEST_SECONDS = 3600.0 + 600.0


def honest() -> dict[str, Any]:
    """A document as we write it, with something of each kind in it."""
    health, clock = Health(ManualClock()), ManualClock()
    for error in (
        Denied("403", outcome="denied", status=403),
        RateLimited("429", outcome="rate-limited", status=429, retry_after_seconds=100.0),
        TimedOut("silence", outcome="first-byte-timeout"),
        TimedOut("silence", outcome="first-byte-timeout", behind="cdn.test"),
        WrongContent("lie", outcome="wrong-content"),
    ):
        attempt = Attempt(HOST.name, error.outcome, 0.1, error.status)
        health.fail(HOST, REPOSITORY, "blob", "x", error, attempt)
    health.tempo.answered(HOST, "GET blob", 1.0)
    document: dict[str, Any] = json.loads(written(health, clock))
    return document


def places(value: Any, way: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The way to each value in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way, *(place for key, each in inner for place in places(each, (*way, key)))]


PLACES = [place for place in places(honest()) if place]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=300)
    | st.sampled_from([0, 1, -1, 2**53, 3600, 1e18, "https://mirror.test", "manifest", "blob"])
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner))


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """One of ours in which some values are others, as bytes of which some may be."""
    document = honest()
    for place in draw(st.lists(st.sampled_from(PLACES), max_size=4)):
        parent: Any = document
        for key in place[:-1]:
            parent = parent[key] if _has(parent, key) else None
        if _has(parent, place[-1]):
            parent[place[-1]] = draw(VALUES)
    data = bytearray(json.dumps(document).encode())
    for at in draw(st.lists(st.integers(0, len(data) - 1), max_size=3)):
        data[at] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.sampled_from([len(data), len(data) // 2, len(data) - 1]))])


def _has(parent: Any, key: Any) -> bool:
    """Whether it is still there: another value may have taken its parent's place."""
    if isinstance(parent, dict):
        return key in parent
    return isinstance(parent, list) and isinstance(key, int) and key < len(parent)


@given(st.binary(max_size=200) | documents(), st.floats(-1e12, 1e12))
def test_whatever_the_file_holds_the_start_succeeds_and_nothing_lasts_for_ever(
    data: bytes, wall: float
) -> None:
    clock = ManualClock()
    clock.wall_offset_seconds = wall
    health = Health(clock)
    with tempfile.TemporaryDirectory(prefix="sampan-kept-") as made:
        file = Path(made) / DIRECTORY / NAME
        file.parent.mkdir()
        file.write_bytes(data)
        Keeping(Path(made), health, [HOST], clock).recall()
    for kind in ("manifest", "blob"):
        health.judge(HOST, REPOSITORY, kind, "x")
        health.tempo.late_seconds(HOST, f"GET {kind}")
    assert written(health, clock)
    clock.advance(LONGEST_SECONDS)
    for kind in ("manifest", "blob"):
        standing = health.judge(HOST, REPOSITORY, kind, "x").standing
        assert standing < Standing.OPEN, "at the worst it is asked after the others"
