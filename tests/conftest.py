"""What every test is held to: no task outlives it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio


@pytest_asyncio.fixture(autouse=True)
async def no_task_is_left_running() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    others = asyncio.all_tasks() - before - {asyncio.current_task()}
    left = [task for task in others if not task.done()]
    assert not left, f"tasks left running: {left}"
