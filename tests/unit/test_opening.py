"""What is opened in a thread for somebody who is gone by then."""

from __future__ import annotations

import asyncio
import threading

import pytest

from sampan.errors import StoreError
from sampan.mirror.opening import opened


def not_called(number: int) -> None:
    raise AssertionError(number)


async def test_what_is_opened_is_returned() -> None:
    assert await opened(lambda: 7, not_called) == 7


async def test_what_was_opened_for_a_cancelled_task_is_closed() -> None:
    began, may_open, closed = asyncio.Event(), threading.Event(), list[int]()
    loop = asyncio.get_running_loop()

    def open_it() -> int:
        loop.call_soon_threadsafe(began.set)
        assert may_open.wait(10)
        return 7

    task = asyncio.create_task(opened(open_it, closed.append))
    await began.wait()
    task.cancel()
    may_open.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed == [7]


async def test_what_cannot_be_opened_is_told() -> None:
    def open_it() -> int:
        raise StoreError("no")

    with pytest.raises(StoreError):
        await opened(open_it, not_called)


async def test_a_cancelled_task_stays_cancelled_when_nothing_could_be_opened() -> None:
    began, may_open = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def open_it() -> int:
        loop.call_soon_threadsafe(began.set)
        assert may_open.wait(10)
        raise StoreError("no")

    task = asyncio.create_task(opened(open_it, not_called))
    await began.wait()
    task.cancel()
    may_open.set()
    with pytest.raises(asyncio.CancelledError):
        await task
