"""Rows X of the catalogue that no part's own tests show, and D9: limits and signals, on real processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from faults.client import download
from interop.serving import Serving, serving
from rig import assert_store_is_sound
from sampan.testing import FakeRegistry, Image, Match, ServerThread, faults, image, random_layer
from sampan.testing.body import Body
from sampan.testing.images import OCI_LAYER, Content

MIB = 1024 * 1024
REPOSITORY = "library/alpine"
IMAGE = image(REPOSITORY, "3", layers=[random_layer(n, 300_000) for n in range(8)])
LARGE = image(REPOSITORY, "large", layers=[random_layer(1, 24 * MIB)])


async def pull(netloc: str, of: Image) -> None:
    """The manifest, then its blobs side by side, each hashed."""
    await download(netloc, f"/v2/{of.repository}/manifests/{of.tag}")
    blobs = [download(netloc, f"/v2/{of.repository}/blobs/{blob.digest}") for blob in of.blobs]
    for blob, (size, digest) in zip(of.blobs, await asyncio.gather(*blobs), strict=True):
        assert (size, str(digest)) == (blob.size, blob.digest)


@contextlib.contextmanager
def served(
    path: Path, host: FakeRegistry, within: tuple[str, ...] = (), **options: object
) -> Iterator[Serving]:
    """``sampan serve`` with ``host``, run ``within`` a command that limits it."""
    with ServerThread(host):  # its address is known from now on
        table: dict[str, object] = {"url": host.url, **options}
        with serving(path, [table], home=path, within=within) as mirror:
            yield mirror


def metric(mirror: Serving, name: str) -> float:
    lines = mirror.get("/metrics")[2].decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


# -- D9: too many open files ---------------------------------------------------------------------------

FILES, BEARABLE = 256, (256 - 64) // 3


@contextlib.contextmanager
def idle(netloc: str, count: int) -> Iterator[list[socket.socket]]:
    """So many connections that ask for nothing."""
    host, _, port = netloc.rpartition(":")
    with contextlib.ExitStack() as opened:
        yield [opened.enter_context(socket.create_connection((host, int(port)))) for _ in range(count)]


def test_d9_where_few_files_may_be_open_the_next_client_is_told_to_come_back(tmp_path: Path) -> None:
    host = FakeRegistry("host")
    host.add(IMAGE)
    limit = ("prlimit", f"--nofile={FILES}:{FILES}")
    with served(tmp_path, host, within=limit) as mirror:
        with idle(mirror.netloc, BEARABLE) as connections:
            status, headers, _ = mirror.get("/healthz")
            assert (status, int(headers["retry-after"]) >= 1) == (503, True)
            for connection in connections[: len(IMAGE.blobs) + 1]:
                connection.close()
            while mirror.get("/healthz")[0] != 200:
                pass  # until it has noticed
            asyncio.run(pull(mirror.netloc, IMAGE))
            assert len(host.requests) <= 1 + len(IMAGE.blobs)
        assert metric(mirror, "sampan_connections_refused_total") >= 1
        log = mirror.process.log.read_text()
        assert f"only {BEARABLE} connections at a time: of open files {FILES} are allowed" in log
        assert "Too many open files" not in log
    assert assert_store_is_sound(mirror.store) == 1 + len(IMAGE.blobs)


# -- X4: told to stop in the middle ----------------------------------------------------------------------


async def _told_to_stop_in_mid_blob(mirror: Serving, host: FakeRegistry) -> None:
    layer = LARGE.layers[0]
    path = f"/v2/{REPOSITORY}/blobs/{layer.digest}"
    answer = asyncio.create_task(download(mirror.netloc, path))
    while not host.count(kind="blob"):
        await asyncio.sleep(0)
    mirror.process.popen.send_signal(signal.SIGTERM)
    while "stopping" not in mirror.process.log.read_text():
        await asyncio.sleep(0)
    with pytest.raises((OSError, asyncio.IncompleteReadError), match=r"failed|reset by peer|bytes read"):
        await download(mirror.netloc, path)
    size, digest = await answer
    assert (size, str(digest)) == (layer.size, layer.digest)


def test_x4_a_signal_in_mid_blob_lets_the_answer_end_and_takes_no_more(tmp_path: Path) -> None:
    host = FakeRegistry("host")
    host.add(LARGE)
    host.script(faults.bandwidth(40 * MIB), on=Match(kind="blob"))  # it is under way for half a second
    with served(tmp_path, host) as mirror:
        asyncio.run(pull_manifest(mirror.netloc))
        asyncio.run(_told_to_stop_in_mid_blob(mirror, host))
        assert mirror.process.popen.wait(10.0) == 0
    assert assert_store_is_sound(mirror.store) == 2
    assert list((mirror.store / "ingest").iterdir()) == []


async def pull_manifest(netloc: str) -> None:
    await download(netloc, f"/v2/{REPOSITORY}/manifests/large")


# -- X7: little memory ----------------------------------------------------------------------------------

HUGE = "library/huge"
BLOBS, BLOB_BYTES, LIMIT_BYTES = 100, 1024 * MIB, 256 * MIB
ARRIVING_BYTES = 3 * MIB  # of each blob, then the host stalls: 300 MiB in all, more than the memory there is


def huge_image() -> Image:
    """A hundred layers of a gibibyte each. Their bytes are one piece of memory again and again, and their
    digests are made up: nobody comes to the end of one."""
    body = Body((bytes(MIB),) * (BLOB_BYTES // MIB))
    layers = [Content(body, OCI_LAYER, f"sha256:{number:064x}") for number in range(BLOBS)]
    document = {
        "schemaVersion": 2,
        "mediaType": IMAGE.manifest.media_type,
        "config": IMAGE.blobs[0].descriptor(),
        "layers": [layer.descriptor() for layer in layers],
    }
    manifest = Content.of(json.dumps(document).encode(), IMAGE.manifest.media_type)
    # In a repository of its own: what stalls there says nothing of others.
    return replace(IMAGE, repository=HUGE, tag="huge", manifest=manifest, layers=tuple(layers))


async def _a_hundred_at_once(netloc: str, huge: Image) -> None:
    """Each has what may leave of it; then all are there at once, and an image of another kind is pulled."""
    await download(netloc, f"/v2/{HUGE}/manifests/huge")
    begun = asyncio.Semaphore(0)

    async def follow(layer: Content) -> None:
        reader, writer = await asyncio.open_connection(*netloc.split(":"))
        path = f"/v2/{HUGE}/blobs/{layer.digest}"
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            for _ in range(2):
                assert await reader.readexactly(MIB) == bytes(MIB)
            begun.release()
            await reader.read()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    following = [asyncio.create_task(follow(layer)) for layer in huge.layers]
    for _ in following:
        await begun.acquire()
    await pull(netloc, IMAGE)
    for task in following:
        task.cancel()
    await asyncio.gather(*following, return_exceptions=True)


def test_x7_a_hundred_blobs_of_a_gibibyte_at_once_need_little_memory(tmp_path: Path) -> None:
    huge = huge_image()
    host = FakeRegistry("host")
    for one in (IMAGE, huge):
        host.add(one)
    host.script(faults.stalls(ARRIVING_BYTES), on=Match(kind="blob", repository=HUGE))
    limit = ("prlimit", f"--data={LIMIT_BYTES}")
    options = {"verify": "stream", "max_connections": BLOBS + 20}
    with served(tmp_path, host, limit, **options) as mirror:
        asyncio.run(_a_hundred_at_once(mirror.netloc, huge))
        assert mirror.peak_memory_bytes() < LIMIT_BYTES
        assert mirror.get("/readyz")[0] == 200
    assert_store_is_sound(mirror.store)
