"""Into Docker Engine, by its API on the unix socket; both of its image stores.

Guarantees that an image is in Docker under its tag, or that what stood there stands there still. The classic
store keeps one platform of an image and no digests of registries; what it cannot hold is refused with
the reason before its layers are fetched. Layers that Docker has are left out of what it is given: it looks
for each by itself, the classic store by its chain of diff IDs, the containerd store by its digest (there
Docker tells nothing of layers; its containerd does, to those who may ask it).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from sampan.errors import SinkError, SinkUnavailable
from sampan.oci.digest import Digest
from sampan.oci.manifest import Descriptor
from sampan.oci.reference import familiar
from sampan.pull.closure import Wanted
from sampan.pull.image import diff_ids_of_config
from sampan.pull.sink import Content, SinkSpec
from sampan.pull.sinks import SinkSetting
from sampan.pull.sinks.containerd import content_of, find_ctr
from sampan.pull.sinks.describe import describe, image_name, loaded_by_docker
from sampan.pull.sinks.engine import Engine
from sampan.pull.sinks.layers import held_in_chains
from sampan.pull.sinks.program import Feed, outlast
from sampan.pull.sinks.sockets import probe
from sampan.pull.sinks.stream import feed_of

ADDRESS = Path("/var/run/docker.sock")
ROOTLESS = "docker.sock"  # below $XDG_RUNTIME_DIR
UNIX = "unix://"
ZSTD_SINCE = 23  # the first major version whose classic store reads layers of zstd


def open_sink(spec: SinkSpec, setting: SinkSetting) -> DockerSink:  # noqa: ARG001 - as all sinks are opened
    """The sink for ``docker``. Raises SinkUnavailable for a DOCKER_HOST that is no unix socket."""
    return DockerSink(socket_of(setting.environ), setting.environ)


def socket_of(environ: Mapping[str, str]) -> Path:
    """Where Docker listens: DOCKER_HOST, else the usual socket, else that of rootless Docker if it exists."""
    told = environ.get("DOCKER_HOST", "")
    if told:
        if not told.startswith(f"{UNIX}/"):
            raise SinkUnavailable(
                f"DOCKER_HOST is {told}: only a unix socket can be loaded into",
                hint="DOCKER_HOST=unix:///var/run/docker.sock, or write an archive: --to docker-archive:FILE",
            )
        return Path(told.removeprefix(UNIX))
    runtime = environ.get("XDG_RUNTIME_DIR")
    own = Path(runtime, ROOTLESS) if runtime else None
    return own if own is not None and not ADDRESS.exists() and own.exists() else ADDRESS


class DockerSink:
    """``address``: the engine's socket. ``environ``: where to look for ``ctr``, and what it runs with."""

    name = "docker"

    def __init__(self, address: Path, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._containerd: tuple[str, str] | None = None
        self._address = address
        self._engine = Engine(address)
        self._version = ""
        self._keeps_indexes = False

    async def check(self) -> None:
        """Raises SinkUnavailable: no socket, no permission, nobody listening."""
        probe(
            self._address,
            runtime="Docker",
            service="docker",
            absent="is Docker installed and running? DOCKER_HOST=unix://SOCKET names another socket",
        )
        info = await asyncio.to_thread(self._engine.info)
        self._version = str(info.get("ServerVersion") or "")
        # The containerd image store; with the classic one it is the storage driver's own state.
        self._keeps_indexes = "io.containerd.snapshotter" in str(info.get("DriverStatus"))
        self._containerd = _containerd_of(info)

    async def present(self, wanted: Wanted, content: Content) -> frozenset[Digest]:
        """What Docker would find by itself. Raises SinkUnavailable for what this Docker cannot hold."""
        image = loaded_by_docker(wanted)
        if image is None:
            raise SinkUnavailable(f"{wanted.reference} is no image that Docker could load")
        if self._keeps_indexes:
            return await self._in_containerd() & {layer.digest for layer in wanted.layers}
        self._refuse_unfit(wanted)
        config = await asyncio.to_thread(content.read, image.config.digest)
        chains = await asyncio.to_thread(self._engine.chains)
        held = held_in_chains(image.layers, diff_ids_of_config(config), chains)
        self._refuse_zstd(wanted, [layer for layer in image.layers if layer.digest not in held])
        return held

    async def put(self, wanted: Wanted, content: Content) -> None:
        """Raises SinkUnavailable for what this Docker cannot hold, SinkError when it has no room."""
        held = await self.present(wanted, content)
        name = image_name(wanted.reference)
        had = await asyncio.to_thread(self._engine.image, name)
        feed = feed_of(wanted, content, names=[name], docker=describe(wanted).docker, without=held)
        try:
            await self._load(feed, wanted)
        except BaseException:
            if self._keeps_indexes:  # it names first and unpacks then
                await asyncio.to_thread(self._restore, wanted, name, had)
            raise
        if await asyncio.to_thread(self._engine.image, name) is None:
            raise SinkUnavailable(f"Docker loaded {wanted.reference}, and does not have it by that name")

    async def finish(self) -> None:
        """Nothing: each image is visible when it was put."""

    async def close(self) -> None:
        """Nothing is held."""

    async def _in_containerd(self) -> frozenset[Digest]:
        """The blobs of Docker's containerd; none where it is not for us to ask. It is best effort: they are
        fetched then, and given again."""
        if self._containerd is None:
            return frozenset()
        address, namespace = self._containerd
        try:
            command = (*find_ctr(self._environ), "--address", address, "--namespace", namespace)
            return await content_of(command, self._environ)
        except SinkError:
            return frozenset()

    def _restore(self, wanted: Wanted, name: str, had: Mapping[str, object] | None) -> None:
        """The name as it was; best effort, for the reason for it is what is to be told."""
        try:
            if had is None:
                self._engine.untag(name)
            elif wanted.reference.tag is not None:
                self._engine.tag(str(had.get("Id")), wanted.reference)
        except SinkError:
            return

    async def _load(self, feed: Feed, wanted: Wanted) -> None:
        doing = f"Docker did not take {wanted.reference}"
        loading = asyncio.create_task(asyncio.to_thread(self._engine.load, feed, doing=doing))
        try:
            await asyncio.shield(loading)
        except asyncio.CancelledError:
            self._engine.cut()
            await outlast(loading)
            raise

    def _refuse_unfit(self, wanted: Wanted) -> None:
        """What the classic store cannot hold, with what to do instead."""
        if wanted.reference.tag is None:
            raise SinkUnavailable(
                f"Docker {self._version} keeps no digests: {wanted.reference} would have no name there",
                hint=f"name it: {wanted.reference.name}:TAG@{wanted.root.digest}",
            )
        if len(wanted.platforms) > 1:
            raise SinkUnavailable(
                f"Docker {self._version} keeps one platform of {wanted.reference}, "
                f"not {len(wanted.platforms)}",
                hint=f"sampan pull --to docker --platform {wanted.platforms[0]} {familiar(wanted.reference)}",
            )

    def _refuse_zstd(self, wanted: Wanted, layers: Sequence[Descriptor]) -> None:
        """Layers that it would have to unpack."""
        if _major(self._version) < ZSTD_SINCE and any(_is_zstd(layer) for layer in layers):
            raise SinkUnavailable(
                f"Docker {self._version} cannot read the layers of {wanted.reference}: they are zstd",
                hint=f"Docker {ZSTD_SINCE}.0 and newer can; or pull into containerd or podman",
            )


def _containerd_of(info: Mapping[str, object]) -> tuple[str, str] | None:
    """Address and namespace of the containerd that Docker uses, when it says so (since 28)."""
    told = info.get("Containerd")
    namespaces = told.get("Namespaces") if isinstance(told, dict) else None
    if not isinstance(told, dict) or not isinstance(namespaces, dict):
        return None
    address, namespace = told.get("Address"), namespaces.get("Containers")
    return (str(address), str(namespace)) if address and namespace else None


def _is_zstd(layer: Descriptor) -> bool:
    return layer.media_type.endswith("zstd")


def _major(version: str) -> int:
    """0 for what cannot be told: such an engine is taken for an old one."""
    first = version.partition(".")[0]
    return int(first) if first.isascii() and first.isdigit() else 0
