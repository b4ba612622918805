"""Checks side by side, within their time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sampan.doctor.aside import aside
from sampan.doctor.contract import Finding, Scene, Unseen
from sampan.doctor.examine import examine
from scenes import scene

BROKEN = Finding("BROKEN", "it", "it is broken")


async def check_quick(scene: Scene) -> AsyncIterator[Finding | Unseen]:
    yield BROKEN


async def check_endless(scene: Scene) -> AsyncIterator[Finding | Unseen]:
    yield Finding("BROKEN", "endless", "found before it hung")
    await asyncio.Event().wait()


async def check_faulty(scene: Scene) -> AsyncIterator[Finding | Unseen]:
    yield Finding("BROKEN", "faulty", "found before it failed")
    raise ValueError("https://me:secret@host/ made no sense\n")


async def test_what_a_check_found_is_kept_when_it_is_cut(tmp_path: Path) -> None:
    examination = await examine(scene(tmp_path, seconds=0.05), [check_endless, check_quick])
    assert [finding.subject for finding in examination.findings] == ["endless", "it"]
    assert [(each.subject, each.what) for each in examination.unseen] == [
        ("endless", "there was no time to look at all of it")
    ]


async def test_a_check_that_fails_takes_nothing_with_it_and_tells_no_secret(tmp_path: Path) -> None:
    examination = await examine(scene(tmp_path), [check_faulty, check_quick])
    assert [finding.subject for finding in examination.findings] == ["faulty", "it"]
    (unseen,) = examination.unseen
    assert "ValueError" in unseen.what
    assert "secret" not in unseen.what
    assert "\n" not in unseen.what


async def test_checks_run_at_the_same_time(tmp_path: Path) -> None:
    both = asyncio.Barrier(2)

    async def check_one(scene: Scene) -> AsyncIterator[Finding | Unseen]:
        await both.wait()
        yield BROKEN

    async def check_other(scene: Scene) -> AsyncIterator[Finding | Unseen]:
        await both.wait()
        yield BROKEN

    examination = await examine(scene(tmp_path), [check_one, check_other])
    assert examination.findings == (BROKEN,), "what two checks found is told once"
    assert examination.unseen == ()


async def test_a_check_whose_own_wait_ends_is_not_said_to_have_had_no_time(tmp_path: Path) -> None:
    async def check_waiting(scene: Scene) -> AsyncIterator[Finding | Unseen]:
        yield BROKEN
        raise TimeoutError("its own")

    (unseen,) = (await examine(scene(tmp_path), [check_waiting])).unseen
    assert "TimeoutError" in unseen.what


async def test_what_is_done_aside_is_given_or_raised() -> None:
    assert await aside(lambda: 7) == 7
    with pytest.raises(KeyError):
        await aside(lambda: {"there": 1}["absent"])


async def test_who_waits_for_what_hangs_goes_on_when_cancelled() -> None:
    hung = threading.Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await aside(lambda: hung.wait(60))
    hung.set()
