"""A loop whose time stands still while anything happens: no time-out of a test depends on the machine."""

from __future__ import annotations

import asyncio
import threading

import pytest

from sampan.testing import FakeRegistry
from standstill import LoopClock, StandstillLoop

pytestmark = pytest.mark.standstill


async def test_when_nothing_happens_time_leaps() -> None:
    clock = LoopClock()
    began = clock.monotonic()
    await asyncio.sleep(3600)
    assert 3600 <= clock.monotonic() - began < 3601


async def test_what_ends_by_itself_is_in_time_however_long_it_takes() -> None:
    may_go = threading.Event()
    async with asyncio.timeout(0.001), FakeRegistry() as registry:
        reader, writer = await asyncio.open_connection(registry.host, registry.port)
        asyncio.get_running_loop().call_soon(may_go.set)
        assert await asyncio.to_thread(may_go.wait, 10)
        writer.write(b"GET /v2/ HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_what_never_ends_is_timed_out_while_it_goes_on() -> None:
    async def never_ends() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(never_ends(), 0.001)


async def test_a_thread_that_waits_for_a_time_out_of_the_loop_is_not_waited_for_for_ever() -> None:
    loop, may_go = asyncio.get_running_loop(), threading.Event()
    assert isinstance(loop, StandstillLoop)
    loop.thread_seconds = 0.05
    loop.call_later(3600, may_go.set)
    assert await asyncio.to_thread(may_go.wait, 60)
