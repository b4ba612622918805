"""A mirror that is killed with -9 at random moments of concurrent pulls, and what is owed after it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from faults.client import download
from interop.serving import Mirror, Serving, serving
from rig import assert_store_is_sound
from sampan.testing import FakeRegistry, Image, ServerThread, image, random_layer

MIB = 1024 * 1024
IMAGES = 4
COMMANDS = (
    ("sweep", "--to", "20MiB"),
    ("sweep", "--dry-run"),
    ("scrub", "--rate", "unlimited"),
    ("list", "--blobs"),
    ("remove", "image0:3"),
    ("pin", "image1:3"),
    ("unpin", "image1:3"),
)


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


def kill_again_and_again(path: Path, kills: int, *, seed: int, commands: bool = False) -> None:
    """Pull, and kill, ``kills`` times; with ``commands``, ``sampan store`` is at work beside it, and is
    killed, too. After each death no blob is wrong, and at the end everything can be pulled, once."""
    host = FakeRegistry("host")
    images = [host.add(each) for each in some_images()]
    moments = random.Random(seed)
    whole = sum(blob.size for each in images for blob in each.blobs)
    with ServerThread(host):
        mirrors: list[Mirror] = [{"url": host.url, "verify": "stream"}]
        for _ in range(kills):
            with serving(path, mirrors, home=path) as mirror:
                count = moments.randrange(whole // 8)
                beside = _command(mirror, moments.choice(COMMANDS)) if commands else None
                asyncio.run(pull_until_killed(mirror.netloc, images, mirror.process.kill, host, count))
                if beside is not None:
                    beside.kill()
                    beside.wait()
            assert_store_is_sound(mirror.store)
        with serving(path, mirrors, home=path) as mirror:
            asyncio.run(pull_all(mirror.netloc, images))
            sent = sent_by(host)
            asyncio.run(pull_all(mirror.netloc, images))
            assert sent_by(host) == sent
        assert assert_store_is_sound(mirror.store) == sum(len(each.blobs) + 1 for each in images)
        resumed = [r for r in host.requests if r.kind == "blob" and r.headers.get("range")]
        assert resumed, "no download was ever taken up again"
        assert sent < kills * whole


def _command(mirror: Serving, words: tuple[str, ...]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "sampan.cli", "store", *words, "--store", str(mirror.store)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=mirror.home)
