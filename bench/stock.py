"""What is pulled, as files at their /v2 paths: an image with one large random layer, loose blobs, and
whatever images a measure wants beside them.

Made anew for each run. It guarantees that the files hash to their names, so that whoever serves the
directory as it is makes a read-only registry of it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024
LAYER_BYTES = 256 * MIB
LOOSE_BYTES = 9 * MIB  # more than what sampan verifies whole before the first byte in any case
PIECE_BYTES = 4 * MIB
REPOSITORY = "library/big"
TAG = "latest"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
# Of an image that no runtime unpacks: containerd's transfer service unpacks whatever it knows.
FOREIGN_CONFIG_TYPE = "application/vnd.sampan.bench.config+json"
FOREIGN_LAYER_TYPE = "application/vnd.sampan.bench.layer"


@dataclass(frozen=True, slots=True)
class Blob:
    digest: str
    size_bytes: int

    @property
    def path(self) -> str:
        """Where any registry has it."""
        return f"/v2/{REPOSITORY}/blobs/{self.digest}"


@dataclass(frozen=True, slots=True)
class Image:
    tag: str
    manifest: Blob
    config: Blob
    layers: tuple[Blob, ...]

    @property
    def manifest_path(self) -> str:
        return f"/v2/{REPOSITORY}/manifests/{self.tag}"

    @property
    def blobs(self) -> tuple[Blob, ...]:
        return (self.config, *self.layers)

    @property
    def size_bytes(self) -> int:
        """Of its blobs."""
        return sum(blob.size_bytes for blob in self.blobs)


class Files:
    """A registry as files below ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._blobs = root / f"v2/{REPOSITORY}/blobs"
        self._manifests = root / f"v2/{REPOSITORY}/manifests"
        self._blobs.mkdir(parents=True)
        self._manifests.mkdir()

    def random(self, size_bytes: int) -> Blob:
        """A blob of random bytes."""
        hasher = hashlib.sha256()
        growing = self._blobs / "growing"
        with growing.open("wb") as file:
            for start in range(0, size_bytes, PIECE_BYTES):
                piece = os.urandom(min(PIECE_BYTES, size_bytes - start))
                hasher.update(piece)
                file.write(piece)
        return self._named(growing, hasher.hexdigest(), size_bytes)

    def zeros(self, size_bytes: int) -> Blob:
        """A blob of zeros, which takes no room here."""
        hasher, piece = hashlib.sha256(), bytes(PIECE_BYTES)
        for start in range(0, size_bytes, PIECE_BYTES):
            hasher.update(piece[: size_bytes - start])
        growing = self._blobs / "growing"
        growing.touch()
        os.truncate(growing, size_bytes)
        return self._named(growing, hasher.hexdigest(), size_bytes)

    def image(self, tag: str, layers: Sequence[Blob], *, foreign: bool = False) -> Image:
        """An image of these layers; ``foreign``: under media types that no runtime knows."""
        types = (FOREIGN_CONFIG_TYPE, FOREIGN_LAYER_TYPE) if foreign else (CONFIG_TYPE, LAYER_TYPE)
        diff_ids = [layer.digest for layer in layers]
        config = self._blob(
            self._blobs,
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Labels": {"tag": tag}},
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
            },
        )
        manifest = self._blob(
            self._manifests,
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": _descriptor(types[0], config),
                "layers": [_descriptor(types[1], layer) for layer in layers],
            },
        )
        (self._manifests / tag).symlink_to(manifest.digest)
        return Image(tag, manifest, config, tuple(layers))

    def _blob(self, directory: Path, document: object) -> Blob:
        data = json.dumps(document).encode()
        blob = Blob(f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))
        (directory / blob.digest).write_bytes(data)
        return blob

    def _named(self, growing: Path, hexadecimal: str, size_bytes: int) -> Blob:
        blob = Blob(f"sha256:{hexadecimal}", size_bytes)
        growing.rename(self._blobs / blob.digest)
        return blob


def _descriptor(media_type: str, blob: Blob) -> dict[str, object]:
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size_bytes}


@dataclass(frozen=True, slots=True)
class Stock:
    """``root`` holds the files; ``image`` has one layer; ``loose`` are blobs that no manifest names."""

    root: Path
    image: Image
    loose: tuple[Blob, ...]

    @property
    def layer(self) -> Blob:
        return self.image.layers[0]

    @property
    def manifest(self) -> Blob:
        return self.image.manifest

    @property
    def manifest_path(self) -> str:
        return self.image.manifest_path

    def file(self, blob: Blob) -> Path:
        return self.root / blob.path[1:]


def make_stock(root: Path, *, loose: int) -> Stock:
    """Fill ``root``; ``loose`` is how many blobs are wanted beside the image."""
    files = Files(root)
    image = files.image(TAG, [files.random(LAYER_BYTES)])
    return Stock(root, image, tuple(files.random(LOOSE_BYTES) for _ in range(loose)))
