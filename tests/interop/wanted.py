"""Images as `sampan pull` holds them before a sink takes them: in a store, with a closure; of the library, or
made of what is in it."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import tarfile
from collections.abc import Collection, Iterator
from pathlib import Path

from interop.images import Image, Library
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


# -- images that the library has not ----------------------------------------------------------------


class Workshop:
    """A copy of ``library`` in ``directory`` to which blobs can be added."""

    def __init__(self, library: Library, directory: Path) -> None:
        (directory / "blobs" / "sha256").mkdir(parents=True)
        for path in (library.directory / "blobs" / "sha256").iterdir():
            (directory / "blobs" / "sha256" / path.name).symlink_to(path)
        self.library = Library(directory)

    def blob(self, media_type: str, data: bytes) -> dict[str, object]:
        """Add ``data``; its descriptor."""
        digest = Digest.of(data)
        self.library.path(str(digest)).write_bytes(data)
        return {"mediaType": media_type, "digest": str(digest), "size": len(data)}

    def grown(self, base: Image, reference: str) -> Image:
        """``base``, for this machine alone, with one more layer on top: a file named after the image."""
        manifest = self.library.document(base.manifest_digest())
        config = self.library.document(base.config_digest())
        plain = _tar_of(reference)
        config["rootfs"]["diff_ids"].append(str(Digest.of(plain)))
        config["history"].append({"created": config["created"], "created_by": "a workshop"})
        manifest["config"] = self.blob(manifest["config"]["mediaType"], json.dumps(config).encode())
        gzipped = manifest["layers"][0]["mediaType"].removesuffix("+zstd").removesuffix("+gzip") + "+gzip"
        manifest["layers"].append(self.blob(gzipped, gzip.compress(plain, mtime=0)))
        media_type = str(manifest["mediaType"])
        top = self.blob(media_type, json.dumps(manifest).encode())
        return Image(self.library, reference, str(top["digest"]), media_type)


def _tar_of(text: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("named")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()
