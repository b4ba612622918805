"""From what was surveyed to the list of contents: what is packed, into which volume, and at which byte.

Guarantees that all of it is known before the first blob comes, from the sizes that manifests tell; that the
same images give the same places; and that every volume, recovery volumes too, is as small as it must be.
Pure. The digests of parts of a split blob are the one thing that only its bytes tell: see :func:`with_parts`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from sampan.bundle.contents import (
    CONTENTS_BYTES_MAX,
    FORMAT,
    VERSION,
    VOLUMES_MAX,
    Asked,
    Blob,
    Contents,
    Elsewhere,
    File,
    Image,
    Place,
    render_contents,
)
from sampan.bundle.layout import BLOCK_BYTES, END, head_bytes, placed
from sampan.bundle.others import describe_all, files_for_others
from sampan.bundle.rows import volume_bytes_max
from sampan.bundle.survey import Surveyed
from sampan.bundle.volumes import MEMBER_BYTES, PART_BYTES_MIN, Piece, fill
from sampan.errors import InvalidManifest, SampanError, UsageError
from sampan.oci.digest import Digest
from sampan.oci.manifest import Descriptor
from sampan.pull.sinks.describe import Described

UNKNOWN = Digest("sha256", "0" * 64)  # of a part whose bytes have not come yet: as long as any other
MIB = 1024 * 1024
ROUNDS_MAX = 20  # the list tells places that depend on its own length: two or three rounds settle it

Images = Sequence[tuple[Surveyed, Described]]


@dataclass(frozen=True, slots=True)
class Plan:
    """``contents``: the list; ``raw``: its bytes, of their final length; ``files``: the bytes of each member
    for other programs, by volume and name."""

    contents: Contents
    raw: bytes
    files: Mapping[tuple[int, str], bytes]


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who makes the bundle and when: ``sampan 0.1.0``; UTC, RFC 3339."""

    by: str
    at: str


def arrange(images: Sequence[Surveyed], asked: Asked, held: Collection[Digest], stamp: Stamp) -> Plan:
    """The plan for ``images``; of blobs those that are not ``held`` on the far side are packed.

    Raises UsageError when volumes are too small or too many, or two images would have one name;
    InvalidManifest when manifests contradict each other about a size.
    """
    return _Arrangement(images, asked, held, stamp).settle()


def with_parts(contents: Contents, digests: Mapping[tuple[Digest, int], Digest]) -> Contents:
    """``contents`` with the digests of the parts of split blobs, by blob and number from 1."""
    blobs = []
    for blob in contents.blobs:
        parts = enumerate(blob.parts, start=1)
        known = tuple(replace(part, digest=digests[blob.digest, number]) for number, part in parts)
        blobs.append(replace(blob, parts=known))
    return replace(contents, blobs=tuple(blobs))


def padded(contents: Contents, length: int) -> bytes:
    """The bytes of the list, filled up with spaces."""
    return render_contents(contents).ljust(length)


