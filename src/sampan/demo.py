"""The origin story on loopback, in seconds: what a mirror that fails does to a pull, and what sampan does.

Two hosts with a small image, the first answering 502 on every blob; the real mirror and its real HTTP
front between them and a client that asks as containerd does. Nothing leaves the machine or stays on it.
"""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from sampan.config import Config
from sampan.config.build import build
from sampan.server.app import Server
from sampan.server.settings import ServerSettings
from sampan.testing import FakeRegistry, Image, Match, faults, image, random_layer

MIB = 1024 * 1024
Say = Callable[[str], None]

NAMES = {  # what people type, and the path that containerd makes of it
    "alpine:3": "/v2/library/alpine",
    "docker.io/alpine:3": "/v2/alpine",  # ctr does not add library/
}


@dataclass(frozen=True, slots=True)
class Fetched:
    """One object as a client got it: ``source`` is what sampan said gave it."""

    size: int
    source: str
    stale: bool
    body: bytes


async def run(say: Say) -> bool:
    """Tell the story through ``say``, a line at a time; whether every pull succeeded and was right."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sampan-demo-")))
        broken = await stack.enter_async_context(FakeRegistry("A", host="127.0.0.1"))
        healthy = await stack.enter_async_context(FakeRegistry("B", host="127.0.0.2"))
        alpine = healthy.add(broken.add(_an_image()))
        broken.script(faults.status(502), on=Match(kind="blob"))
        server = await _start(stack, directory, broken, healthy)
        names = {broken.netloc: "mirror A", healthy.netloc: "mirror B", "store": "the store"}
        say("Docker Hub is out of reach. There are two mirrors, and sampan in front of them:")
        say(f"  mirror A  {broken.url}   answers manifests, and 502 Bad Gateway for every blob")
        say(f"  mirror B  {healthy.url}   works")
        say(f"  sampan    {server}")
        good = True
        for name, path in NAMES.items():
            good &= await _pull(say, name, path, server, alpine, names)
        say(f"mirror A was asked {broken.count(kind='blob')} times for a blob, and failed each time.")
        await broken.close()
        await healthy.close()
        say("")
        say("Now both mirrors are gone.")
        good &= await _pull(say, "alpine:3", NAMES["alpine:3"], server, alpine, names)
        say("")
        say("Every byte was checked against its digest." if good else "Something went wrong above.")
        say("Next: `sampan serve --help`, then name your mirrors in sampan.toml.")
        return good


def _an_image() -> Image:
    """Two layers: one small, one above the size up to which sampan checks before it sends."""
    layers = [random_layer(1, 3 * MIB, compressed=True), random_layer(2, 12 * MIB)]
    return image("library/alpine", "3", layers=layers)


async def _start(stack: AsyncExitStack, directory: Path, broken: FakeRegistry, healthy: FakeRegistry) -> str:
    """A mirror with its store in ``directory``, configured as a file would."""
    text = (
        f'[store]\npath = "{directory / "store"}"\n[tags]\nfresh_for = "0s"\n'
        f'[registry."docker.io"]\nmirrors = ["{broken.url}", "{healthy.url}"]\norigin = "never"\n'
    )
    mirror = await asyncio.to_thread(lambda: build(Config.parse(text, environ={})))
    server = Server(mirror, ServerSettings(port=0, log_format="none"))
    await server.start()
    stack.push_async_callback(server.stop)
    return server.url


async def _pull(say: Say, name: str, path: str, server: str, alpine: Image, names: dict[str, str]) -> bool:
    """What a runtime does for ``name``: the manifest by its tag, then every blob by its digest."""
    began = time.perf_counter()
    say("")
    say(f"$ pull {name}")
    manifest = await asyncio.to_thread(_get, server, f"{path}/manifests/3?ns=docker.io")
    source = names.get(manifest.source, manifest.source)
    note = ", marked stale: no host could confirm what the tag means" if manifest.stale else ""
    say(f"  manifest          from {source}{note}")
    document = json.loads(manifest.body)
    right = manifest.body == alpine.raw
    for descriptor in (document["config"], *document["layers"]):
        blob = await asyncio.to_thread(_get, server, f"{path}/blobs/{descriptor['digest']}?ns=docker.io")
        right &= "sha256:" + hashlib.sha256(blob.body).hexdigest() == descriptor["digest"]
        kind = "config" if descriptor is document["config"] else "layer "
        say(f"  {kind}  {_size(blob.size):>9}  from {names.get(blob.source, blob.source)}")
    say(f"  {'done' if right else 'WRONG BYTES'} in {time.perf_counter() - began:.2f} s")
    return right


def _get(server: str, path: str) -> Fetched:
    connection = http.client.HTTPConnection(server.removeprefix("http://"), timeout=30)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        source = response.getheader("X-Sampan-Source") or f"nobody: {response.status}"
        return Fetched(len(body), source, response.getheader("Warning") is not None, body)
    finally:
        connection.close()


def _size(count: int) -> str:
    return f"{count / MIB:.1f} MiB" if count >= MIB else f"{count / 1024:.1f} KiB"
