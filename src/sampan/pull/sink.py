"""Where a pulled image goes: what every sink can do, what it is given, and how one is named.

Guarantees that ``--to`` is understood before anything is done, and that a sink is only ever given verified
content. The sinks themselves are in :mod:`sampan.pull.sinks`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Protocol

from sampan.errors import InvalidReference, StoreError, UsageError, printable
from sampan.oci.digest import Digest
from sampan.oci.reference import Reference
from sampan.pull.closure import Wanted
from sampan.store.content import OpenBlob

SMALL_BYTES_MAX = 16 * 1024 * 1024  # of a manifest or a config in memory; configs of real images: 100 KiB
DEFAULT_NAMESPACE = "k8s.io"  # where a kubelet looks
_NAMESPACE = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")  # containerd's own rule for identifiers
_NAMESPACE_CHARACTERS_MAX = 76


class Provider(Protocol):
    """Where verified content lies: a store, or what a bundle holds."""

    def open(self, digest: Digest, /) -> OpenBlob | None:
        """The blob for reading, or None. Raises StoreError."""


class Content:
    """The verified content that a sink takes from. Every method blocks; call ``read`` in a thread.

    What it was given to :meth:`hold` it has open, so that no sweep, of another process either, can take
    it away before the sink has it.
    """

    def __init__(self, store: Provider) -> None:
        self._store = store
        self._held: dict[Digest, OpenBlob] = {}

    def hold(self, digest: Digest) -> None:
        """Keep it until :meth:`close`. Raises StoreError when the store does not have it."""
        if digest not in self._held:
            self._held[digest] = self._from_store(digest)

    def open(self, digest: Digest) -> OpenBlob:
        """A manifest or blob. Raises StoreError when it has vanished meanwhile."""
        held = self._held.get(digest)
        if held is None:
            return self._from_store(digest)
        # Not a dup(): that would share the position with all others who read it.
        file = FileIO(os.open(f"/proc/self/fd/{held.file.fileno()}", os.O_RDONLY | os.O_CLOEXEC), "r")
        return OpenBlob(digest, file, held.size, lambda _: None, held.offset)

    def read(self, digest: Digest) -> bytes:
        """All of a manifest or config, hashed again. Raises StoreError when it vanished or was damaged."""
        with self.open(digest) as blob:
            data = os.pread(blob.file.fileno(), min(blob.size, SMALL_BYTES_MAX), blob.offset)
        if blob.size > SMALL_BYTES_MAX or Digest.of(data, digest.algorithm) != digest:
            raise StoreError(f"{digest} is damaged in the store, or no manifest or config at all")
        return data

    def close(self) -> None:
        """Let go of what is held; may be used again."""
        for blob in self._held.values():
            blob.close()
        self._held.clear()

    def _from_store(self, digest: Digest) -> OpenBlob:
        blob = self._store.open(digest)
        if blob is None:
            raise StoreError(
                f"{digest} vanished from the store", hint="pull again: only what is missing is fetched"
            )
        return blob


class Sink(Protocol):
    """The order of calls: ``check``; for each image ``present`` and ``put``; ``finish`` when all images
    were put; ``close`` always. Of one image's manifests and configs all are always in the content, of its
    layers those that were not ``present``."""

    @property
    def name(self) -> str:
        """As it is announced: ``containerd (k8s.io)``."""

    async def check(self) -> None:
        """What can be known before anything is fetched. Raises SinkExists, SinkUnavailable, SinkError."""

    async def present(self, wanted: Wanted, content: Content) -> frozenset[Digest]:
        """Which layers of it the sink has already: they are not fetched. ``content`` has its configs.
        Raises SinkUnavailable for an image that the sink cannot hold at all."""

    async def put(self, wanted: Wanted, content: Content) -> None:
        """Take the image, whole or not at all. Raises SinkError (the disk), SinkUnavailable, SinkExists."""

    async def finish(self) -> None:
        """All images were put: what becomes visible as one (an archive) becomes visible now."""

    async def close(self) -> None:
        """Let go of everything, also after an error; what was not finished leaves nothing behind."""


@dataclass(frozen=True, slots=True)
class SinkSpec:
    """A sink as it was named. ``kind``: what stands before the colon. ``path``: of a layout or an archive;
    ``namespace``: of containerd; ``target``: of a registry, its tag None when none was written."""

    kind: str
    path: Path | None = None
    namespace: str | None = None
    target: Reference | None = None


FORMS = {
    "store": "store",
    "oci": "oci:DIR",
    "oci-archive": "oci-archive:FILE",
    "docker-archive": "docker-archive:FILE",
    "containerd": "containerd[:NAMESPACE]",
    "docker": "docker",
    "podman": "podman",
    "registry": "registry:HOST/REPOSITORY[:TAG]",
}


def parse_sink(text: str) -> SinkSpec:
    """``text`` as the command line gives it. Raises UsageError with the forms that there are."""
    kind, colon, rest = text.partition(":")
    if kind not in FORMS:
        raise UsageError(f"no such sink: {printable(text, characters_max=80)!r}", hint=_forms())
    if kind in ("store", "docker", "podman"):
        if colon:
            raise UsageError(f"the sink {kind} takes nothing after it", hint=f"write --to {kind}")
        return SinkSpec(kind)
    if kind == "containerd":
        return SinkSpec(kind, namespace=_namespace(rest) if colon else DEFAULT_NAMESPACE)
    if not rest:
        raise UsageError(f"the sink {kind} needs more", hint=f"write --to {FORMS[kind]}")
    if kind == "registry":
        return SinkSpec(kind, target=_target(rest))
    return SinkSpec(kind, path=Path(rest))


def _namespace(text: str) -> str:
    if len(text) > _NAMESPACE_CHARACTERS_MAX or _NAMESPACE.fullmatch(text) is None:
        raise UsageError(
            f"not a namespace of containerd: {printable(text, characters_max=80)!r}",
            hint="write containerd:k8s.io for a kubelet, containerd:default for ctr",
        )
    return text


def _target(text: str) -> Reference:
    try:
        target = Reference.parse(text, default_tag=None)
    except InvalidReference as error:
        raise UsageError(
            f"not a place in a registry: {error.message}", hint=f"write {FORMS['registry']}"
        ) from error
    if target.digest is not None or not text.startswith(f"{target.registry}/"):
        raise UsageError(
            f"not a place in a registry: {printable(text, characters_max=80)!r}",
            hint=f"write {FORMS['registry']}, with the registry's host and without a digest",
        )
    return target


def _forms() -> str:
    return "there are: " + ", ".join(FORMS.values())
