"""The two hosts that tests of the mirror are about: one to misbehave, and one that works behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from sampan.testing import FakeRegistry


@pytest.fixture
async def bad() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry("bad") as registry:
        yield registry


@pytest.fixture
async def good() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry("good", host="127.0.0.2") as registry:
        yield registry
