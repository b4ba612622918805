"""Disks that misbehave for real, and images small enough to fit on them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sampan.oci import Digest, Index, Manifest, parse_manifest
from sampan.oci.manifest import OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST
from sampan.store import DiskStore

NOBODY = 65534


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may do everything; anybody else is nobody enough."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@contextmanager
def mounted(path: Path, *options: str) -> Iterator[Path]:
    """A tmpfs of its own at ``path``, with mount options such as ``size=1m``."""
    if os.geteuid() != 0:
        if os.environ.get("CI") == "true":
            pytest.fail("mounting a small disk needs root, and this is where it must be tested")
        pytest.skip("mounting a small disk needs root")
    path.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def remount(path: Path, *options: str) -> None:
    """Change the options of a :func:`mounted` disk."""
    subprocess.run(["mount", "-o", ",".join(("remount", *options)), str(path)], check=True)


def image(*layers: bytes, config: bytes = b"{}", subject: Manifest | Index | None = None) -> Manifest:
    """The manifest of an image with these layers; ``subject``: what it is attached to."""
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _descriptor(OCI_CONFIG, config),
        "layers": [_descriptor(OCI_LAYER_GZIP, layer) for layer in layers],
    }
    if subject is not None:
        document["subject"] = _descriptor(subject.media_type, subject.raw)
    manifest = parse_manifest(json.dumps(document).encode())
    assert isinstance(manifest, Manifest)
    return manifest


def index(*manifests: Manifest | Index) -> Index:
    """An index of these manifests."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [_descriptor(manifest.media_type, manifest.raw) for manifest in manifests],
    }
    made = parse_manifest(json.dumps(document).encode())
    assert isinstance(made, Index)
    return made


def _descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(Digest.of(data)), "size": len(data)}


def put_image(store: DiskStore, *layers: bytes, config: bytes = b"{}") -> Manifest:
    """An image with all of its blobs, in the order of a pull: the manifest first."""
    manifest = image(*layers, config=config)
    store.put_manifest(manifest)
    for data in (config, *layers):
        store.put(Digest.of(data), data)
    return manifest


def blob_path(root: Path, digest: Digest) -> Path:
    return root / "blobs" / digest.algorithm / digest.hex


def wrong_blobs(root: Path) -> list[Path]:
    """The files under ``blobs/`` that do not hash to their name: there must never be any."""
    files = (path for path in (root / "blobs").rglob("*") if path.is_file())
    return [p for p in files if Digest.of(p.read_bytes(), p.parent.name).hex != p.name]
