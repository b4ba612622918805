"""Which blobs are manifests, and the manifests themselves, parsed and at hand.

A manifest is a blob like any other; a small file ``manifests/<algorithm>-<hex>`` says that it is one and
with which media type it came, for a manifest fetched by digest is named by no tag. Guarantees that what
it remembers in memory stays within its bound, and is forgotten soon after another process has removed it
from the disk. It does not read blobs.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sampan.errors import InvalidDigest
from sampan.oci.digest import Digest
from sampan.store.directory import NotAFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.clock import Clock
    from sampan.oci.manifest import Index, Manifest
    from sampan.store.directory import Directory

NOTE_BYTES_MAX = 4096  # a media type is at most 255 characters
REMEMBERED_BYTES_MAX = 16 * 1024 * 1024  # raw; parsed they take some three times as much: 5,000 usual ones


LOOK_AGAIN_SECONDS = 2.0  # as with tags: what another process removed is gone here by then


@dataclass(slots=True)
class _Remembered:
    manifest: Manifest | Index
    looked_at: float


class ManifestShelf:
    """The notes in ``directory``, and the manifests used last. Safe to use from several threads.

    ``is_there``: whether a manifest is on disk, asked of what is remembered, now and then."""

    def __init__(
        self,
        directory: Directory,
        clock: Clock,
        *,
        is_there: Callable[[Digest], bool],
        bytes_max: int = REMEMBERED_BYTES_MAX,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._is_there = is_there
        self._bytes_max = bytes_max
        self._bytes = 0
        self._remembered: OrderedDict[Digest, _Remembered] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, digest: Digest, media_type: str) -> None:
        """Write down that ``digest`` is a manifest."""
        name = note_name(digest)
        if self._directory.stat(name) is None:
            self._directory.write(name, json.dumps({"mediaType": media_type}).encode())

    def is_noted(self, digest: Digest) -> bool:
        """Whether it was written down."""
        return self._directory.stat(note_name(digest)) is not None

    def media_type(self, digest: Digest) -> str | None:
        """The media type it came with; None when the note is absent or unreadable."""
        try:
            raw = self._directory.read(note_name(digest), size_max=NOTE_BYTES_MAX)
            media_type = json.loads(raw or b"{}")["mediaType"]
        except (ValueError, KeyError, TypeError, RecursionError, NotAFile):
            return None  # the structure of the manifest will have to tell
        return media_type if isinstance(media_type, str) else None

    def digests(self) -> list[Digest]:
        """All that are written down."""
        return [digest for name in self._directory.names() if (digest := noted_digest(name)) is not None]

    def remembered(self, digest: Digest) -> Manifest | Index | None:
        """The manifest, if it was used lately and is still on disk."""
        now = self._clock.monotonic()
        with self._lock:
            known = self._remembered.get(digest)
            if known is None:
                return None
            self._remembered.move_to_end(digest)
            if abs(now - known.looked_at) < LOOK_AGAIN_SECONDS:
                return known.manifest
            known.looked_at = now
        if self._is_there(digest):
            return known.manifest
        self.forget(digest, note=False)
        return None

    def remember(self, digest: Digest, manifest: Manifest | Index) -> None:
        """Keep it at hand, in place of those not used for longest."""
        with self._lock:
            self._drop(digest)
            self._remembered[digest] = _Remembered(manifest, self._clock.monotonic())
            self._bytes += manifest.size
            while self._bytes > self._bytes_max:
                self._drop(next(iter(self._remembered)))

    def forget(self, digest: Digest, *, note: bool) -> None:
        """Not at hand any more; with ``note``, not written down either."""
        with self._lock:
            self._drop(digest)
        if note:
            self._directory.unlink(note_name(digest))

    def _drop(self, digest: Digest) -> None:
        if (known := self._remembered.pop(digest, None)) is not None:
            self._bytes -= known.manifest.size


def note_name(digest: Digest) -> str:
    """A digest as the name of a file: a colon is awkward in paths."""
    return f"{digest.algorithm}-{digest.hex}"


def noted_digest(name: str) -> Digest | None:
    """The digest that :func:`note_name` wrote, or None for another file."""
    algorithm, _, digits = name.partition("-")
    try:
        return Digest(algorithm, digits)
    except InvalidDigest:
        return None
