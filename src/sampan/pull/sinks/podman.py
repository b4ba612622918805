"""Into podman, by ``podman load``: it has no daemon that could be asked.

Guarantees that an image is in podman's storage under its name with its original digest, or not at all: podman
reads the whole archive before it names anything. It keeps one platform of an image. Layers that it has are
left out of what it is given: it looks for each by its digest first. podman itself tells no digests; the
list of its storage does, which lies where podman says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from sampan.errors import SinkUnavailable
from sampan.oci.digest import Digest
from sampan.oci.reference import familiar
from sampan.pull.closure import Wanted
from sampan.pull.sink import Content, SinkSpec
from sampan.pull.sinks import SinkSetting
from sampan.pull.sinks.describe import describe, image_name, loaded_by_docker
from sampan.pull.sinks.layers import digests_in_storage
from sampan.pull.sinks.program import FEED_TIMEOUT_SECONDS, find_program, refused, run_program
from sampan.pull.sinks.stream import feed_of

PROGRAM = "podman"
STORAGE_FORM = "{{.Host.ServiceIsRemote}} {{.Store.GraphDriverName}} {{.Store.GraphRoot}}"
LAYERS_BYTES_MAX = 256 * 1024 * 1024  # some 400 bytes a layer


def open_sink(spec: SinkSpec, setting: SinkSetting) -> PodmanSink:  # noqa: ARG001 - as all sinks are opened
    """The sink for ``podman``."""
    return PodmanSink(setting.environ)


class PodmanSink:
    """``environ``: for podman, and where to look for it."""

    name = "podman"

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._program: Path | None = None

    async def check(self) -> None:
        """Raises SinkUnavailable: no podman, or one that does not work."""
        self._program = find_program(PROGRAM, self._environ)
        if self._program is None:
            raise SinkUnavailable(
                "podman is not here", hint="install it, or choose another sink with --to: oci-archive:FILE"
            )
        ended = await run_program(
            [self._program, "image", "exists", "scratch.invalid/none"], environ=self._environ
        )
        if ended.code not in (0, 1):  # 1 is no; all else is podman's trouble with itself
            raise SinkUnavailable(f"podman does not work: {ended.words}", hint="podman info shows more")

    async def present(self, wanted: Wanted, content: Content) -> frozenset[Digest]:  # noqa: ARG002
        """What podman would find by itself. Raises SinkUnavailable for what it cannot hold."""
        if loaded_by_docker(wanted) is None:
            raise SinkUnavailable(f"{wanted.reference} is no image that podman could load")
        if len(wanted.platforms) > 1:
            raise SinkUnavailable(
                f"podman loads one platform of {wanted.reference}, not {len(wanted.platforms)}",
                hint=f"sampan pull --to podman --platform {wanted.platforms[0]} {familiar(wanted.reference)}",
            )
        stored = await self._in_storage()
        return stored & {layer.digest for layer in wanted.layers}

    async def put(self, wanted: Wanted, content: Content) -> None:
        """Raises SinkUnavailable for what podman cannot hold, SinkError when it has no room."""
        assert self._program is not None, "check() comes first"
        held = await self.present(wanted, content)
        name = image_name(wanted.reference)
        feed = feed_of(wanted, content, names=[name], docker=describe(wanted).docker, without=held)
        ended = await run_program(
            [self._program, "load", "--quiet"],
            environ=self._environ,
            feed=feed,
            timeout_seconds=FEED_TIMEOUT_SECONDS,
        )
        if ended.code:
            raise refused(f"podman did not take {wanted.reference}", ended.words)

    async def _in_storage(self) -> frozenset[Digest]:
        """The blobs that its layers were made of; none where its storage is not on this machine, or not for
        us to read. It is best effort: they are fetched then, and given again."""
        assert self._program is not None, "check() comes first"
        ended = await run_program([self._program, "info", "--format", STORAGE_FORM], environ=self._environ)
        is_remote, _, place = ended.output.strip().partition(" ")
        driver, _, root = place.partition(" ")
        if ended.code or is_remote != "false" or not root:
            return frozenset()
        return await asyncio.to_thread(_read_layers, Path(root, f"{driver}-layers", "layers.json"))

    async def finish(self) -> None:
        """Nothing: each image is visible when it was put."""

    async def close(self) -> None:
        """Nothing is held."""


def _read_layers(path: Path) -> frozenset[Digest]:
    try:
        with path.open("rb") as file:
            raw = file.read(LAYERS_BYTES_MAX + 1)
    except OSError:
        return frozenset()
    return digests_in_storage(raw) if len(raw) <= LAYERS_BYTES_MAX else frozenset()
