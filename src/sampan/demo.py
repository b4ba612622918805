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
from sampan.config.build import Lasting, build
from sampan.config.environment import Language
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


TEXTS: dict[Language, dict[str, str]] = {
    "en": {
        "scene": "Docker Hub is out of reach. There are two mirrors, and sampan in front of them:",
        "broken": "answers manifests, and 502 Bad Gateway for every blob",
        "healthy": "works",
        "mirror": "mirror",
        "store": "the store",
        "from": "from",
        "stale": "marked stale: no host could confirm what the tag means",
        "done": "done",
        "wrong": "WRONG BYTES",
        "asked": "Requests to mirror A that met its 502, in both pulls together:",
        "gone": "Now both mirrors are gone.",
        "right": "Every byte was checked against its digest.",
        "failed": "Something went wrong above.",
        "next": "Next: `sampan serve --help`, then name your mirrors in sampan.toml.",
    },
    "zh": {
        "scene": "Docker Hub 访问不了。有两个镜像站，sampan 站在它们前面：",
        "broken": "manifest 正常，每个 blob 都返回 502 Bad Gateway",
        "healthy": "正常",
        "mirror": "镜像站",
        "store": "本地存储",
        "from": "来自",
        "stale": "标为陈旧：没有主机能确认这个标签的含义",
        "done": "完成",
        "wrong": "内容错误",
        "asked": "两次拉取中，向镜像站 A 发出且遇到 502 的请求数：",
        "gone": "现在两个镜像站都断开了。",
        "right": "每个字节都按摘要校验过。",
        "failed": "上面出了问题。",
        "next": "下一步：运行 `sampan serve --help`，再把你的镜像站写进 sampan.toml。",
    },
}


async def run(say: Say, language: Language = "en") -> bool:
    """Tell the story through ``say``, a line at a time; whether every pull succeeded and was right."""
    text = TEXTS[language]
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sampan-demo-")))
        broken = await stack.enter_async_context(FakeRegistry("A", host="127.0.0.1"))
        healthy = await stack.enter_async_context(FakeRegistry("B", host="127.0.0.2"))
        alpine = healthy.add(broken.add(_an_image()))
        broken.script(faults.status(502), on=Match(kind="blob"))
        server = await _start(stack, directory, broken, healthy)
        names = {
            broken.netloc: f"{text['mirror']} A",
            healthy.netloc: f"{text['mirror']} B",
            "store": text["store"],
        }
        show = Show(say, text, names, server, alpine)
        say(text["scene"])
        say(f"  {names[broken.netloc]}  {broken.url}   {text['broken']}")
        say(f"  {names[healthy.netloc]}  {healthy.url}   {text['healthy']}")
        say(f"  sampan    {server}")
        good = True
        for name in NAMES:
            good &= await show.pull(name)
        say("")
        say(f"{text['asked']} {broken.count(kind='blob')}")
        await broken.close()
        await healthy.close()
        say(text["gone"])
        good &= await show.pull("alpine:3")
        say("")
        say(text["right" if good else "failed"])
        say(text["next"])
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
    config = Config.parse(text, environ={})
    lasting = await asyncio.to_thread(Lasting.of, config)
    stack.callback(lasting.close)
    mirror = build(config, lasting=lasting)
    server = Server(mirror, ServerSettings(port=0, log_format="none"))
    await server.start()
    stack.push_async_callback(server.stop)
    return server.url


@dataclass(frozen=True, slots=True)
class Show:
    """Pulls from ``server`` and says where each part came from; ``names`` are for hosts."""

    say: Say
    text: dict[str, str]
    names: dict[str, str]
    server: str
    alpine: Image

    async def pull(self, name: str) -> bool:
        """What a runtime does for ``name``: the manifest by its tag, then every blob by its digest."""
        began = time.perf_counter()
        self.say("")
        self.say(f"$ pull {name}")
        path = NAMES[name]
        manifest = await asyncio.to_thread(_get, self.server, f"{path}/manifests/3?ns=docker.io")
        self._line("manifest", manifest)
        right = manifest.body == self.alpine.raw
        document = json.loads(manifest.body)
        for kind, descriptor in [("config", document["config"]), *(("layer", d) for d in document["layers"])]:
            digest = descriptor["digest"]
            blob = await asyncio.to_thread(_get, self.server, f"{path}/blobs/{digest}?ns=docker.io")
            right &= "sha256:" + hashlib.sha256(blob.body).hexdigest() == digest
            self._line(kind, blob)
        self.say(f"  {self.text['done' if right else 'wrong']}, {time.perf_counter() - began:.2f} s")
        return right

    def _line(self, kind: str, got: Fetched) -> None:
        stale = f", {self.text['stale']}" if got.stale else ""
        source = self.names.get(got.source, got.source)
        self.say(f"  {kind:8}  {_size(got.size):>9}  {self.text['from']} {source}{stale}")


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