class _Arrangement:
    def __init__(
        self, images: Sequence[Surveyed], asked: Asked, held: Collection[Digest], stamp: Stamp
    ) -> None:
        self._asked = asked
        self._stamp = stamp
        self._described = describe_all(images)
        self._sizes, self._types = _sizes_of(images)
        self._images = images
        packed = {digest for digest in self._sizes if digest in self._types or digest not in held}
        self._groups = _groups(images, packed)
        self._elsewhere = tuple(Elsewhere(d, size) for d, size in self._sizes.items() if d not in packed)
        self._packed = frozenset(packed)

    def settle(self) -> Plan:
        """The list tells places, places depend on the length of the list and, with recovery volumes, on the
        number of volumes: again, until nothing grows any more."""
        length, count = BLOCK_BYTES, 1
        for _ in range(ROUNDS_MAX):
            pieces, volumes = fill(self._sized_groups(), self._capacity(length, count))
            self._check_count(volumes)
            plan = self._plan(pieces, volumes, length)
            if len(plan.raw) > CONTENTS_BYTES_MAX:
                raise UsageError(
                    f"the list of contents would have more than {CONTENTS_BYTES_MAX} bytes",
                    hint="pack the images into several bundles",
                )
            if len(plan.raw) <= length and volumes <= count:
                return Plan(plan.contents, plan.raw.ljust(length), plan.files)
            length, count = max(length, _rounded(len(plan.raw))), max(count, volumes)
        raise SampanError("the places in the bundle do not settle")

    def _sized_groups(self) -> list[list[tuple[Digest, int]]]:
        return [[(digest, self._sizes[digest]) for digest in group] for group in self._groups]

    def _capacity(self, length: int, count: int) -> int | None:
        """Of a volume for blobs; None when there is to be a single one of any size."""
        asked = self._asked
        if not asked.volume_bytes:
            return None
        whole = volume_bytes_max(asked.volume_bytes, head_bytes(length), count) if asked.parity else None
        room = whole if whole is not None else asked.volume_bytes
        others = sum(
            len(data) + MEMBER_BYTES for data in files_for_others(self._described, frozenset()).values()
        )
        capacity = room - head_bytes(length) - len(END) - others
        if capacity < PART_BYTES_MIN + MEMBER_BYTES:
            # And one more: with more volumes the list grows, and so does what each of them needs.
            need = -(-(asked.volume_bytes - capacity + MEMBER_BYTES) // MIB) + 2
            raise UsageError(
                f"volumes of {asked.volume_bytes} bytes are too small for this bundle",
                hint=f"its list and names alone need room in each of them: --volume-size {need}MiB or more",
            )
        return capacity

    def _check_count(self, volumes: int) -> None:
        if volumes + self._asked.parity > VOLUMES_MAX:
            raise UsageError(
                f"that would be {volumes} volumes and {self._asked.parity} to recover them, "
                f"and {VOLUMES_MAX} is the limit",
                hint="choose a larger --volume-size",
            )

    def _plan(self, pieces: Sequence[Piece], volumes: int, length: int) -> Plan:
        where = _by_digest(pieces)
        files = {
            (volume, name): data
            for volume in range(1, volumes + 1)
            for name, data in files_for_others(self._whole_in(volume, where), self._packed).items()
        }
        contents = Contents(
            format=FORMAT,
            version=VERSION,
            created_by=self._stamp.by,
            created_at=self._stamp.at,
            asked=self._asked,
            images=tuple(map(_image, self._images)),
            blobs=tuple(self._blob(digest, where[digest]) for digest in where),
            elsewhere=self._elsewhere,
            files=tuple(
                File(name, volume, 0, len(data), Digest.of(data)) for (volume, name), data in files.items()
            ),
            volumes=(0,) * volumes,
        )
        contents = placed(contents, length)
        return Plan(contents, render_contents(contents), files)

    def _whole_in(self, volume: int, where: Mapping[Digest, Sequence[Piece]]) -> Images:
        """The images all of whose packed parts are in ``volume``."""
        return [
            (image, described)
            for image, described in self._described
            if all(
                piece.volume == volume
                for part in (*image.wanted.manifests, *image.wanted.blobs)
                for piece in where.get(part.digest, ())
            )
        ]

    def _blob(self, digest: Digest, pieces: Sequence[Piece]) -> Blob:
        size, media_type = self._sizes[digest], self._types.get(digest, "")
        if len(pieces) == 1:
            return Blob(digest, size, volume=pieces[0].volume, media_type=media_type)
        parts = tuple(Place(piece.volume, 0, piece.size, UNKNOWN) for piece in pieces)
        return Blob(digest, size, parts=parts, media_type=media_type)


def _sizes_of(images: Sequence[Surveyed]) -> tuple[dict[Digest, int], dict[Digest, str]]:
    """Of all that is needed: sizes, and the media types of manifests."""
    sizes: dict[Digest, int] = {}
    types: dict[Digest, str] = {}
    for image in images:
        for manifest in image.wanted.manifests:
            types[manifest.digest] = manifest.media_type
            sizes[manifest.digest] = manifest.size
    for image in images:
        for blob in image.wanted.blobs:
            _note_size(sizes, blob, image)
    return sizes, types


def _note_size(sizes: dict[Digest, int], blob: Descriptor, image: Surveyed) -> None:
    if sizes.setdefault(blob.digest, blob.size) != blob.size:
        raise InvalidManifest(
            f"{image.wanted.reference} says that {blob.digest} has {blob.size} bytes, "
            f"and another manifest says {sizes[blob.digest]}",
            hint="one of them is wrong, and no client could pull that image: leave it out",
        )


def _groups(images: Sequence[Surveyed], packed: Collection[Digest]) -> list[list[Digest]]:
    """What each image brings of ``packed`` that none before it did, in the order of its parts."""
    seen: set[Digest] = set()
    groups = []
    for image in images:
        parts = (part.digest for part in (*image.wanted.manifests, *image.wanted.blobs))
        group = [digest for digest in dict.fromkeys(parts) if digest in packed and digest not in seen]
        seen.update(group)
        groups.append(group)
    return groups


def _by_digest(pieces: Sequence[Piece]) -> dict[Digest, list[Piece]]:
    found: dict[Digest, list[Piece]] = {}
    for piece in pieces:
        found.setdefault(piece.digest, []).append(piece)
    return found


def _image(image: Surveyed) -> Image:
    wanted = image.wanted
    return Image(
        wanted.reference,
        tuple(manifest.digest for manifest in wanted.manifests),
        tuple(blob.digest for blob in wanted.blobs),
        tuple(map(str, wanted.platforms)),
        image.attached_to,
    )


def _rounded(length: int) -> int:
    return length + -length % BLOCK_BYTES
