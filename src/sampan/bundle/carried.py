"""What some archives hold together: images, and where each of their blobs lies.

Guarantees that a blob is given out only when its bytes have been found to hash to its digest by this process;
that volumes of one bundle count as one, and those of two bundles never do. It writes nothing, and brings
nothing anywhere: see :mod:`sampan.bundle.load` and :mod:`sampan.bundle.served`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from sampan.bundle.archive import Archive, Extent, open_archive
from sampan.bundle.contents import Blob, Contents
from sampan.bundle.layout import part_name
from sampan.bundle.named import Named, Names, check_names, names_in, renamed
from sampan.bundle.tape import reading
from sampan.errors import BundleDamaged, BundleIncomplete, UsageError
from sampan.oci.digest import Digest, new_hasher
from sampan.oci.manifest import Descriptor, Index, Manifest, parse_manifest
from sampan.oci.platform import Platform
from sampan.oci.reference import Reference
from sampan.pull.closure import AnyManifest, Steps, Wanted, closure
from sampan.store.content import OpenBlob

STRIDE_BYTES = 4 * 1024 * 1024

Beside = Callable[[Digest], bytes | None]
Told = Callable[[int], None]
"""Hears how many bytes have been read; called in a thread. What it raises ends the reading."""


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a blob, from ``start`` on. ``digest``: of just these."""

    start: int
    digest: Digest
    extent: Extent


@dataclass(frozen=True, slots=True)
class CarriedImage:
    """An image with its name. ``title``: what it comes from, as a tag's record says it; ``group``: which of
    the bundles or archives, a number."""

    named: Named
    reference: Reference
    title: str
    group: int


@dataclass(slots=True)
class _Group:
    """The volumes of one bundle, or one archive of another program."""

    archives: list[Archive]
    names: Names
    contents: Contents | None = None

    @property
    def volumes(self) -> frozenset[int]:
        """Of a bundle: those that are here."""
        heads = [archive.head for archive in self.archives]
        return frozenset(
            head.volume.number for head in heads if head and head.volume and head.volume.kind == "data"
        )

    @property
    def is_whole(self) -> bool:
        """Whether nothing of it is in a volume that is not here."""
        listed = self.contents.volumes if self.contents else ()
        return len(self.volumes) == len(listed) or any(a.head and not a.head.volume for a in self.archives)


@dataclass(slots=True)
class Carried:
    """The archives, opened. ``images``: those with a name, in their order; ``unnamed``: the others."""

    groups: list[_Group]
    images: tuple[CarriedImage, ...] = ()
    unnamed: tuple[Named, ...] = ()
    _blobs: dict[Digest, tuple[Archive, str]] = field(default_factory=dict)
    _made: dict[Digest, bytes] = field(default_factory=dict)
    _split: dict[Digest, tuple[_Group, Blob]] = field(default_factory=dict)
    _verified: set[Digest] = field(default_factory=set)

    @classmethod
    def opened(cls, paths: Sequence[Path], *, name: Reference | None = None) -> Carried:
        """What is in the files ``paths``. ``name``: of the one image among them that has none.

        Raises BundleError for a file that is refused, and then none of them is used.
        """
        with ExitStack() as stack:
            archives = []
            for path in paths:
                archives.append(open_archive(path))
                stack.callback(archives[-1].close)
            carried = cls(_grouped(archives))
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
                if blob.parts:
                    self._split.setdefault(blob.digest, (group, blob))

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
        blobs = group.contents.blobs if group.contents is not None and not group.is_whole else ()
        places = (place for blob in blobs if blob.digest in digests for place in blob.places)
        return tuple(sorted({place.volume for place in places} - group.volumes))

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
        return wanted

    def manifest(self, digest: Digest, media_type: str | None = None) -> Manifest | Index | None:
        """The manifest, verified; None when it is not here. Raises BundleDamaged, InvalidManifest."""
        raw = self.small(digest)
        return None if raw is None else _parsed(raw, digest, media_type)

    def small(self, digest: Digest) -> bytes | None:
        """A blob that is no larger than a manifest may be, verified; None when it is not here."""
        raw = self._made.get(digest)
        if raw is None and digest in self._blobs:
            archive, member = self._blobs[digest]
            raw = archive.small(member)
            if raw is not None and Digest.of(raw, digest.algorithm) != digest:
                raise damaged(digest, f"{member} in {archive.name}")
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
        _, blob = self._split.get(digest, (None, None))
        return blob.size if blob is not None and len(self.parts(digest)) == len(blob.parts) else None

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
        if digest in self._blobs:
            archive, member = self._blobs[digest]
            extent = archive.extent(member)
            return () if extent is None else (Part(0, digest, extent),)
        group, blob = self._split.get(digest, (None, None))
        return () if group is None or blob is None else tuple(_parts_in(group, blob))

    def whole_size_of(self, digest: Digest) -> int | None:
        """Of a blob of which some part is here, in bytes; as its bundle lists it."""
        return self._split[digest][1].size if digest in self._split else self.size_of(digest)

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
            with strides(part.extent) as pieces:
                for data in pieces:
                    hasher.update(data)
                    told(read := read + len(data))
        if Digest.from_hasher(hasher) != digest:
            raise damaged(digest, " and ".join(part.extent.name for part in parts))
        self._verified.add(digest)
        return size

    def is_verified(self, digest: Digest) -> bool:
        """Whether :meth:`verify` has found it right."""
        return digest in self._verified

    def open(self, digest: Digest) -> OpenBlob | None:
        """A verified blob that lies in one piece, where it lies; None for any other."""
        parts = self.parts(digest) if digest in self._verified else ()
        if len(parts) != 1:
            return None
        extent = parts[0].extent
        return OpenBlob(digest, extent.open(), extent.size, lambda _: None, extent.offset)

    def close(self) -> None:
        """Let go of the files."""
        for archive in self.archives:
            archive.close()


def _parts_in(group: _Group, blob: Blob) -> Iterator[Part]:
    start = 0
    for number, place in enumerate(blob.parts, start=1):
        extents = (archive.extent(part_name(blob, number)) for archive in group.archives)
        extent = next(filter(None, extents), None)
        if extent is not None:
            yield Part(start, place.digest, extent)
        start += place.size


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


@contextmanager
def strides(extent: Extent, start: int = 0) -> Iterator[Iterator[memoryview]]:
    """The bytes of ``extent`` from ``start`` on, some MiB at a time: each is gone with the next.

    Raises BundleError when they cannot be read.
    """
    with extent.open() as file:
        yield _strides(extent, file, start)


def _strides(extent: Extent, file: FileIO, start: int) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(min(STRIDE_BYTES, max(extent.size, 1))))
    position, stop = extent.offset + start, extent.offset + extent.size
    while position < stop:
        with reading(extent.name):
            count = os.preadv(file.fileno(), [buffer[: stop - position]], position)
        if not count:
            raise BundleIncomplete(f"{extent.name} ends early", hint="was the file changed meanwhile?")
        yield buffer[:count]
        position += count


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


def _grouped(archives: Sequence[Archive]) -> list[_Group]:
    """The volumes of each bundle together; each other archive alone."""
    bundles: dict[Digest, _Group] = {}
    groups: list[_Group] = []
    for archive in archives:
        head = archive.head
        if head is None:
            groups.append(_Group([archive], names_in(archive)))
        elif head.bundle in bundles:
            bundles[head.bundle].archives.append(archive)
        else:
            bundles[head.bundle] = _Group([archive], names_in(archive), head.contents)
            groups.append(bundles[head.bundle])
    return groups
