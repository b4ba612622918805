"""Rows N of the catalogue: what goes wrong before a host has said a word of HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.trial import trial
from sampan.testing import FakeRegistry, image, random_layer
from sampan.upstream.host import Host

pytestmark = pytest.mark.standstill

ALPINE = image("library/alpine", "3", layers=[random_layer(1, 200_000)])


async def test_n1_connection_refused(tmp_path: Path) -> None:
    async with FakeRegistry("gone") as gone:
        url = gone.url
    async with FakeRegistry("good", host="127.0.0.2") as good:
        good.add(ALPINE)
        async with trial(tmp_path, [Host.from_url(url), Host.from_url(good.url)]) as endured:
            await endured.pull(ALPINE)
            await endured.assert_endured(
                url.partition("://")[2], reasons=["refused"], seconds_max=0.1, holds=[ALPINE]
            )
