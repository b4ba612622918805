"""Where everything lies in the tar of a volume: the one answer for whoever writes it, checks it or reads it.

A volume is a function of the list of contents and of the blobs: its head, then members one after the other,
then the end; each header is the only one that its name and size can have. Guarantees that the members of a
list of contents lie where their sizes put them, without a gap and without an overlap: a list that says
otherwise is refused by :func:`check_layout`. Pure.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from sampan.bundle.contents import Blob, Contents, Place
from sampan.errors import InvalidBundle
from sampan.oci.digest import Digest

BLOCK_BYTES = 512  # tar's
END = bytes(2 * BLOCK_BYTES)
CONTENTS_NAME = "sampan-bundle.json"
VOLUME_NAME = "sampan-volume.json"
SIGNATURE_NAME = "sampan-signature.json"
VOLUME_BYTES = 512  # their members have one size, whatever is in them: spaces fill them up
SIGNATURE_BYTES = 1024
MODE = 0o644


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a volume: its ``size`` bytes begin at ``offset``, their header at ``start``."""

    name: str
    start: int
    offset: int
    size: int
    digest: Digest

    @property
    def stop(self) -> int:
        """Where the next header is: behind the zeros that fill the last block."""
        return self.offset + self.size + padding_bytes(self.size)

    @property
    def header(self) -> bytes:
        """What stands from ``start`` to ``offset``."""
        return header_of(self.name, self.size)


def header_of(name: str, size_bytes: int) -> bytes:
    """The one header that such a member can have: no times, no owners; pax where ustar has no room."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size_bytes, MODE
    return member.tobuf(tarfile.PAX_FORMAT)


def padding_bytes(size_bytes: int) -> int:
    """How many zeros follow ``size_bytes``."""
    return -size_bytes % BLOCK_BYTES


def head_bytes(contents_bytes: int) -> int:
    """Where the first member after the head begins, with a list of contents of so many bytes."""
    members = (CONTENTS_NAME, contents_bytes), (VOLUME_NAME, VOLUME_BYTES), (SIGNATURE_NAME, SIGNATURE_BYTES)
    return sum(len(header_of(name, size)) + size + padding_bytes(size) for name, size in members)


def blob_name(digest: Digest) -> str:
    """As in an OCI layout."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


def part_name(blob: Blob, number: int) -> str:
    """Of the part ``number``, from 1, of a blob that is larger than a volume."""
    return f"{blob_name(blob.digest)}.part-{number}-of-{len(blob.parts)}"


def members(contents: Contents, volume: int, contents_bytes: int) -> Iterator[Member]:
    """What follows the head of ``volume``, in its order; ``contents_bytes`` is the size of the list.

    The places are those that the sizes give; what the list says of them is not looked at.
    """
    yield from _in_order((found for found in _named(contents) if found[1].volume == volume), contents_bytes)


def _in_order(named: Iterable[tuple[str, Place]], contents_bytes: int) -> Iterator[Member]:
    at = head_bytes(contents_bytes)
    for name, place in named:
        offset = at + len(header_of(name, place.size))
        yield (member := Member(name, at, offset, place.size, place.digest))
        at = member.stop


def _named(contents: Contents) -> Iterator[tuple[str, Place]]:
    """Names and places of all members: blobs in the order of the list, then files."""
    for blob in contents.blobs:
        if blob.parts:
            yield from ((part_name(blob, n), part) for n, part in enumerate(blob.parts, start=1))
        else:
            yield blob_name(blob.digest), blob.places[0]
    for file in contents.files:
        yield file.name, Place(file.volume, file.offset, file.size, file.digest)


def placed(contents: Contents, contents_bytes: int) -> Contents:
    """``contents`` with the places and the volumes that the sizes make, whatever it says of them."""
    volumes: list[list[tuple[str, Place]]] = [[] for _ in contents.volumes]
    for found in _named(contents):
        volumes[found[1].volume - 1].append(found)
    offsets: dict[tuple[int, str], int] = {}
    ends = []
    for volume, named in enumerate(volumes, start=1):
        end = head_bytes(contents_bytes)
        for member in _in_order(named, contents_bytes):
            offsets[volume, member.name] = member.offset
            end = member.stop
        ends.append(end + len(END))
    files = tuple(replace(file, offset=offsets[file.volume, file.name]) for file in contents.files)
    blobs = tuple(_blob_at(blob, offsets) for blob in contents.blobs)
    return replace(contents, blobs=blobs, files=files, volumes=tuple(ends))


def _blob_at(blob: Blob, offsets: Mapping[tuple[int, str], int]) -> Blob:
    if not blob.parts:
        return replace(blob, offset=offsets[blob.volume, blob_name(blob.digest)])
    parts = enumerate(blob.parts, start=1)
    at = tuple(replace(part, offset=offsets[part.volume, part_name(blob, n)]) for n, part in parts)
    return replace(blob, parts=at)


def check_layout(contents: Contents, contents_bytes: int) -> None:
    """Raises InvalidBundle when a place or the size of a volume is not what the sizes make it."""
    right = placed(contents, contents_bytes)
    if right != contents:
        wrong = [str(blob.digest) for blob, at in zip(contents.blobs, right.blobs, strict=True) if blob != at]
        wrong += [file.name for file, at in zip(contents.files, right.files, strict=True) if file != at]
        what = f"{wrong[0]} cannot lie" if wrong else "a volume cannot end"
        raise InvalidBundle(
            f"the list of contents contradicts itself: {what} where it says",
            hint="get the bundle anew from whoever made it",
        )
