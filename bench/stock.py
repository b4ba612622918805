"""What is pulled: an image with one large random layer, and loose blobs, as files at their /v2 paths.

Made anew for each run. It guarantees that the files hash to their names, so that whoever serves the
directory as it is makes a read-only registry of it.
"""

from __future__ import annotations

import hashlib
import json
import os
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


@dataclass(frozen=True, slots=True)
class Blob:
    digest: str
    size_bytes: int

    @property
    def path(self) -> str:
        """Where any registry has it."""
        return f"/v2/{REPOSITORY}/blobs/{self.digest}"


@dataclass(frozen=True, slots=True)
class Stock:
    """``root`` holds the files; ``loose`` are blobs that no manifest names."""

    root: Path
    config: Blob
    layer: Blob
    manifest: Blob
    loose: tuple[Blob, ...]

    @property
    def manifest_path(self) -> str:
        return f"/v2/{REPOSITORY}/manifests/{TAG}"

    def file(self, blob: Blob) -> Path:
        return self.root / blob.path[1:]


def make_stock(root: Path, *, loose: int) -> Stock:
    """Fill ``root``; ``loose`` is how many blobs are wanted beside the image."""
    blobs = root / f"v2/{REPOSITORY}/blobs"
    blobs.mkdir(parents=True)
    layer = _random_blob(blobs, LAYER_BYTES)
    config = _blob(
        blobs,
        json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
            }
        ).encode(),
    )
    manifest = _manifest(root / f"v2/{REPOSITORY}/manifests", config, layer)
    return Stock(root, config, layer, manifest, tuple(_random_blob(blobs, LOOSE_BYTES) for _ in range(loose)))


def _manifest(directory: Path, config: Blob, layer: Blob) -> Blob:
    directory.mkdir()
    data = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "digest": config.digest, "size": config.size_bytes},
            "layers": [{"mediaType": LAYER_TYPE, "digest": layer.digest, "size": layer.size_bytes}],
        }
    ).encode()
    manifest = _blob(directory, data)
    (directory / TAG).symlink_to(manifest.digest)
    return manifest


def _blob(directory: Path, data: bytes) -> Blob:
    blob = Blob(f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))
    (directory / blob.digest).write_bytes(data)
    return blob


def _random_blob(directory: Path, size_bytes: int) -> Blob:
    hasher = hashlib.sha256()
    growing = directory / "growing"
    with growing.open("wb") as file:
        for start in range(0, size_bytes, PIECE_BYTES):
            piece = os.urandom(min(PIECE_BYTES, size_bytes - start))
            hasher.update(piece)
            file.write(piece)
    blob = Blob(f"sha256:{hasher.hexdigest()}", size_bytes)
    growing.rename(directory / blob.digest)
    return blob
