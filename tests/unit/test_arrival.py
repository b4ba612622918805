"""What readers see of a blob that arrives: how much may leave, and what happens when bytes are replaced."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sampan.errors import ContentMismatch
from sampan.mirror.arrival import HELD_BACK_BYTES, VERIFIED_FIRST_BYTES, Arrival, Window
from sampan.mirror.patience import Patience
from sampan.oci import Digest
from sampan.store import DiskStore
from sampan.store.spans import Spans
from sampan.testing import ManualClock, random_bytes
from sampan.upstream.host import Host

pytestmark = pytest.mark.standstill

MIB = 1024 * 1024
SIZE = 10 * MIB
DATA = random_bytes(1, SIZE)
DIGEST = Digest.of(DATA)
A, B = Host.from_url("https://a.test"), Host.from_url("https://b.test")


class Arriving(Arrival):
    """One whose bytes a test writes; ``A`` is trusted."""

    def __init__(self, path: Path) -> None:
        self.clock = ManualClock()
        super().__init__(DIGEST, SIZE, is_trusted={A}.__contains__, patience=Patience(), clock=self.clock)
        self.store = DiskStore(path)
        self.file = self.store.ingest(DIGEST, SIZE)
        self.begins(self.file, 0)

    def gives(self, host: Host, start: int, stop: int) -> None:
        self.file.place(start, DATA[start:stop])
        self.ledger.gave(host, start, stop)
        self.wrote(self.file.spans.prefix, self.file.spans.total)

    def forgets(self, start: int, stop: int) -> None:
        self.is_disputed(start, stop - start)
        self.file.forget(start, stop)


@pytest.fixture
async def arrival(tmp_path: Path) -> AsyncIterator[Arriving]:
    arrival = Arriving(tmp_path)
    yield arrival
    arrival.file.discard()
    arrival.store.close()


async def now(windows: AsyncIterator[Window]) -> int:
    """Up to where a reader may read without waiting; 0 when there is nothing for it."""
    following = asyncio.ensure_future(anext(windows))
    await asyncio.wait([following], timeout=1)
    if not following.done():
        following.cancel()
        await asyncio.wait([following])
        return 0
    window = following.result()
    return window.offset + window.count


async def up_to(windows: AsyncIterator[Window], stop: int) -> None:
    async for window in windows:
        if window.offset + window.count >= stop:
            return


async def test_what_is_behind_a_hole_does_not_leave(arrival: Arriving) -> None:
    arrival.gives(A, 0, MIB)
    arrival.gives(A, 5 * MIB, 9 * MIB)
    assert await now(arrival.windows(0, SIZE, size=SIZE)) == MIB
    assert arrival.arrived == 5 * MIB


async def test_bytes_of_a_host_that_is_not_trusted_stay_and_with_them_all_behind(arrival: Arriving) -> None:
    arrival.gives(A, 0, MIB)
    arrival.gives(B, MIB, 2 * MIB)
    arrival.gives(A, 2 * MIB, 9 * MIB)
    assert await now(arrival.windows(0, SIZE, size=SIZE)) == MIB


async def test_the_last_piece_leaves_when_all_is_verified(arrival: Arriving) -> None:
    assert SIZE > VERIFIED_FIRST_BYTES
    arrival.gives(A, 0, SIZE)
    windows = arrival.windows(0, SIZE, size=SIZE)
    await up_to(windows, SIZE - HELD_BACK_BYTES)
    following = asyncio.ensure_future(anext(windows))
    await asyncio.sleep(0)
    arrival.is_verified()
    window = await following
    assert (window.offset, window.count) == (SIZE - HELD_BACK_BYTES, HELD_BACK_BYTES)


async def test_in_a_dispute_nothing_leaves_and_what_is_doubted_is_not_there(arrival: Arriving) -> None:
    arrival.gives(A, 0, SIZE)
    arrival.forgets(4 * MIB, 6 * MIB)
    assert (arrival.written, arrival.arrived) == (4 * MIB, SIZE - 2 * MIB)
    assert await now(arrival.windows(0, SIZE, size=SIZE)) == 0
    arrival.gives(A, 4 * MIB, 6 * MIB)
    assert await now(arrival.windows(0, SIZE, size=SIZE)) == 0, "it is not known yet whether that is right"
    arrival.is_settled(Spans())
    arrival.is_verified()
    await up_to(arrival.windows(0, SIZE, size=SIZE), SIZE)


async def test_a_client_that_would_give_up_is_given_what_there_is_even_so(arrival: Arriving) -> None:
    arrival.gives(A, 0, SIZE)
    arrival.forgets(4 * MIB, 6 * MIB)
    following = asyncio.ensure_future(anext(arrival.windows(0, SIZE, size=SIZE)))
    await asyncio.sleep(0)
    arrival.clock.advance(Patience().first_byte_seconds)
    arrival.wrote(4 * MIB, SIZE - 2 * MIB)
    assert (await following).count <= 4 * MIB


@pytest.mark.parametrize(
    ("start", "read_to", "is_cut"),
    [(0, 4 * MIB, False), (0, 4 * MIB + 1, True), (5 * MIB, 7 * MIB, True), (6 * MIB, 8 * MIB, False)],
)
async def test_only_who_was_sent_some_of_what_changed_is_cut(
    arrival: Arriving, start: int, read_to: int, is_cut: bool
) -> None:
    arrival.gives(A, 0, read_to)
    windows = arrival.windows(start, SIZE, size=SIZE)
    await up_to(windows, read_to)
    arrival.gives(A, read_to, SIZE)
    arrival.forgets(4 * MIB, 6 * MIB)
    arrival.gives(B, 4 * MIB, 6 * MIB)
    arrival.is_settled(Spans([(4 * MIB, 6 * MIB)]))
    arrival.is_verified()
    if is_cut:
        with pytest.raises(ContentMismatch):
            await up_to(windows, SIZE)
    else:
        await up_to(windows, SIZE)


async def test_who_comes_after_a_change_is_not_cut_for_it(arrival: Arriving) -> None:
    arrival.gives(A, 0, SIZE)
    arrival.is_settled(Spans([(0, SIZE)]))
    windows = arrival.windows(0, SIZE, size=SIZE)
    await up_to(windows, MIB)
    arrival.is_verified()
    await up_to(windows, SIZE)


async def test_what_is_begun_anew_cuts_whoever_has_any_of_it(arrival: Arriving) -> None:
    arrival.gives(A, 0, 5 * MIB)
    has_some, has_none = arrival.windows(0, SIZE, size=SIZE), arrival.windows(0, SIZE, size=SIZE)
    await up_to(has_some, MIB)
    arrival.is_dropped()
    arrival.file.rewind()
    arrival.is_dropped()
    arrival.gives(A, 0, SIZE)
    arrival.is_verified()
    with pytest.raises(ContentMismatch):
        await up_to(has_some, SIZE)
    await up_to(has_none, SIZE)
