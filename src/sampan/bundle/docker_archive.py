"""What ``docker save`` writes, as images of a registry: the archive has configs and layers, and no manifests.

Guarantees that the same archive gives the same manifest each time, and that each layer is known by a digest
which its bytes will be held to: an unpacked one by the diff ID that its config has for it, a packed one by
what it hashes to, when that unpacks to its diff ID. The digest is not the one that a registry knows the
image by: ``docker save`` does not keep that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Event
from typing import NoReturn

import msgspec

from sampan.bundle.archive import ANEW, DOCKER, Archive
from sampan.bundle.extent import Extent
from sampan.bundle.tape import GZIP_MAGIC, READ_BYTES, Slice, is_packed, reading, unpacked
from sampan.errors import BundleDamaged, BundleIncomplete, InvalidBundle, InvalidDigest, printable
from sampan.oci.digest import Digest, new_hasher
from sampan.oci.manifest import DESCRIPTORS_MAX, OCI_CONFIG, OCI_MANIFEST
from sampan.pull.image import diff_ids_of_config
from sampan.store.hashing import hash_range

IMAGES_MAX = 10_000
LAYER = "application/vnd.oci.image.layer.v1.tar"


class _Entry(msgspec.Struct):
    """One of ``manifest.json``; what else stands there is nobody's business here."""

    Config: str
    Layers: list[str]
    RepoTags: list[str] | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """An image of the archive. ``raw``: the manifest that was made for it; ``blobs``: the members that hold
    its config and layers; ``names``: as they are written there."""

    names: tuple[str, ...]
    raw: bytes
    blobs: Mapping[Digest, str]


def made_of(archive: Archive) -> list[Made]:
    """All images of a docker-archive. Raises BundleError."""
    try:
        entries = msgspec.json.decode(archive.documents[DOCKER], type=list[_Entry])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidBundle(f"{archive.name}: {DOCKER}: {printable(str(error))}", hint=ANEW) from error
    if len(entries) > IMAGES_MAX:
        raise InvalidBundle(f"{archive.name}: {DOCKER} lists more than {IMAGES_MAX} images", hint=ANEW)
    layers = _Layers(archive)
    return [_made(archive, entry, layers) for entry in entries]


def _made(archive: Archive, entry: _Entry, layers: _Layers) -> Made:
    config = archive.small(entry.Config)
    if config is None:
        _missing(archive, entry.Config)
    diff_ids = diff_ids_of_config(config)
    if len(diff_ids) != len(entry.Layers) or len(diff_ids) > DESCRIPTORS_MAX:
        raise InvalidBundle(
            f"{archive.name}: {printable(entry.Config)} is a config of {len(diff_ids)} layers, "
            f"and {len(entry.Layers)} are here",
            hint=ANEW,
        )
    named = [layers.known(name, diff_id) for name, diff_id in zip(entry.Layers, diff_ids, strict=True)]
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _described(OCI_CONFIG, Digest.of(config), len(config)),
        "layers": [layer.described for layer in named],
    }
    blobs = {Digest.of(config): entry.Config, **{layer.digest: layer.member for layer in named}}
    return Made(tuple(entry.RepoTags or ()), json.dumps(document).encode(), blobs)


def _described(media_type: str, digest: Digest, size: int) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(digest), "size": size}


@dataclass(frozen=True, slots=True)
class _Layer:
    member: str
    digest: Digest
    size: int
    media_type: str

    @property
    def described(self) -> dict[str, object]:
        return _described(self.media_type, self.digest, self.size)


class _Layers:
    """The layers of an archive, each looked at once: images share them."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._known: dict[tuple[str, str], _Layer] = {}

    def known(self, name: str, diff_id: str) -> _Layer:
        """The layer in the member ``name``, which unpacked is ``diff_id``."""
        member = self._archive.resolve(name)
        if member is None:
            _missing(self._archive, name)
        key = (member.name, diff_id)
        if key not in self._known:
            self._known[key] = self._look(member.name, member.size, diff_id)
        return self._known[key]

    def _look(self, member: str, size: int, diff_id: str) -> _Layer:
        try:
            unpacked_digest = Digest.parse(diff_id)
        except InvalidDigest as error:
            raise InvalidBundle(
                f"{self._archive.name}: a diff ID that is none: {error.message}", hint=ANEW
            ) from error
        magic = self._archive.magic(member)
        if not is_packed(magic):
            return _Layer(member, unpacked_digest, size, LAYER)
        extent = self._archive.extent(member)
        if extent is None:
            raise InvalidBundle(
                f"{self._archive.name} is packed, and so are the layers in it",
                hint="unpack the archive itself first: gunzip or zstd -d",
            )
        _check_diff_id(extent, unpacked_digest, magic, self._archive.stop)
        kind = f"{LAYER}+{'gzip' if magic.startswith(GZIP_MAGIC) else 'zstd'}"
        return _Layer(member, _digest_of(extent), size, kind)


def _digest_of(extent: Extent) -> Digest:
    hasher = new_hasher("sha256")
    with extent.open() as file, reading(extent.name):
        hash_range(hasher, file.fileno(), extent.offset, extent.offset + extent.size)
    return Digest.from_hasher(hasher)


def _check_diff_id(extent: Extent, diff_id: Digest, magic: bytes, stop: Event | None) -> None:
    """That it unpacks to what its config says: nothing else vouches for these bytes."""
    hasher = hashlib.new(diff_id.algorithm)
    with extent.open() as file:
        tape = unpacked(extent.name, Slice(file, extent.offset, extent.size), magic, stop)
        while data := tape.read(READ_BYTES):
            hasher.update(data)
        tape.close()
    if Digest.from_hasher(hasher) != diff_id:
        raise BundleDamaged(
            f"{extent.name} is damaged: it does not unpack to {diff_id}",
            hint="get the archive anew from whoever made it",
        )


def _missing(archive: Archive, name: str) -> NoReturn:
    raise BundleIncomplete(
        f"{archive.name} is not whole: {printable(name)} is listed in {DOCKER}, and is not there",
        hint="get the archive anew from whoever made it",
    )
