"""One blob from several hosts at once, on real sockets: who gives what, and what happens when one fails."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pouring import BLOB, KIB, MIB, SPREAD, Ground, Line, ground, outcome
from rig import ALPINE, HUB, assert_store_is_sound
from sampan.errors import AllHostsFailed
from sampan.mirror.patience import Patience
from sampan.oci import Digest
from sampan.testing import Fault, Match, faults, image, random_layer

FAST = 2 * MIB
SIZE = 12 * MIB
HASTY = Patience(connect_seconds=0.05, blob_seconds=0.05, come_back_seconds=0.0)
SLACK = 512 * KIB  # of chunks whose end was somebody else's by the time they came


def asked_bytes(line: Line) -> list[tuple[int, int]]:
    """The ranges that a host was asked for, but for the first of a lead, which has no end."""
    spans = [text.removeprefix("bytes=").split("-") for text in line.ranges if text]
    return [(int(first), int(last) + 1) for first, last in spans if last]


def given(g: Ground) -> list[int]:
    return [g.received(line) for line in g.lines]


# -- together ------------------------------------------------------------------------------------------


async def test_a_blob_comes_from_three_hosts_each_byte_once(tmp_path: Path) -> None:
    async with ground(tmp_path, FAST, FAST, FAST, size=24 * MIB) as g:
        brought = await g.bring()
        assert min(given(g)) > 4 * MIB
        assert sum(given(g)) <= g.size + SLACK
        assert g.seconds < 24 / 2 * 0.55, "twice as fast as one, or nearly so"
        shares = {attempt.host: attempt.bytes for attempt in brought.attempts if attempt.outcome == "ok"}
        assert shares.keys() == {line.name for line in g.lines}
        assert sum(shares.values()) == g.size
        assert g.rig.store.verify(g.layer)
    assert assert_store_is_sound(tmp_path) == 2


async def test_it_begins_with_one_host_and_the_first_bytes_come_first(tmp_path: Path) -> None:
    async with ground(tmp_path, FAST, FAST, FAST, size=24 * MIB) as g:
        await g.bring()
        first, *others = g.lines
        assert first.asked[0].at < min(line.asked[0].at for line in others) - 0.3
        assert first.ranges[0] == ""
        starts = sorted((request.at, start) for line in others for request, (start, _) in
                        zip(line.asked, asked_bytes(line), strict=True))  # fmt: skip
        assert [start for _, start in starts[:2]] == sorted(start for _, start in starts[:2])


async def test_a_small_blob_comes_from_one_host(tmp_path: Path) -> None:
    async with ground(tmp_path, 300 * KIB, FAST, FAST, size=SPREAD.wide_bytes - 1) as g:
        await g.bring()
        assert [len(line.asked) for line in g.lines] == [1, 0, 0]


async def test_a_blob_whose_size_no_manifest_tells_comes_from_one_host(tmp_path: Path) -> None:
    async with ground(tmp_path, MIB, FAST, FAST, size=SIZE) as g:
        await g.poured(g.rig.mirror.bring(HUB, ALPINE, g.layer))
        assert [len(line.asked) for line in g.lines] == [1, 0, 0]


async def test_a_host_that_does_not_help_leaves_again(tmp_path: Path) -> None:
    """Both are at the end of one line, and it is full."""
    async with ground(tmp_path, FAST, 0, size=24 * MIB) as g:
        shared = g.lines[0].tap
        g.lines[1].registry.behave()
        g.lines[1].registry.script(shared.fault(), on=BLOB)
        await g.bring()
        assert len(g.lines[1].asked) == 1
        assert MIB < g.received(g.lines[1]) < 4 * MIB, "it had its half for a while"


async def test_a_host_that_joins_and_fails_costs_no_time(tmp_path: Path) -> None:
    async with ground(tmp_path, FAST, FAST, FAST, size=24 * MIB) as g:
        g.lines[1].does(faults.status(404))
        await g.bring()
        assert g.lines[2].asked[0].at - g.lines[0].asked[0].at < 1.5
        assert g.lines[0].ranges[0] == ""
        assert min(given(g)[::2]) > 8 * MIB


async def test_the_lead_keeps_its_connection_when_nobody_can_help_it(tmp_path: Path) -> None:
    async with ground(tmp_path, FAST, FAST, FAST, size=24 * MIB) as g:
        g.lines[1].does(faults.status(404))
        g.lines[2].does(faults.status(503))
        await g.bring()
        assert [bool(line.asked) for line in g.lines] == [True, True, True]
        assert len(g.lines[0].asked) == 1
        assert given(g) == [g.size, 0, 0]


async def test_no_more_hosts_than_a_few_are_asked(tmp_path: Path) -> None:
    speeds = [MIB / 2] * 6
    async with ground(tmp_path, *speeds, size=24 * MIB) as g:
        await g.bring()
        assert sum(bool(line.asked) for line in g.lines) == SPREAD.hosts_max


# -- terms ---------------------------------------------------------------------------------------------


async def test_a_host_whose_requests_are_counted_is_not_asked_for_pieces(tmp_path: Path) -> None:
    counted = [{}, {"requests_per_minute": 60}, {}]
    async with ground(tmp_path, FAST, FAST, FAST, size=SIZE, settings=counted) as g:
        await g.bring()
        assert [bool(line.asked) for line in g.lines] == [True, False, True]


async def test_a_counted_host_that_gives_the_whole_is_asked_once_while_others_take_its_end(
    tmp_path: Path,
) -> None:
    counted = [{"requests_per_minute": 60}]
    async with ground(tmp_path, FAST, FAST, FAST, size=24 * MIB, settings=counted) as g:
        await g.bring()
        assert g.lines[0].ranges == [""]
        assert min(given(g)) > 2 * MIB
        assert sum(given(g)) <= g.size + SLACK


async def test_a_counted_host_that_failed_is_not_asked_again_while_others_work(tmp_path: Path) -> None:
    counted = [{"requests_per_minute": 60}]
    async with ground(tmp_path, FAST, FAST, FAST, size=24 * MIB, settings=counted) as g:
        g.lines[0].does(faults.truncated(6 * MIB), times=1)
        await g.bring()
        assert len(g.lines[0].asked) == 1


async def test_a_host_without_a_connection_to_spare_is_not_asked_for_pieces(tmp_path: Path) -> None:
    one = {"max_connections": 1}
    async with ground(tmp_path, FAST, FAST, FAST, size=SIZE, settings=[{}, one, {}]) as g:
        other = g.lines[1].registry.add(image("library/other", "1", layers=[random_layer(7, 9 * MIB)]))
        gate = asyncio.Event()
        held = Match(kind="blob", repository="library/other")
        g.lines[1].registry.behave()
        g.lines[1].registry.script(faults.held(gate, at=1000), on=held)
        g.lines[1].registry.script(g.lines[1].tap.fault(), on=BLOB)
        await g.rig.mirror.manifest(HUB, "library/other", "1")
        busy = asyncio.create_task(
            g.rig.mirror.bring(HUB, "library/other", Digest.parse(other.layers[0].digest))
        )
        await g.pour(lambda: g.lines[1].registry.count(kind="blob") == 1)
        await g.bring()
        assert not [request for request in g.lines[1].asked if request.repository == ALPINE]
        gate.set()
        await g.poured(busy)


async def test_no_more_connections_than_allowed_are_made_for_pieces(tmp_path: Path) -> None:
    one = {"max_connections": 1}
    async with ground(tmp_path, FAST, FAST, FAST, size=SIZE, settings=[one] * 3) as g:
        await g.bring()
        assert min(given(g)) > 0
        assert max(g.busiest) == 1


# -- hosts that fail -------------------------------------------------------------------------------------


async def test_a_host_that_ignores_range_is_not_used_for_pieces(tmp_path: Path) -> None:
    async with ground(tmp_path, FAST, FAST, FAST, size=SIZE) as g:
        g.lines[1].does(faults.range_ignored())
        await g.bring()
        assert len(g.lines[1].asked) == 1
        assert sum(given(g)) <= g.size + SLACK
        assert g.attempts("wrong-content") == set()


async def test_a_host_that_ignores_range_and_leads_is_not_read_to_the_place_of_a_piece(
    tmp_path: Path,
) -> None:
    async with ground(tmp_path, FAST, FAST, FAST, size=24 * MIB) as g:
        g.lines[0].does(faults.range_ignored())
        await g.bring()
        assert sum(given(g)) <= g.size + SLACK


@pytest.mark.parametrize(
    "fault",
    [
        faults.resets(100_000),
        faults.truncated(100_000),
        faults.empty(),
        faults.hang_up(),
        faults.status(404),
        faults.status(503),
        faults.denied(),
        faults.rate_limited("60"),
        faults.page(),
        faults.short_by(1),
        faults.wrong_range(f"bytes 0-99/{SIZE}"),
        faults.gzip_encoded(),
        faults.redirect(faults.UNREACHABLE_URL),
    ],
    ids=lambda fault: fault.name,
)
@pytest.mark.parametrize("whose", [0, 1])
async def test_what_one_host_fails_to_give_comes_from_the_others(
    tmp_path: Path, fault: Fault, whose: int
) -> None:
    async with ground(tmp_path, FAST, FAST, FAST, size=SIZE) as g:
        g.lines[whose].does(fault, on=Match(kind="blob", ranged=True) if whose == 0 else BLOB)
        await g.bring()
        assert len(g.lines[whose].asked) <= 4
        assert sum(given(g)) <= g.size + SLACK
        assert g.rig.store.verify(g.layer)
        assert g.attempts("wrong-content") == set()


@pytest.mark.row("N11")
async def test_a_host_that_stalls_is_not_waited_for(tmp_path: Path) -> None:
    async with ground(tmp_path, FAST, FAST, FAST, size=SIZE) as g:
        g.lines[1].does(faults.stalls(300_000))
        await g.bring()
        assert g.seconds < SIZE / FAST
        assert len(g.lines[1].asked) == 1


async def test_a_lead_that_stalls_is_not_waited_for(tmp_path: Path) -> None:
    async with ground(tmp_path, FAST, FAST, FAST, size=SIZE) as g:
        g.lines[0].does(faults.stalls(3 * MIB))
        await g.bring()
        assert g.seconds < SIZE / FAST
        assert g.received(g.lines[0]) == 3 * MIB


async def test_no_host_is_asked_for_pieces_while_the_lead_may_be_asking_it(tmp_path: Path) -> None:
    """Another is asked beside one that is silent; not that one once more."""
    gate = asyncio.Event()
    async with ground(tmp_path, FAST, FAST, FAST, size=SIZE, patience=HASTY) as g:
        g.lines[0].registry.behave()
        g.lines[0].registry.script(faults.held(gate), on=BLOB)
        await g.bring()
        assert len(g.lines[0].asked) == 1
        assert sum(given(g)) <= g.size + SLACK
        gate.set()


async def test_a_lead_that_dies_at_once_is_replaced_while_others_work(tmp_path: Path) -> None:
    async with ground(tmp_path, FAST, FAST, FAST, FAST, size=24 * MIB) as g:
        g.lines[0].does(faults.truncated(3 * MIB))
        await g.bring()
        assert sum(given(g)) <= g.size + SLACK
        assert g.seconds < 0.7 * 24 * MIB / FAST


@pytest.mark.row("N20")
async def test_a_host_that_slows_down_midway_holds_nothing_up(tmp_path: Path) -> None:
    async def seconds(path: Path, *, slowed: bool) -> float:
        async with ground(path, FAST, FAST, FAST, size=24 * MIB) as g:
            await g.rig.mirror.manifest(HUB, ALPINE, "3")
            task = asyncio.ensure_future(g.rig.mirror.bring(HUB, ALPINE, g.layer))
            await g.pour(lambda: sum(given(g)) > g.size / 2)
            if slowed:
                g.lines[1].bytes_per_second = FAST / 50
            else:
                g.lines[1].registry.refuse()
            await g.poured(task)
            return g.seconds

    gone = await seconds(tmp_path / "gone", slowed=False)
    assert await seconds(tmp_path / "slow", slowed=True) <= gone + 1.5


async def test_a_host_that_crawls_from_the_beginning_is_dropped(tmp_path: Path) -> None:
    async with ground(tmp_path, FAST, FAST / 50, FAST, size=24 * MIB) as g:
        await g.bring()
        assert len(g.lines[1].asked) <= 2
        assert g.seconds < 0.8 * 24 * MIB / FAST


async def test_a_host_that_was_dropped_is_not_asked_again_while_there_is_another(tmp_path: Path) -> None:
    async with ground(tmp_path, FAST, FAST / 50, size=24 * MIB) as g:
        await g.bring()
        assert len(g.lines[1].asked) == 1


async def test_a_host_that_is_too_slow_to_help_three_is_tried_once(tmp_path: Path) -> None:
    async with ground(tmp_path, FAST, FAST, FAST, FAST / 5, size=60 * MIB) as g:
        await g.bring()
        assert len(g.lines[3].asked) == 1


async def test_a_host_that_was_dropped_gives_the_rest_when_it_is_the_only_one_left(tmp_path: Path) -> None:
    async with ground(tmp_path, FAST, FAST / 50, size=SIZE) as g:
        await g.rig.mirror.manifest(HUB, ALPINE, "3")
        task = asyncio.ensure_future(g.rig.mirror.bring(HUB, ALPINE, g.layer))
        await g.pour(lambda: sum(given(g)) > g.size - 500 * KIB)
        assert len(g.lines[1].asked) == 1
        g.lines[0].registry.refuse()
        await g.poured(task)
        assert g.rig.store.verify(g.layer)
        assert sum(given(g)) <= g.size + SLACK


async def test_a_host_that_was_cut_once_is_gone_on_with_while_another_gives_pieces(tmp_path: Path) -> None:
    """It is demoted for ten seconds, and there is nobody else who could help."""
    async with ground(tmp_path, FAST, FAST, size=24 * MIB) as g:
        g.lines[0].does(faults.truncated(3 * MIB), times=1)
        await g.bring()
        assert min(given(g)) > 9 * MIB
        assert g.seconds < 0.7 * 24 * MIB / FAST


@pytest.mark.parametrize("whose", [0, 1])
async def test_a_host_that_stalls_at_the_very_end_is_taken_over_by_one_that_had_nothing_left_to_do(
    tmp_path: Path, whose: int
) -> None:
    async with ground(tmp_path, FAST, FAST, size=SIZE) as g:
        await g.rig.mirror.manifest(HUB, ALPINE, "3")
        task = asyncio.ensure_future(g.rig.mirror.bring(HUB, ALPINE, g.layer))
        await g.pour(lambda: sum(given(g)) > g.size - 700 * KIB)
        g.lines[whose].bytes_per_second = 0
        await g.pour(lambda: g.lines[1 - whose].tap.waiting == 0 or task.done())
        before = g.seconds
        await g.poured(task)
        assert g.seconds - before < 5


@pytest.mark.row("N22")
async def test_all_hosts_die_midway_and_come_back_and_nothing_is_fetched_twice(tmp_path: Path) -> None:
    async with ground(tmp_path, FAST, FAST, FAST, size=24 * MIB) as g:
        await g.rig.mirror.manifest(HUB, ALPINE, "3")
        task = asyncio.ensure_future(g.rig.mirror.bring(HUB, ALPINE, g.layer))
        await g.pour(lambda: sum(given(g)) > g.size / 2 and min(given(g)) > MIB)
        for line in g.lines:
            line.registry.refuse()
        assert isinstance(await outcome(g.poured(task)), AllHostsFailed)
        for line in g.lines:
            await line.registry.accept()
        g.clock.advance(60)
        before = [len(line.asked) for line in g.lines]
        brought = await g.bring()
        assert brought.resumed_bytes > g.size / 2 - SLACK
        again = [line.asked[count:] for line, count in zip(g.lines, before, strict=True)]
        assert any(again)
        assert sum(given(g)) <= g.size + 2 * SLACK
        assert g.rig.store.verify(g.layer)


async def test_one_download_goes_on_when_all_hosts_come_back_in_time(tmp_path: Path) -> None:
    patience = Patience(come_back_seconds=0.01)
    async with ground(tmp_path, FAST, FAST, FAST, size=24 * MIB, patience=patience) as g:
        for line in g.lines:
            line.does(faults.truncated(700 * KIB), on=Match(kind="blob", ranged=True), times=2)
        brought = await g.bring()
        assert brought.resumed_bytes == 0
        assert sum(given(g)) <= g.size + 2 * SLACK


async def test_an_error_that_nobody_foresaw_in_one_worker_ends_the_download(tmp_path: Path) -> None:
    """It is told, and nobody is left at work."""
    async with ground(tmp_path, FAST, FAST, FAST, size=SIZE) as g:

        def check() -> None:
            if g.received(g.lines[1]):
                raise RuntimeError("a bug")

        await g.rig.mirror.manifest(HUB, ALPINE, "3")
        task = asyncio.ensure_future(g.rig.mirror.bring(HUB, ALPINE, g.layer))
        await g.pour(lambda: bool(g.rig.mirror.downloads_in_flight))
        download = next(iter(g.rig.mirror._downloads._running.values()))
        download._gathering._crew._intake._check = check  # type: ignore[union-attr]
        error = await outcome(g.poured(task))
        assert error is not None
        assert "a bug" in str(error)
