"""What every test is held to: no task outlives it, and no machine is too slow for it.

Time stands still in tests/contract, and in tests that ask for it (``standstill``), while anything happens in
the event loop; not so where that would be wrong (``real_time``): a part of the test is another process, say.
"""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings

from standstill import StandstillLoop

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", settings.get_profile("any machine"), max_examples=20)  # make check
settings.load_profile("any machine")


def pytest_configure() -> None:
    """What a shell runs behind it ignores Ctrl-C, and so would all that the tests start and interrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    wanted = item.get_closest_marker("standstill") or "contract" in item.path.parts
    stands_still = wanted and not item.get_closest_marker("real_time")
    return {"loop": StandstillLoop if stands_still else asyncio.new_event_loop}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A loop of its own costs a test as much as all the rest of many a one: only who has one is looked at."""
    for item in items:
        if isinstance(item, pytest.Function) and pytest_asyncio.is_async_test(item):
            item.fixturenames.insert(0, no_task_is_left_running.__name__)


def pytest_collection_finish() -> None:
    """What was collected stays: no need to look through it at each collection of garbage."""
    gc.collect()
    gc.freeze()


@pytest_asyncio.fixture
async def no_task_is_left_running() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    others = asyncio.all_tasks() - before - {asyncio.current_task()}
    left = [task for task in others if not task.done()]
    assert not left, f"tasks left running: {left}"
