"""The directories of a store, opened once and held open.

    oci-layout, index.json   what makes it an OCI image layout; the index is left as it is found
    blobs/ALGORITHM/HEX      verified content
    ingest/                  content on its way in, or on its way out
    pieces/                  notes: which bytes of a file in ingest/ are there, when it has holes
    manifests/, pins/        notes: which blobs are manifests, which must stay
    quarantine/              what did not hash to its name

Guarantees that each of them is there, made if absent, and that its name is on disk before anything is put
into it. It does not know what is in them.
"""

from __future__ import annotations

import json
import logging
import os
from contextlib import ExitStack
from secrets import token_hex
from typing import TYPE_CHECKING

from sampan.errors import StoreFull
from sampan.oci.digest import ALGORITHMS
from sampan.oci.manifest import OCI_INDEX
from sampan.store.directory import Directory, NotAFile, store_error

if TYPE_CHECKING:
    from pathlib import Path

LAYOUT_BYTES_MAX = 4 * 1024 * 1024  # an index.json is a manifest, and has its limit
MARKER = "oci-layout"

log = logging.getLogger(__name__)


class Layout:
    """The directories under ``root``. Raises StoreError when they cannot be opened or made."""

    def __init__(self, root: Path) -> None:
        with ExitStack() as opened:
            self.top = Directory.root(root)
            opened.callback(self.top.close)

            def child(name: str, of: Directory = self.top) -> Directory:
                found = of.child(name)
                opened.callback(found.close)
                return found

            blobs = child("blobs")
            self.blobs = {algorithm: child(algorithm, blobs) for algorithm in ALGORITHMS}
            self.ingests = child("ingest")
            self.pieces = child("pieces")
            self.quarantine = child("quarantine")
            self.pins = child("pins")
            self.manifests = child("manifests")
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Let go of them; open files live on."""
        self._opened.close()

    def complete(self) -> None:
        """Write what is missing of it, and have the disk confirm all names: a process that was killed may
        not have come to it. A full disk is no reason not to start: what is there can be served. Raises
        StoreError when nothing can be written for another reason."""
        try:
            self.check_writable()
            self._write_marks()
            for directory in (self.top, *self.blobs.values(), self.pins, self.manifests):
                directory.sync()
        except StoreFull as error:
            log.warning("the store is full: %s", error.message)

    def _write_marks(self) -> None:
        """The two files of an OCI image layout; an index of somebody's own stays as it is."""
        empty = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
        for name, value in ((MARKER, {"imageLayoutVersion": "1.0.0"}), ("index.json", empty)):
            try:
                valid = isinstance(json.loads(self.top.read(name, size_max=LAYOUT_BYTES_MAX) or b""), dict)
            except (ValueError, RecursionError, NotAFile):
                valid = False
            if not valid:
                self.top.write(name, json.dumps(value).encode())

    def check_writable(self) -> None:
        """Write something and remove it. Raises StoreFull or StoreError."""
        name = f"probe.{token_hex(8)}"
        file = self.ingests.create(name)
        try:
            with file:
                file.write(b"?")
        except OSError as error:
            raise store_error(f"write to {self.ingests.path}", error) from error
        finally:
            self.ingests.unlink(name)


def is_store(root: Path) -> bool:
    """Whether there is a store at ``root``, or what is left of one. Makes nothing."""
    return os.path.isdir(root / "blobs") and os.path.lexists(root / MARKER)
