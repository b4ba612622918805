"""What some archives hold together: images, and where each of their blobs lies.

Guarantees that a blob is given out only when its bytes have been found to hash to its digest by this process;
that volumes of one bundle count as one, and those of two bundles never do. It writes nothing, and brings
nothing anywhere: see :mod:`sampan.bundle.load` and :mod:`sampan.bundle.served`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from sampan.bundle.archive import Archive, open_archive
from sampan.bundle.contents import Blob
from sampan.bundle.extent import Extent
from sampan.bundle.group import Group, Part, grouped
from sampan.bundle.named import Named, check_names, renamed
from sampan.errors import BundleDamaged, BundleIncomplete, UsageError
from sampan.oci.digest import Digest, new_hasher
from sampan.oci.manifest import MANIFEST_BYTES_MAX, Descriptor, Index, Manifest, parse_manifest
from sampan.oci.platform import Platform
from sampan.oci.reference import Reference
from sampan.pull.closure import AnyManifest, Steps, Wanted, closure
from sampan.store.content import OpenBlob

log = logging.getLogger(__name__)

Beside = Callable[[Digest], bytes | None]
Told = Callable[[int], None]
"""Hears how many bytes have been read; called in a thread. What it raises ends the reading."""


@dataclass(frozen=True, slots=True)
class CarriedImage:
    """An image with its name. ``title``: what it comes from, as a tag's record says it; ``group``: which of
    the bundles or archives, a number."""

    named: Named
    reference: Reference
    title: str
    group: int


@dataclass(slots=True)
class Carried:
    """The archives, opened. ``images``: those with a name, in their order; ``unnamed``: the others."""

    groups: list[Group]
    images: tuple[CarriedImage, ...] = ()
    unnamed: tuple[Named, ...] = ()
    _blobs: dict[Digest, tuple[Archive, str]] = field(default_factory=dict)
    _made: dict[Digest, bytes] = field(default_factory=dict)
    _listed: dict[Digest, tuple[Group, Blob]] = field(default_factory=dict)
    _doubted: set[Digest] = field(default_factory=set)
    _verified: set[Digest] = field(default_factory=set)
    _needed: set[Digest] = field(default_factory=set)

    @classmethod
    def opened(
        cls, paths: Sequence[Path], *, name: Reference | None = None, stop: Event | None = None
    ) -> Carried:
        """What is in the files ``paths``. ``name``: of the one image among them that has none. ``stop``: ends
        it, with Stopped, where it takes long.

        Raises BundleError for a file that is refused, and then none of them is used.
        """
        with ExitStack() as stack:
            archives = []
            for path in paths:
                archives.append(open_archive(path, stop))
                stack.callback(archives[-1].close)
            carried = cls(grouped(archives))
            for group in carried.groups:
                stack.callback(group.close)
            carried._find_blobs()
            carried._find_images(name)
            stack.pop_all()
        return carried

    @property
    def archives(self) -> tuple[Archive, ...]:
        """All of them."""
        return tuple(archive for group in self.groups for archive in group.archives)

    # -- what is here ------------------------------------------------------------------------------

    def _find_blobs(self) -> None:
        for group in self.groups:
            self._made |= group.names.made
            for archive in group.archives:
                members = [*_layout_blobs(archive), *group.names.members.items()]
                for digest, member in members:
                    self._blobs.setdefault(digest, (archive, member))
            for blob in group.contents.blobs if group.contents else ():
                self._listed.setdefault(blob.digest, (group, blob))

    def _find_images(self, name: Reference | None) -> None:
        images: list[CarriedImage] = []
        unnamed: list[Named] = []
        for number, group in enumerate(self.groups):
            title = group.archives[0].title
            for named in group.names.images:
                if named.reference is None:
                    unnamed.append(named)
                called = renamed(named, name) if named.reference is None and name is not None else named
                if called.reference is not None:
                    images.append(CarriedImage(called, called.reference, title, number))
        if name is not None and len(unnamed) != 1:
            raise UsageError(
                f"{len(unnamed)} images there have no name, and one is given",
                hint="load the files one by one" if unnamed else "leave --as out",
            )
        self.unnamed = () if name is not None else tuple(unnamed)
        check_names([image.named for image in images])
        self.images = tuple({image.reference: image for image in images}.values())

    def __contains__(self, digest: object) -> bool:
        return digest in self._blobs or digest in self._made

    def volumes_with(self, image: CarriedImage, digests: Container[Digest]) -> tuple[int, ...]:
        """Which volumes of its bundle have ``digests``, of those that are not here."""
        group = self.groups[image.group]
        blobs = group.contents.blobs if group.contents is not None else ()
        places = (place for blob in blobs if blob.digest in digests for place in blob.places)
        return tuple(sorted({place.volume for place in places if not group.has(place.volume)}))

    def wanted(
        self, image: CarriedImage, platforms: Sequence[Platform] | None, beside: Beside = lambda _: None
    ) -> Wanted:
        """All that it needs, of the platforms that are carried; ``platforms`` None: all of those. ``beside``:
        where a manifest may be that came in another volume, earlier.

        Raises BundleIncomplete when a manifest of it is in neither, PlatformMissing, InvalidManifest.
        """
        named = image.named

        def find(descriptor: Descriptor) -> AnyManifest:
            found = self.manifest(descriptor.digest, descriptor.media_type)
            if found is None and (raw := beside(descriptor.digest)) is not None:
                found = _parsed(raw, descriptor.digest, descriptor.media_type)
            if found is None:
                raise BundleIncomplete(
                    f"{descriptor.digest} of {image.reference} is not in {image.title}",
                    hint="another volume of the bundle may have it",
                )
            return found

        only: Container[Digest] = self if named.manifests is None else named.manifests
        wanted = _walked(closure(image.reference, find(named.root), platforms, only=only), find)
        if isinstance(wanted.root, Index) and not wanted.images:
            raise BundleIncomplete(
                f"nothing that the index of {image.reference} lists is in {image.title}",
                hint="get the archive anew from whoever made it",
            )
        self._needed.update(part.digest for part in (*wanted.manifests, *wanted.blobs))
        return wanted

    @property
    def unused(self) -> int:
        """How many blobs of other programs' archives no image has needed that was asked for."""
        groups = [group for group in self.groups if group.contents is None]
        found = [blob for group in groups for one in group.archives for blob, _ in _layout_blobs(one)]
        return len(set(found) - self._needed)

    def manifest(self, digest: Digest, media_type: str | None = None) -> Manifest | Index | None:
        """The manifest, verified; None when it is not here. Raises BundleDamaged, InvalidManifest."""
        raw = self.small(digest)
        return None if raw is None else _parsed(raw, digest, media_type)

    def small(self, digest: Digest) -> bytes | None:
        """A blob that is no larger than a manifest may be, verified; None when it is not here."""
        raw, where = self._made.get(digest), ""
        if raw is None and digest in self._blobs and digest not in self._doubted:
            archive, member = self._blobs[digest]
            raw, where = archive.small(member), f"{member} in {archive.name}"
        elif raw is None and (self.size_of(digest) or MANIFEST_BYTES_MAX + 1) <= MANIFEST_BYTES_MAX:
            parts = self.parts(digest)
            raw, where = b"".join(part.extent.read() for part in parts), _names(parts)
        if raw is not None and Digest.of(raw, digest.algorithm) != digest:
            if self.doubt(digest):
                return self.small(digest)
            raise damaged(digest, where)
        return raw

    # -- where it lies -----------------------------------------------------------------------------

    def size_of(self, digest: Digest) -> int | None:
        """In bytes; None when not all of it is here."""
        if digest in self._made:
            return len(self._made[digest])
        if digest in self._blobs:
            archive, member = self._blobs[digest]
            found = archive.resolve(member)
            return None if found is None else found.size
        group, blob = self._listed.get(digest, (None, None))
        if group is None or blob is None or not group.has_all_of(blob):
            return None
        return blob.size

    def whole_size_of(self, digest: Digest) -> int | None:
        """Of a blob of which some part is here, or all of it, in bytes."""
        size = self.size_of(digest)
        group, blob = self._listed.get(digest, (None, None))
        if size is None and group is not None and blob is not None and self.parts(digest):
            return blob.size
        return size

    def packed(self, digest: Digest) -> tuple[Archive, str] | None:
        """The packed archive that has it, and its member; None when it can be read where it lies."""
        archive, member = self._blobs.get(digest, (None, ""))
        return (archive, member) if archive is not None and archive.is_packed else None

    def check_packed(self, digest: Digest) -> None:
        """Raises BundleDamaged when it is in a packed archive and not what it is named."""
        found = self.packed(digest)
        if found is not None:
            archive, member = found
            name = member if (there := archive.resolve(member)) is None else there.name
            if archive.digests.get(name, digest) != digest:
                raise damaged(digest, f"{member} in {archive.name}")

    def parts(self, digest: Digest) -> tuple[Part, ...]:
        """Where its bytes lie, in order: one part for a whole blob, else those that are here. Empty: nothing
        of it is here, or it is in a packed archive. Raises BundleError."""
        group, blob = self._listed.get(digest, (None, None))
        if digest in self._blobs and digest not in self._doubted:
            archive, member = self._blobs[digest]
            extent = archive.extent(member)
            return () if extent is None else (Part(0, digest, extent),)
        if group is None or blob is None:
            return ()
        return tuple(group.parts_of(blob, doubted=digest in self._doubted))

    def doubt(self, digest: Digest) -> bool:
        """Its bytes were read, and are wrong: whether they can be had from recovery volumes instead. Then
        they are, from now on."""
        group, _ = self._listed.get(digest, (None, None))
        if group is None or group.rows is None or digest in self._doubted:
            return False
        log.warning("%s is damaged where it lies: it is had from the recovery volumes", digest)
        self._doubted.add(digest)
        return True

    # -- verified content --------------------------------------------------------------------------

    def verify(self, digest: Digest, told: Told) -> int:
        """Read all of it, and find that it hashes to its digest; its size in bytes. Blocks.

        Raises BundleDamaged, naming the file, or BundleIncomplete.
        """
        parts, size = self.parts(digest), self.size_of(digest)
        if not parts or size is None:
            raise BundleIncomplete(f"{digest} is not here, or not all of it")
        if digest in self._verified:
            return size
        hasher, read = new_hasher(digest.algorithm), 0
        for part in parts:
            with part.extent.strides() as pieces:
                for data in pieces:
                    hasher.update(data)
                    told(read := read + len(data))
        if Digest.from_hasher(hasher) != digest:
            if self.doubt(digest):
                return self.verify(digest, told)
            raise damaged(digest, _names(parts))
        self._verified.add(digest)
        return size

    def is_verified(self, digest: Digest) -> bool:
        """Whether :meth:`verify` has found it right."""
        return digest in self._verified

    def open(self, digest: Digest) -> OpenBlob | None:
        """A verified blob that lies in one piece, where it lies; None for any other."""
        parts = self.parts(digest) if digest in self._verified else ()
        extent = parts[0].extent if len(parts) == 1 else None
        if not isinstance(extent, Extent):
            return None
        return OpenBlob(digest, extent.open(), extent.size, lambda _: None, extent.offset)

    def close(self) -> None:
        """Let go of the files."""
        for group in self.groups:
            group.close()
        for archive in self.archives:
            archive.close()


def _names(parts: Sequence[Part]) -> str:
    return " and ".join(part.extent.name for part in parts)


def _parsed(raw: bytes, digest: Digest, media_type: str | None) -> AnyManifest:
    return parse_manifest(raw, media_type=media_type, algorithm=digest.algorithm)


def _walked(steps: Steps, find: Callable[[Descriptor], AnyManifest]) -> Wanted:
    try:
        needed = next(steps)
        while True:
            needed = steps.send([find(entry) for entry in needed])
    except StopIteration as stop:
        wanted: Wanted = stop.value
        return wanted


def damaged(digest: Digest, where: str) -> BundleDamaged:
    """The error for bytes that are not those of ``digest``."""
    return BundleDamaged(
        f"{where} is damaged: it is not {digest}",
        hint="copy the file again; sampan bundle repair mends it where there are recovery volumes",
    )


def _layout_blobs(archive: Archive) -> list[tuple[Digest, str]]:
    """The whole blobs that lie under the names of a layout."""
    found = []
    for member in archive.members if archive.kind != "docker" else ():
        top, _, rest = member.partition("/")
        if top == "blobs" and "." not in rest:
            found.append((Digest(*rest.split("/")), member))
    return found
