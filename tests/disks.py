"""Disks that misbehave for real, and images small enough to fit on them."""

from __future__ import annotations

import fcntl
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
    _needs_root()
    path.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


class MortalDisk:
    """An ext4 of its own, mounted at ``path``, that dies when the test says so: from then on the kernel
    reports EIO for what is to be written (``no_more_writes``) or to be read (``no_more_reads``)."""

    def __init__(self, path: Path, memory: int) -> None:
        self.path = path
        self._memory = memory

    def no_more_writes(self) -> None:
        fcntl.fcntl(self._memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)

    def no_more_reads(self) -> None:
        """Of what the files hold; their names are still in memory, as they would be."""
        for path in (path for path in self.path.rglob("*") if path.is_file()):
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        os.ftruncate(self._memory, 0)


@contextmanager
def mortal_disk(path: Path, size_bytes: int = 32 * 1024 * 1024) -> Iterator[MortalDisk]:
    """A loop device over memory, which can be sealed against writes and cut while it is in use."""
    _needs_root()
    path.mkdir(exist_ok=True)
    memory = os.memfd_create("disk", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    try:
        os.ftruncate(memory, size_bytes)
        file = f"/proc/{os.getpid()}/fd/{memory}"
        options = ["-q", "-F", "-O", "^has_journal", "-m", "0", "-E", "nodiscard"]
        subprocess.run(["mkfs.ext4", *options, file], check=True)
        subprocess.run(["mount", "-o", "loop,errors=continue", file, str(path)], check=True)
        try:
            yield MortalDisk(path, memory)
        finally:
            subprocess.run(["umount", "-l", str(path)], check=True)
    finally:
        os.close(memory)


def _needs_root() -> None:
    if os.geteuid() != 0:
        if os.environ.get("CI") == "true":
            pytest.fail("mounting a disk needs root, and this is where it must be tested")
        pytest.skip("mounting a disk needs root")


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
