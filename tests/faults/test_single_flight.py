"""P1, P2, P4: many clients, one download, bounded memory; in a real process of its own."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from faults.client import download, sip
from interop.serving import Serving, serving
from sampan.testing import FakeRegistry, Image, ServerThread, image, random_layer_file

MIB = 1024 * 1024
SIZE = 256 * MIB
MEMORY_BYTES_MAX = 150 * MIB
CLIENTS = 100


def big_image(directory: Path) -> Image:
    return image("library/alpine", "3", layers=[random_layer_file(directory / "layer", 7, SIZE)])


async def pull_by_many(mirror: Serving, alpine: Image) -> None:
    """A hundred clients at once: the first leaves at a tenth, one reads 10 KB/s, the others finish."""
    layer = alpine.layers[0].digest
    path = f"/v2/library/alpine/blobs/{layer}?ns=docker.io"
    first = asyncio.create_task(download(mirror.netloc, path, stop_after=SIZE // 10))
    slow = asyncio.create_task(sip(mirror.netloc, path, bytes_per_second=10_000))
    others = [asyncio.create_task(download(mirror.netloc, path)) for _ in range(CLIENTS - 2)]
    for count, digest in await asyncio.gather(*others):
        assert (count, str(digest)) == (SIZE, layer)
    assert (await first)[0] >= SIZE // 10
    assert not slow.done(), "whoever reads 10 KB/s is still served"
    slow.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await slow


@pytest.mark.row("P1", "P2", "P4")
def test_a_hundred_clients_of_an_absent_blob_cost_one_download_and_little_memory(tmp_path: Path) -> None:
    host = FakeRegistry("host")
    alpine = host.add(big_image(tmp_path))
    with ServerThread(host), serving(tmp_path, [{"url": host.url, "verify": "stream"}]) as mirror:
        assert mirror.get("/v2/library/alpine/manifests/3?ns=docker.io")[0] == 200
        asyncio.run(pull_by_many(mirror, alpine))
        assert host.count(kind="blob") == 1
        assert sum(r.bytes_sent for r in host.requests if r.kind == "blob") <= SIZE
        assert mirror.peak_memory_bytes() < MEMORY_BYTES_MAX
