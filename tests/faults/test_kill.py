"""X1: kill -9 at random moments of concurrent pulls, again and again."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from pathlib import Path

from faults.client import download
from interop.serving import Mirror, serving
from rig import assert_store_is_sound
from sampan.testing import FakeRegistry, Image, ServerThread, image, random_layer

MIB = 1024 * 1024
KILLS = 50
IMAGES = 4


def some_images() -> list[Image]:
    """Layers below and above what is verified before it leaves."""
    return [
        image(
            f"library/image{n}",
            "3",
            layers=[
                random_layer(10 * n, 400_000),
                random_layer(10 * n + 1, 12 * MIB),
                random_layer(10 * n + 2, 3 * MIB),
            ],
        )
        for n in range(IMAGES)
    ]


async def pull_all(netloc: str, images: list[Image]) -> None:
    """Every manifest and blob of every image at once, each hashed."""

    async def manifest_then_blobs(each: Image) -> None:
        await download(netloc, f"/v2/{each.repository}/manifests/3?ns=docker.io")
        for blob in each.blobs:
            _, digest = await download(netloc, f"/v2/{each.repository}/blobs/{blob.digest}?ns=docker.io")
            assert str(digest) == blob.digest

    await asyncio.gather(*(manifest_then_blobs(each) for each in images))


async def pull_until_killed(
    netloc: str, images: list[Image], kill: Callable[[], None], host: FakeRegistry, count_bytes: int
) -> None:
    """Killed once ``host`` has sent so much more: that is what is random here."""
    stop = sent_by(host) + count_bytes
    pull = asyncio.create_task(pull_all(netloc, images))
    while sent_by(host) < stop and not pull.done():
        await asyncio.sleep(0)
    kill()
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        await pull


def sent_by(host: FakeRegistry) -> int:
    return sum(request.bytes_sent for request in host.requests if request.kind == "blob")


def test_fifty_kills_leave_no_wrong_byte_and_the_pull_succeeds(tmp_path: Path) -> None:
    host = FakeRegistry("host")
    images = [host.add(each) for each in some_images()]
    moments = random.Random(20261123)
    whole = sum(blob.size for each in images for blob in each.blobs)
    with ServerThread(host):
        mirrors: list[Mirror] = [{"url": host.url, "verify": "stream"}]
        for _ in range(KILLS):
            with serving(tmp_path, mirrors, home=tmp_path) as mirror:
                count = moments.randrange(whole // 8)
                asyncio.run(pull_until_killed(mirror.netloc, images, mirror.process.kill, host, count))
            assert_store_is_sound(mirror.store)
        with serving(tmp_path, mirrors, home=tmp_path) as mirror:
            asyncio.run(pull_all(mirror.netloc, images))
            sent = sent_by(host)
            asyncio.run(pull_all(mirror.netloc, images))
            assert sent_by(host) == sent
        assert assert_store_is_sound(mirror.store) == sum(len(each.blobs) + 1 for each in images)
        resumed = [r for r in host.requests if r.kind == "blob" and r.headers.get("range")]
        assert resumed, "no download was ever taken up again"
        assert sent < KILLS * whole
