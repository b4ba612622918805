"""The list of contents of a bundle: every image, every blob and where its bytes lie, on its first page.

Guarantees that a :class:`Contents` agrees with itself: each digest is there once, every image has all its
manifests, and what it needs besides is either packed or said to be elsewhere. Whether the places fit into a
file is :mod:`sampan.bundle.layout`'s to say, whether the bytes are right :mod:`sampan.bundle.verify`'s. The
format is described in docs/bundle-format.md. Nothing here reads a file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Literal, NoReturn

from sampan.bundle.records import Count, DigestText, Record, ReferenceText, decode, encode
from sampan.errors import InvalidBundle, printable
from sampan.oci.digest import Digest
from sampan.oci.manifest import MANIFEST_BYTES_MAX, MANIFEST_TYPES

FORMAT: Literal["sampan-bundle"] = "sampan-bundle"
VERSION = 1  # of the format that is written; a reader refuses what it does not know
CONTENTS_BYTES_MAX = 64 * 1024 * 1024  # 10,000 images of 20 blobs need some 25 MiB
VOLUMES_MAX = (
    255  # data and recovery together: the arithmetic of the recovery knows 255 (docs/bundle-format.md)
)
FILE_NAMES = ("index.json", "manifest.json", "oci-layout")  # beside what lies below blobs


class Place(Record, frozen=True):
    """Where bytes lie: ``size`` of them from ``offset`` on in the tar of ``volume``, which counts from 1.

    ``digest`` is that of just these bytes."""

    volume: Count
    offset: Count
    size: Count
    digest: DigestText


class Blob(Record, frozen=True):
    """A manifest or blob that is packed. ``media_type``: of a manifest; empty for what is none.

    Whole in one place (``volume``, ``offset``), or larger than a volume and in several ``parts``."""

    digest: DigestText
    size: Count
    volume: Count = 0
    offset: Count = 0
    parts: tuple[Place, ...] = ()
    media_type: str = ""

    @property
    def places(self) -> tuple[Place, ...]:
        """Its parts in order; one when it is whole."""
        return self.parts or (Place(self.volume, self.offset, self.size, self.digest),)


class Elsewhere(Record, frozen=True):
    """A blob that an image needs and that is not packed, for the inventory says that it is there."""

    digest: DigestText
    size: Count


class File(Record, frozen=True):
    """What only other programs read, as a member of one volume: ``oci-layout``, ``index.json``,
    ``manifest.json``, and below ``blobs`` an index of ours that lists just what is there."""

    name: str
    volume: Count
    offset: Count
    size: Count
    digest: DigestText


class Image(Record, frozen=True):
    """One reference. ``manifests``: all that were kept, indexes before what they list, so that the first is
    what the reference means. ``blobs``: configs first. ``platforms``: kept, as text; empty where nothing
    tells. ``attached_to``: the image, as it is listed here, that this is attached to: a signature."""

    reference: ReferenceText
    manifests: tuple[DigestText, ...]
    blobs: tuple[DigestText, ...] = ()
    platforms: tuple[str, ...] = ()
    attached_to: ReferenceText | None = None

    @property
    def root(self) -> Digest:
        """What the reference means: its digest at the time."""
        return self.manifests[0]

    @property
    def needs(self) -> tuple[Digest, ...]:
        """All of it."""
        return (*self.manifests, *self.blobs)


class Without(Record, frozen=True):
    """The inventory that was subtracted: the digest of its bytes, and what it is ``of``, in its own words."""

    digest: DigestText
    of: str


class Asked(Record, frozen=True):
    """What the bundle was asked to hold; a creation that was interrupted goes on when it is asked the same.

    ``references`` as they were written, sorted. ``platforms``: None for all. ``volume_bytes``: 0 for one
    file of any size."""

    references: tuple[str, ...]
    platforms: tuple[str, ...] | None = None
    referrers: bool = False
    without: tuple[Without, ...] = ()
    volume_bytes: Count = 0
    parity: Count = 0


class Contents(Record, frozen=True, kw_only=True):
    """All of it. ``volumes``: the size in bytes of each data volume, head and end included; recovery
    volumes are counted in ``asked.parity``. ``blobs`` stand in the order in which they lie."""

    format: Literal["sampan-bundle"]
    version: int
    created_by: str
    created_at: str
    asked: Asked
    images: tuple[Image, ...]
    blobs: tuple[Blob, ...]
    elsewhere: tuple[Elsewhere, ...]
    files: tuple[File, ...]
    volumes: tuple[Count, ...]

    @property
    def size_bytes(self) -> int:
        """Of the data volumes together."""
        return sum(self.volumes)

    def images_with(self, digests: Iterable[Digest]) -> tuple[Image, ...]:
        """Those that need one of ``digests``: what is spoilt when these are."""
        wanted = frozenset(digests)
        return tuple(image for image in self.images if not wanted.isdisjoint(image.needs))


def render_contents(contents: Contents) -> bytes:
    """The bytes of the list; spaces may follow them."""
    return encode(contents)


def parse_contents(raw: bytes) -> Contents:
    """The list that ``raw`` is. Raises InvalidBundle, naming the place in it, or the version of it."""
    what = "a bundle's list of contents"
    contents = decode(raw, Contents, what=what, version=VERSION, bytes_max=CONTENTS_BYTES_MAX)
    _check(contents)
    return contents


# -- whether it agrees with itself -----------------------------------------------------------------


def _check(contents: Contents) -> None:
    if not 1 <= len(contents.volumes) <= VOLUMES_MAX - contents.asked.parity:
        _refuse(f"it is of {len(contents.volumes)} volumes and {contents.asked.parity} to recover them")
    packed = {blob.digest: blob for blob in contents.blobs}
    known = packed.keys() | {blob.digest for blob in contents.elsewhere}
    if len(known) != len(contents.blobs) + len(contents.elsewhere):
        _refuse("it lists a digest twice")
    for blob in contents.blobs:
        _check_blob(blob, len(contents.volumes))
    for image in contents.images:
        _check_image(image, packed, known)
    _check_files(contents, packed)


def _check_blob(blob: Blob, volumes: int) -> None:
    if any(not 1 <= place.volume <= volumes for place in blob.places):
        _refuse(f"{blob.digest} is in a volume that there is not")
    is_whole = not blob.parts or (
        len(blob.parts) > 1
        and not (blob.volume or blob.offset)
        and sum(part.size for part in blob.parts) == blob.size
    )
    if not is_whole:
        _refuse(f"the parts of {blob.digest} are not what it is")
    if blob.media_type and (blob.media_type not in MANIFEST_TYPES or blob.size > MANIFEST_BYTES_MAX):
        _refuse(f"{blob.digest} can be no manifest")


def _check_image(image: Image, packed: Mapping[Digest, Blob], known: Collection[Digest]) -> None:
    if not image.manifests:
        _refuse(f"{image.reference} has no manifest")
    for digest in image.manifests:
        if digest not in packed or not packed[digest].media_type:
            _refuse(f"{image.reference} lacks its manifest {digest}")
    for digest in image.blobs:
        if digest not in known:
            _refuse(f"{image.reference} needs {digest}, which is not listed")


def _check_files(contents: Contents, packed: Collection[Digest]) -> None:
    """Their names are the ones that there are, each once in a volume, and none is that of a blob."""
    for file in contents.files:
        named = {*FILE_NAMES, f"blobs/{file.digest.algorithm}/{file.digest.hex}"}
        if file.name not in named or file.digest in packed or not 1 <= file.volume <= len(contents.volumes):
            _refuse(f"there can be no {printable(file.name, characters_max=100)} in volume {file.volume}")
    if len({(file.volume, file.name) for file in contents.files}) != len(contents.files):
        _refuse("it lists a file twice")


def _refuse(reason: str) -> NoReturn:
    raise InvalidBundle(
        f"the list of contents contradicts itself: {reason}", hint="get the bundle anew from whoever made it"
    )
