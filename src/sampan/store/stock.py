"""What is in a store, as an operator sees it: images with names, sizes and pins, and what else there is.

Guarantees that each byte that the store takes is told once: as a blob, or as a file that is none. It changes
nothing but that a manifest which it finds damaged is set aside.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from sampan.errors import InvalidReference, NotStored, UsageError
from sampan.oci.digest import ALGORITHMS, Digest
from sampan.oci.manifest import Index, Manifest
from sampan.oci.reference import Reference
from sampan.store.images import Images, Unit
from sampan.store.leftovers import Leftover, leftovers
from sampan.words import sentence

if TYPE_CHECKING:
    from sampan.store.disk import DiskStore
    from sampan.store.tags import TagRecord, TagStore

Role = Literal["index", "manifest", "config", "layer", "blob"]
PREFIX_DIGITS_MIN = 6  # of a digest in place of all of it; the lists show twelve


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """``role``: what images make of it, ``blob`` when none names it. ``images``: the roots of those that need
    it. ``pinned``: by itself or by one of those. ``used_at``: seconds since the epoch."""

    digest: Digest
    size: int
    used_at: float
    role: Role
    images: tuple[Digest, ...]
    pinned: bool


@dataclass(frozen=True, slots=True)
class StoredImage:
    """``tags``: who said what names it, and when. ``size``: of all that is stored of it; ``own_bytes``: what
    would be free without it, for no other image needs that. ``missing``: how many of the blobs that its
    stored manifests name are not there, ``missing_bytes`` in all. ``platforms``: those that are whole."""

    root: Digest
    media_type: str
    tags: tuple[TagRecord, ...]
    size: int
    own_bytes: int
    used_at: float
    pinned: bool
    platforms: tuple[str, ...]
    missing: int
    missing_bytes: int
    blobs: tuple[Digest, ...]

    @property
    def name(self) -> str:
        """Its first tag, else its digest."""
        return self.tags[0].name if self.tags else str(self.root)


class Stock:
    """``store`` and ``tags`` as they are now. Reads every manifest. Raises StoreError."""

    def __init__(self, store: DiskStore, tags: TagStore) -> None:
        self.pins = store.pinned()
        self._tagged: dict[Digest, list[TagRecord]] = {}
        for record in sorted(tags.records(), key=lambda record: record.name):
            self._tagged.setdefault(record.descriptor.digest, []).append(record)
        self._blobs = {blob.digest: blob for blob in store.blobs()}
        self._manifests: dict[Digest, Manifest | Index] = {}
        self.damaged: list[Digest] = []  # manifests that were found to be so, and are set aside now
        for digest in filter(self._blobs.__contains__, store.manifest_digests()):
            if (manifest := store.peek_manifest(digest)) is not None:
                self._manifests[digest] = manifest
            elif store.stat(digest) is None:
                self.damaged.append(digest)
                del self._blobs[digest]
        references = {
            digest: tuple(descriptor.digest for descriptor in manifest.references)
            for digest, manifest in self._manifests.items()
        }
        self._images = Images(self._blobs.values(), references, (*self._tagged, *self.pins))
        self.partials: list[Leftover] = leftovers(store.ingests)
        self.quarantined: list[Leftover] = leftovers(store.quarantine)

    @property
    def blob_bytes(self) -> int:
        """In committed blobs."""
        return sum(blob.size for blob in self._blobs.values())

    @property
    def used_bytes(self) -> int:
        """All that counts for the store's size."""
        return self.blob_bytes + sum(each.size for each in (*self.partials, *self.quarantined))

    # -- images ------------------------------------------------------------------------------------

    @cached_property
    def images(self) -> list[StoredImage]:
        """Those used last come first."""
        found = [self._image(unit) for unit in self._images if self._images.is_manifest(unit.root)]
        return sorted(found, key=lambda image: (-image.used_at, image.name))

    def _image(self, unit: Unit) -> StoredImage:
        manifests = [self._manifests[digest] for digest in unit.needs if digest in self._manifests]
        missing = {
            entry.digest: entry.size
            for manifest in manifests
            if isinstance(manifest, Manifest)
            for entry in manifest.references
            if entry.digest not in self._blobs
        }
        return StoredImage(
            unit.root,
            self._manifests[unit.root].media_type,
            tuple(self._tagged.get(unit.root, ())),
            sum(self._blobs[digest].size for digest in unit.needs),
            sum(self._blobs[digest].size for digest in self._images.exclusive(unit)),
            self._images.used_at(unit),
            unit.root in self.pins,
            tuple(self._platforms(manifests)),
            len(missing),
            sum(missing.values()),
            unit.needs,
        )

    def _platforms(self, manifests: list[Manifest | Index]) -> Iterator[str]:
        for index in manifests:
            for entry in index.manifests if isinstance(index, Index) else ():
                child = self._manifests.get(entry.digest)
                if entry.platform is None or not isinstance(child, Manifest):
                    continue
                if all(needed.digest in self._blobs for needed in child.references):
                    yield str(entry.platform)

    # -- blobs -------------------------------------------------------------------------------------

    @cached_property
    def blobs(self) -> list[StoredBlob]:
        """All of them, the largest first."""
        users: dict[Digest, list[Digest]] = {}
        for image in self.images:
            for digest in image.blobs:
                users.setdefault(digest, []).append(image.root)
        roles = self._roles()
        found = [
            StoredBlob(
                digest,
                blob.size,
                blob.used_at,
                roles.get(digest, "blob"),
                tuple(sorted(users.get(digest, ()))),
                not self.pins.isdisjoint((digest, *users.get(digest, ()))),
            )
            for digest, blob in self._blobs.items()
        ]
        return sorted(found, key=lambda blob: (-blob.size, blob.digest))

    def _roles(self) -> dict[Digest, Role]:
        roles: dict[Digest, Role] = {}
        for manifest in self._manifests.values():
            if isinstance(manifest, Manifest):
                roles |= {layer.digest: "layer" for layer in manifest.layers}
                roles[manifest.config.digest] = "config"
        for digest, manifest in self._manifests.items():
            roles[digest] = "index" if isinstance(manifest, Index) else "manifest"
        return roles

    # -- by name -----------------------------------------------------------------------------------

    def find(self, text: str) -> tuple[Digest, TagRecord | None]:
        """The content that ``text`` names, and the record of the tag by which it does, if it does by one: a
        reference, a digest, or the beginning of one (``sha256:7390b777``). What a tag names may be gone.

        Raises NotStored, UsageError for a beginning of several digests, InvalidReference.
        """
        if text.partition(":")[0] in ALGORITHMS:
            return self._by_digits(text), None
        reference = Reference.parse(text)
        if reference.digest is not None:
            return self._by_digits(str(reference.digest)), None
        for digest, records in self._tagged.items():
            for record in records:
                if record.name == str(reference):
                    return digest, record
        raise not_stored(str(reference))

    def has(self, digest: Digest) -> bool:
        """Whether it is there."""
        return digest in self._blobs

    def _by_digits(self, text: str) -> Digest:
        algorithm, _, digits = text.partition(":")
        if len(digits) < PREFIX_DIGITS_MIN:
            raise InvalidReference(
                f'"{text}" is too short for a digest', hint=f"write {PREFIX_DIGITS_MIN} digits of it at least"
            )
        known = {*self._blobs, *self.pins}
        found = [d for d in known if d.algorithm == algorithm and d.hex.startswith(digits)]
        if len(found) > 1:
            raise UsageError(
                f"{text} is the beginning of {len(found)} digests", hint="write more digits of it"
            )
        if not found:
            raise not_stored(text)
        return found[0]

    def wanting(self, digest: Digest) -> list[str]:
        """The images that need it, by name, though it is not there."""
        named = {record.name for record in self._tagged.get(digest, ())}
        for image in self.images:
            manifests = [self._manifests[each] for each in image.blobs if each in self._manifests]
            if any(digest == entry.digest for manifest in manifests for entry in manifest.references):
                named.add(image.name)
        return sorted(named)


def not_stored(name: str) -> NotStored:
    """The error for a name of nothing that is there."""
    return NotStored(
        sentence("{name} is not in the store", name=name),
        hint=sentence("sampan store list shows what is; sampan pull --to store brings more"),
    )
