"""Images of the library as `sampan pull` holds them before a sink takes them: in a store, with a closure."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path

from interop.images import Image
from sampan.oci.digest import Digest
from sampan.oci.manifest import Index, Manifest, parse_manifest
from sampan.oci.platform import Platform
from sampan.oci.reference import Reference
from sampan.pull.closure import Steps, Wanted, closure
from sampan.pull.sink import Content
from sampan.store.disk import DiskStore

PIECE_BYTES = 4 * 1024 * 1024


class Stock:
    """A store that is filled from a library's files instead of by hosts."""

    def __init__(self, directory: Path) -> None:
        self.store = DiskStore(directory)
        self.content = Content(self.store)

    def want(
        self,
        image: Image,
        *platforms: str,
        reference: str | None = None,
        without: Collection[str] = (),
    ) -> Wanted:
        """The closure of ``image`` for ``platforms`` (none named: all), whose content is then here, but
        for the blobs ``without``."""
        steps = closure(
            Reference.parse(reference or f"docker.io/{image.reference}"),
            self._manifest(image, image.digest),
            [Platform.parse(platform) for platform in platforms] or None,
        )
        wanted = self._drive(image, steps)
        for blob in wanted.blobs:
            if str(blob.digest) not in without and self.store.stat(blob.digest) is None:
                self.put(blob.digest, image.library.path(str(blob.digest)))
        return wanted

    def put(self, digest: Digest, path: Path) -> None:
        ingest = self.store.ingest(digest)
        with path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                ingest.write(piece)
        ingest.commit()

    def _drive(self, image: Image, steps: Steps) -> Wanted:
        try:
            needed = next(steps)
            while True:
                needed = steps.send([self._manifest(image, str(entry.digest)) for entry in needed])
        except StopIteration as stop:
            wanted: Wanted = stop.value
            return wanted

    def _manifest(self, image: Image, digest: str) -> Manifest | Index:
        manifest = parse_manifest(image.library.path(digest).read_bytes())
        self.store.put_manifest(manifest)
        return manifest

    def close(self) -> None:
        self.content.close()
        self.store.close()


@contextlib.contextmanager
def stock(directory: Path) -> Iterator[Stock]:
    made = Stock(directory)
    try:
        yield made
    finally:
        made.close()
