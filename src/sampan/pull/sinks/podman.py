"""Into podman, by ``podman load``: it has no daemon that could be asked.

Guarantees that an image is in podman's storage under its name with its original digest, or not at all: podman
reads the whole archive before it names anything. Its layers are not told by digest, so none is left
out. It keeps one platform of an image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sampan.errors import SinkUnavailable
from sampan.oci.digest import Digest
from sampan.oci.manifest import Descriptor
from sampan.oci.reference import familiar
from sampan.pull.closure import Wanted
from sampan.pull.sink import Content, SinkSpec
from sampan.pull.sinks import SinkSetting
from sampan.pull.sinks.describe import describe, image_name
from sampan.pull.sinks.program import FEED_TIMEOUT_SECONDS, find_program, refused, run_program
from sampan.pull.sinks.stream import feed_of

PROGRAM = "podman"


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

    async def present(self, blobs: Sequence[Descriptor]) -> frozenset[Digest]:  # noqa: ARG002 - the protocol's
        """None that could be told: see the module."""
        return frozenset()

    async def put(self, wanted: Wanted, content: Content) -> None:
        """Raises SinkUnavailable for what podman cannot hold, SinkError when it has no room."""
        assert self._program is not None, "check() comes first"
        described = describe(wanted)
        if described.docker is None:
            raise SinkUnavailable(f"{wanted.reference} is no image that podman could load")
        if len(wanted.platforms) > 1:
            raise SinkUnavailable(
                f"podman loads one platform of {wanted.reference}, not {len(wanted.platforms)}",
                hint=f"sampan pull --to podman --platform {wanted.platforms[0]} {familiar(wanted.reference)}",
            )
        name = image_name(wanted.reference)
        feed = feed_of(wanted, content, names=[name], docker=described.docker)
        ended = await run_program(
            [self._program, "load", "--quiet"],
            environ=self._environ,
            feed=feed,
            timeout_seconds=FEED_TIMEOUT_SECONDS,
        )
        if ended.code:
            raise refused(f"podman did not take {wanted.reference}", ended.words)

    async def finish(self) -> None:
        """Nothing: each image is visible when it was put."""

    async def close(self) -> None:
        """Nothing is held."""
