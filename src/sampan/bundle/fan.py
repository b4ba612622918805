"""Many images into one registry, each into a repository of its own: ``registry:HOST/{repository}``.

Guarantees that no two images are put into one repository that come from two, unless the template says so.
Each repository is a sink of :mod:`sampan.pull.sinks.registry`; how they push is known there.
"""

from __future__ import annotations

from collections.abc import Callable

from sampan.errors import UsageError
from sampan.oci.digest import Digest
from sampan.oci.reference import Reference
from sampan.pull.closure import Wanted
from sampan.pull.sink import Content, Sink, SinkSpec, parse_sink

REPOSITORY, REGISTRY = "{repository}", "{registry}"
_EXAMPLE = "registry:registry.lan:5000/{registry}/{repository}"


def is_template(text: str) -> bool:
    """Whether ``text``, a sink, has places for names of images. Raises UsageError for one that may not."""
    if "{" not in text:
        return False
    bare = text.replace(REPOSITORY, "").replace(REGISTRY, "")
    if not text.startswith("registry:") or REPOSITORY not in text or "{" in bare:
        raise UsageError(f"not a template of a registry: {text!r}", hint=f"write --to {_EXAMPLE}")
    return True


class FanSink:
    """See :class:`sampan.pull.sink.Sink`. ``make``: opens the sink of one repository."""

    def __init__(self, template: str, make: Callable[[SinkSpec], Sink]) -> None:
        self.name = template
        self._template = template
        self._make = make
        self._sinks: dict[str, Sink] = {}
        parse_sink(template.replace(REPOSITORY, "a").replace(REGISTRY, "a"))

    async def check(self) -> None:
        """Each repository is checked when its first image comes."""

    async def present(self, wanted: Wanted, content: Content) -> frozenset[Digest]:
        return await (await self._of(wanted.reference)).present(wanted, content)

    async def put(self, wanted: Wanted, content: Content) -> None:
        await (await self._of(wanted.reference)).put(wanted, content)

    async def finish(self) -> None:
        for sink in self._sinks.values():
            await sink.finish()

    async def close(self) -> None:
        for sink in self._sinks.values():
            await sink.close()

    async def _of(self, reference: Reference) -> Sink:
        # A port is no part of a repository: localhost:5000 becomes localhost-5000.
        registry = reference.registry.replace(":", "-").strip("[]")
        text = self._template.replace(REPOSITORY, reference.repository).replace(REGISTRY, registry)
        if text not in self._sinks:
            sink = self._sinks[text] = self._make(parse_sink(text))
            await sink.check()
        return self._sinks[text]
