"""Several hosts gave a blob, and some of its bytes are wrong: the liar is found, and nobody else pays."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pouring import KIB, MIB, Ground, ground, outcome
from rig import ALPINE, HUB, assert_store_is_sound, pieces
from sampan.errors import AllHostsFailed, ContentMismatch
from sampan.mirror.blobs import BlobAnswer
from sampan.store.disk import DiskStore
from sampan.testing import Fault, Reply, Request, faults, random_bytes

pytestmark = pytest.mark.standstill

FAST = 2 * MIB
SIZE = 12 * MIB
SLACK = 512 * KIB
EVERYWHERE = range(1000, SIZE, 100 * KIB)  # whatever piece a host gives, some of it is wrong


def shares(g: Ground) -> list[int]:
    return [g.received(line) for line in g.lines]


@pytest.mark.parametrize("whose", [0, 1, 2])
async def test_a_liar_among_three_is_found_and_struck_and_honest_hosts_lose_nothing(
    tmp_path: Path, whose: int
) -> None:
    async with ground(tmp_path, FAST, FAST, FAST, size=SIZE) as g:
        g.lines[whose].lies(*EVERYWHERE)
        brought = await g.bring()
        assert g.attempts("wrong-content") == {g.lines[whose].name}
        assert [g.strikes(line) for line in g.lines] == [int(n == whose) for n in range(3)]
        gave = {attempt.host: attempt.bytes for attempt in brought.attempts if attempt.outcome == "ok"}
        assert g.lines[whose].name not in gave
        assert sum(gave.values()) == g.size
    assert assert_store_is_sound(tmp_path) == 2


async def test_only_the_pieces_of_suspects_are_fetched_again(tmp_path: Path) -> None:
    """Suspected is first who gave least."""
    async with ground(tmp_path, FAST, FAST / 2, FAST, size=SIZE) as g:
        g.lines[1].lies(*EVERYWHERE)
        await g.bring()
        assert g.attempts("wrong-content") == {g.lines[1].name}
        again = sum(shares(g)) - g.size
        assert 0 < again <= g.received(g.lines[1]) + SLACK


async def test_who_contradicts_an_honest_suspect_is_suspected_next(tmp_path: Path) -> None:
    """The lead gave least and is suspected first. What the third host gave is not fetched again then."""
    async with ground(tmp_path, FAST / 2, FAST, 0.9 * FAST, size=2 * SIZE) as g:
        g.lines[1].lies(*range(1000, 2 * SIZE, 100 * KIB))
        await g.bring()
        assert [g.strikes(line) for line in g.lines] == [0, 1, 0]
        assert any(text.startswith("bytes=0-") for text in g.lines[1].ranges), "it contradicts the lead"
        first, *_ = g.lines[2].ranges
        assert [first in line.ranges for line in g.lines] == [False, False, True]


async def test_one_wrong_bit_is_enough(tmp_path: Path) -> None:
    async with ground(tmp_path, FAST, FAST, FAST, size=SIZE) as g:
        g.lines[1].lies(8 * MIB)
        await g.bring()
        assert g.attempts("wrong-content") == {g.lines[1].name}
        assert g.rig.store.verify(g.layer)


async def test_of_two_hosts_the_liar_is_found(tmp_path: Path) -> None:
    async with ground(tmp_path, FAST, FAST, size=SIZE) as g:
        g.lines[1].lies(*EVERYWHERE)
        await g.bring()
        assert [g.strikes(line) for line in g.lines] == [0, 1]


async def test_two_liars_of_three_are_both_struck_and_the_blob_arrives(tmp_path: Path) -> None:
    async with ground(tmp_path, FAST, FAST, FAST, size=SIZE) as g:
        g.lines[0].lies(*EVERYWHERE)
        g.lines[2].lies(*(place + 1 for place in EVERYWHERE))
        await g.bring()
        assert [g.strikes(line) for line in g.lines] == [1, 0, 1]
        assert sum(shares(g)) <= 6 * g.size


async def test_when_all_lie_it_ends_and_all_are_struck(tmp_path: Path) -> None:
    async with ground(tmp_path, FAST, FAST, FAST, size=SIZE) as g:
        for number, line in enumerate(g.lines):
            line.lies(*(place + number for place in EVERYWHERE))
        error = await outcome(g.bring())
        assert isinstance(error, AllHostsFailed)
        assert [g.strikes(line) for line in g.lines] == [1, 1, 1]
        assert sum(shares(g)) <= 8 * g.size
    assert_store_is_sound(tmp_path)


def left_by_an_earlier_run(path: Path, g: Ground, *ranges: tuple[int, int, bytes]) -> None:
    store = DiskStore(path)
    ingest = store.ingest(g.layer, g.size)
    for start, stop, data in ranges:
        ingest.place(start, data or g.data[start:stop])
    ingest.suspend()
    store.close()


async def test_wrong_bytes_of_an_earlier_run_are_replaced_and_nobody_is_struck(tmp_path: Path) -> None:
    async with ground(tmp_path, FAST, FAST, FAST, size=SIZE) as g:
        wrong = random_bytes(99, MIB)
        left_by_an_earlier_run(tmp_path, g, (0, MIB, wrong), (5 * MIB, 6 * MIB, b""))
        brought = await g.bring()
        assert [g.strikes(line) for line in g.lines] == [0, 0, 0]
        assert g.attempts("wrong-content") == set()
        assert sum(shares(g)) <= g.size + SLACK
        assert brought.resumed_bytes == 0
        assert g.rig.store.verify(g.layer)


async def test_a_liar_beside_wrong_bytes_of_an_earlier_run_is_found_as_well(tmp_path: Path) -> None:
    async with ground(tmp_path, FAST, FAST, FAST, size=SIZE) as g:
        left_by_an_earlier_run(tmp_path, g, (0, MIB, random_bytes(99, MIB)))
        g.lines[1].lies(*EVERYWHERE)
        await g.bring()
        assert [g.strikes(line) for line in g.lines] == [0, 1, 0]


async def test_the_bytes_of_an_earlier_run_alone_are_begun_anew_when_they_are_wrong(tmp_path: Path) -> None:
    async with ground(tmp_path, FAST, FAST, FAST, size=SIZE) as g:
        left_by_an_earlier_run(tmp_path, g, (0, SIZE, random_bytes(99, SIZE)))
        await g.bring()
        assert [g.strikes(line) for line in g.lines] == [0, 0, 0]
        assert sum(shares(g)) <= g.size + SLACK


async def test_who_is_needed_to_find_the_liar_may_be_gone(tmp_path: Path) -> None:
    """The blob cannot be mended then; an honest host is not struck for that."""
    async with ground(tmp_path, FAST, FAST, size=SIZE) as g:
        g.lines[1].lies(*EVERYWHERE)
        task = asyncio.ensure_future(g.bring())
        await g.pour(lambda: sum(shares(g)) > g.size - 300 * KIB)
        g.lines[0].does(faults.status(404))
        for _ in range(100):
            await g.tick()
        error = await outcome(g.poured(task))
        assert isinstance(error, AllHostsFailed)
        assert g.strikes(g.lines[0]) == 0
    assert_store_is_sound(tmp_path)


async def test_a_liar_that_goes_away_as_soon_as_it_is_asked_again_is_found_all_the_same(
    tmp_path: Path,
) -> None:
    """By what it gave, once another host has given the whole alone."""
    async with ground(tmp_path, FAST / 2, FAST, size=SIZE) as g:
        g.lines[1].lies(*EVERYWHERE)
        task = asyncio.ensure_future(g.bring())
        await g.pour(lambda: sum(shares(g)) > g.size - 300 * KIB)
        g.lines[1].does(faults.status(404))
        await g.poured(task)
        assert [g.strikes(line) for line in g.lines] == [0, 1]


# -- readers -------------------------------------------------------------------------------------------


class Reader:
    """Follows an answer; ``got``: what it had, until ``ended`` or ``error``."""

    def __init__(self, answer: BlobAnswer, start: int = 0, stop: int | None = None) -> None:
        self.got = bytearray()
        self.error: Exception | None = None
        self.start = start
        self.task = asyncio.create_task(self._follow(answer, start, stop))

    async def _follow(self, answer: BlobAnswer, start: int, stop: int | None) -> None:
        try:
            async for piece in pieces(answer, start, stop):
                self.got += piece
        except ContentMismatch as error:
            self.error = error
        finally:
            answer.close()


async def reader(g: Ground, start: int = 0, stop: int | None = None) -> Reader:
    """One who asks now, and follows as it comes. With the manifest known, as every runtime does."""
    await g.rig.mirror.manifest(HUB, ALPINE, "3")
    return Reader(await g.poured(g.rig.mirror.blob(HUB, ALPINE, g.layer)), start, stop)


async def test_readers_get_the_right_bytes_in_order_while_pieces_arrive(tmp_path: Path) -> None:
    async with ground(tmp_path, FAST, FAST, FAST, size=24 * MIB, verify="stream") as g:
        first = await reader(g)
        await g.pour(lambda: len(first.got) > 9 * MIB)
        assert g.rig.mirror.downloads_in_flight == 1
        assert min(shares(g)) > 0
        late = await reader(g, start=20 * MIB + 3)
        await g.pour(lambda: first.task.done() and late.task.done())
        assert bytes(first.got) == g.data
        assert bytes(late.got) == g.data[20 * MIB + 3 :]
        assert sum(shares(g)) <= g.size + SLACK


async def test_all_that_is_whole_is_given_though_its_hash_came_late(tmp_path: Path) -> None:
    """The front comes last: much is still to be hashed when the last byte is there."""
    async with ground(tmp_path, FAST, FAST, FAST, size=36 * MIB, verify="stream") as g:
        follows = await reader(g)
        await g.pour(lambda: sum(shares(g)) > 0)
        g.lines[0].bytes_per_second = 0
        await g.pour(follows.task.done)
        assert bytes(follows.got) == g.data


async def test_nothing_unverified_leaves_of_a_host_that_has_not_earned_it(tmp_path: Path) -> None:
    unearned = [{"verify": "stream"}, {"verify": "before"}, {"verify": "before"}]
    async with ground(tmp_path, FAST, FAST, FAST, size=24 * MIB, settings=unearned) as g:
        follows = await reader(g)
        seen = []
        while not follows.task.done():
            await g.tick()
            ledger = next(iter(g.rig.mirror._downloads._running.values()), None)
            if ledger is not None and not ledger.arrival.verified:
                earned = ledger.arrival.ledger.of(ledger.source._hosts[0])
                assert len(follows.got) <= earned.prefix
                seen.append(len(follows.got))
        assert max(seen) > MIB, "some of it left before all was verified"
        assert bytes(follows.got) == g.data


async def test_who_got_bytes_that_prove_wrong_is_cut_and_others_are_not(tmp_path: Path) -> None:
    """Who led gave most, and is not suspected before the liar is found."""
    async with ground(tmp_path, 2 * FAST, FAST, FAST, size=24 * MIB, verify="stream") as g:
        g.lines[1].lies(*range(1000, 24 * MIB, 100 * KIB))
        deceived = await reader(g)
        await g.pour(lambda: g.received(g.lines[1]) > 0)
        start = g.lines[1].ranges[0].removeprefix("bytes=").partition("-")[0]
        early = await reader(g, 0, int(start))  # nothing of the liar's is in it
        slow = await g.rig.mirror.blob(HUB, ALPINE, g.layer)
        windows = slow.windows(0, slow.size)
        first = await anext(aiter(windows))
        assert first.offset + first.count <= int(start)
        await g.pour(deceived.task.done)
        assert isinstance(deceived.error, ContentMismatch)
        assert len(deceived.got) < g.size, "cut, not completed"
        assert bytes(early.got) == g.data[: int(start)]
        rest = [window async for window in windows]
        assert sum(window.count for window in rest) == g.size - first.count
        await g.settled()
        assert g.rig.store.verify(g.layer)


async def test_who_got_bytes_of_an_honest_suspect_is_not_cut(tmp_path: Path) -> None:
    """The lead gave least and is suspected first. The liar is honest as soon as it is asked again."""
    async with ground(tmp_path, FAST / 2, FAST, FAST, size=24 * MIB, verify="stream") as g:

        def change(request: Request, right: Reply) -> Reply:
            downloads = g.rig.mirror._downloads._running.values()
            is_disputed = any(download.arrival._is_disputed for download in downloads)
            return right if is_disputed else faults.flipped_bit(1000).change(request, right)

        g.lines[1].does(Fault("lies until it is disputed", change))
        await g.rig.mirror.manifest(HUB, ALPINE, "3")
        slow = await g.poured(g.rig.mirror.blob(HUB, ALPINE, g.layer))
        windows = slow.windows(0, slow.size)
        first = await anext(aiter(windows))
        await g.settled()
        assert g.attempts("wrong-content") == {g.lines[1].name}
        others = [text for line in g.lines[1:] for text in line.ranges]
        assert any(text.startswith("bytes=0-") for text in others), "what the lead gave was fetched again"
        assert first.count + sum([window.count async for window in windows]) == g.size


async def test_no_reader_is_given_more_while_it_is_not_known_who_lied(tmp_path: Path) -> None:
    async with ground(tmp_path, FAST, FAST, FAST, size=24 * MIB, verify="stream") as g:
        g.lines[1].lies(*range(1000, 24 * MIB, 100 * KIB))
        await g.rig.mirror.manifest(HUB, ALPINE, "3")
        task = asyncio.ensure_future(g.rig.mirror.bring(HUB, ALPINE, g.layer))
        await g.pour(lambda: sum(shares(g)) > g.size + SLACK)  # suspects are fetched again
        assert g.attempts("wrong-content") == set()
        late = await reader(g)
        while not g.attempts("wrong-content"):
            assert not late.got
            await g.tick()
        await g.pour(late.task.done)
        assert bytes(late.got) == g.data
        await task
