"""An archive of images, opened: a bundle, another program's OCI layout or docker-archive, in a file or not.

Guarantees that the whole of it has been looked at before any of it is used: every member is one that such an
archive may have, a bundle's lie where its list says, and nothing has been written. What the contents of blobs
are is not known here, nor which images they make: see :mod:`sampan.bundle.named`.
"""

from __future__ import annotations

import os
import re
import stat
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Literal, NoReturn

from sampan.bundle.contents import CONTENTS_BYTES_MAX
from sampan.bundle.extent import Extent
from sampan.bundle.head import Head, checked_head, read_head
from sampan.bundle.layout import CONTENTS_NAME, SIGNATURE_BYTES, SIGNATURE_NAME, VOLUME_BYTES, VOLUME_NAME
from sampan.bundle.layout import members as listed_members
from sampan.bundle.tape import READ_BYTES, FileTape, PackedTape, Tape, cut_short, open_tape, reading
from sampan.bundle.tar import Member, members
from sampan.errors import InvalidBundle, printable
from sampan.oci.digest import Digest, new_hasher
from sampan.oci.manifest import MANIFEST_BYTES_MAX

Kind = Literal["bundle", "layout", "docker"]

ANEW = "nothing of it was used; get the archive anew from whoever made it"
INDEX, LAYOUT, DOCKER, REPOSITORIES = "index.json", "oci-layout", "manifest.json", "repositories"
RECOVERY_DATA, RECOVERY_SUMS = "sampan-recovery.data", "sampan-recovery.sums"
# What describes the rest, and how large it may be; it is read while the archive is looked at.
DOCUMENTS = {
    INDEX: MANIFEST_BYTES_MAX,
    LAYOUT: 4096,
    DOCKER: MANIFEST_BYTES_MAX,
    CONTENTS_NAME: CONTENTS_BYTES_MAX,
    VOLUME_NAME: VOLUME_BYTES,
    SIGNATURE_NAME: SIGNATURE_BYTES,
}
# A packed archive cannot be read in any order, so what may be a manifest or a config is kept on the way.
KEPT_BYTES_MAX = 64 * 1024 * 1024  # all of it; configs and manifests of a thousand images have some 30 MiB
KEPT_ONE_BYTES_MAX = MANIFEST_BYTES_MAX

_BLOB = re.compile(r"blobs/(sha256/[0-9a-f]{64}|sha512/[0-9a-f]{128})")
_PART = re.compile(_BLOB.pattern + r"\.part-[1-9][0-9]{0,2}-of-[1-9][0-9]{0,2}")


@dataclass(slots=True)
class Archive:
    """One archive. ``name``: its file, for messages; ``documents``: what describes the rest, by its name.

    ``head``: of a bundle's volume, else None. ``members``: the files in it by name, with their places;
    ``kept``: of a packed archive (``tape`` cannot be read again), the contents of the small ones,
    ``digests`` what all of them hash to, ``magics`` their first four bytes. ``stop``: ends what takes
    long."""

    path: Path
    name: str
    kind: Kind
    documents: Mapping[str, bytes]
    members: Mapping[str, Member]
    head: Head | None = None
    tape: Tape | None = None
    kept: Mapping[str, bytes] = field(default_factory=dict)
    digests: Mapping[str, Digest] = field(default_factory=dict)
    magics: Mapping[str, bytes] = field(default_factory=dict)
    stop: threading.Event | None = None

    @property
    def is_packed(self) -> bool:
        """Whether it must be unpacked from its beginning to be read."""
        return isinstance(self.tape, PackedTape)

    @property
    def title(self) -> str:
        """What its images are said to come from."""
        return f"bundle {printable(self.path.name, characters_max=100)}"

    def resolve(self, name: str) -> Member | None:
        """The member, through one other name at the most."""
        member = self.members.get(name)
        if member is not None and member.target is not None:
            member = self.members.get(member.target)
        return None if member is None or member.target is not None else member

    def extent(self, name: str) -> Extent | None:
        """Where a member lies; None when there is none, or the archive is packed. Raises BundleError."""
        member = self.resolve(name)
        if member is None or self.is_packed:
            return None
        where = f"{name} in {self.name}"
        if isinstance(self.tape, FileTape):
            return Extent(where, member.offset, member.size, partial(_reopened, self.tape.file))
        opener = partial(open_member, self.path, name, self.name, member.size)
        return Extent(where, 0, member.size, opener)

    def magic(self, name: str) -> bytes:
        """The first four bytes of a member. Raises BundleError."""
        member = self.resolve(name)
        if member is None or self.is_packed:
            return self.magics.get(name if member is None else member.name, b"")
        extent = self.extent(name)
        assert extent is not None
        return replace(extent, size=min(extent.size, 4)).read()

    def small(self, name: str) -> bytes | None:
        """The contents of a small member; None when it is absent, or larger than a manifest may be."""
        member = self.resolve(name)
        if member is None or member.size > KEPT_ONE_BYTES_MAX:
            return None
        if self.is_packed:
            return self.kept.get(member.name)
        extent = self.extent(name)
        return None if extent is None else extent.read()

    def close(self) -> None:
        """Let go of the file."""
        if self.tape is not None:
            self.tape.close()


def open_archive(path: Path, stop: threading.Event | None = None) -> Archive:
    """The archive at ``path``, a file or the directory of a layout. Raises BundleError for all that is to be
    refused, and it takes as long as reading the headers, or all of it when it is packed: then ``stop`` ends
    it with Stopped."""
    if path.is_dir():
        return _open_directory(path)
    tape = open_tape(path, stop)
    try:
        return _Reading(tape).archive(path, stop)
    except BaseException:
        tape.close()
        raise


def _reopened(file: FileIO) -> FileIO:
    """Where it stands is shared: whoever reads says where."""
    return FileIO(os.dup(file.fileno()), "r")


@dataclass(slots=True)
class _Reading:
    """What is gathered while a tar is looked at."""

    tape: FileTape | PackedTape
    documents: dict[str, bytes] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    kept: dict[str, bytes] = field(default_factory=dict)
    digests: dict[str, Digest] = field(default_factory=dict)
    magics: dict[str, bytes] = field(default_factory=dict)
    kept_bytes: int = 0

    def archive(self, path: Path, stop: threading.Event | None) -> Archive:
        name = self.tape.name
        for member in members(self.tape):
            self.members[member.name] = member
            if member.name in DOCUMENTS:
                self._read(member)
            elif isinstance(self.tape, PackedTape):
                self._hash(member)
        head = None
        if CONTENTS_NAME in self.documents:
            head = self._head(name)
            _check_volume(head, self.members, name)
        kind = _kind(self.documents, head, name)
        if kind != "docker":
            _check_names(self.members, name)
        archive = Archive(path, name, kind, self.documents, self.members, head, self.tape)
        archive.kept, archive.digests, archive.magics = self.kept, self.digests, self.magics
        archive.stop = stop
        return archive

    def _head(self, name: str) -> Head:
        raw, volume, signature = (
            self.documents.get(document, b"") for document in (CONTENTS_NAME, VOLUME_NAME, SIGNATURE_NAME)
        )
        return checked_head(name, raw, volume, signature)

    def _read(self, member: Member) -> None:
        limit = DOCUMENTS[member.name]
        if member.size > limit:
            raise InvalidBundle(
                f"{self.tape.name} is refused: {member.name} has {member.size} bytes, the limit is {limit}",
                hint=ANEW,
            )
        self.documents[member.name] = self._whole(member)

    def _hash(self, member: Member) -> None:
        """Packed: it passes by once, so it is hashed, and kept if it may be a manifest or a config."""
        if member.size <= KEPT_ONE_BYTES_MAX:
            data = self._whole(member)
            self.magics[member.name] = data[:4]
            self.digests[member.name] = Digest.of(data, _algorithm(member.name))
            if data[:1] == b"{" and self.kept_bytes + len(data) <= KEPT_BYTES_MAX:
                self.kept[member.name] = data
                self.kept_bytes += len(data)
            return
        hasher, left = new_hasher(_algorithm(member.name)), member.size
        while left:
            data = self.tape.read(min(left, READ_BYTES))
            if not data:
                break  # the walk says that it is cut short
            self.magics.setdefault(member.name, data[:4])
            hasher.update(data)
            left -= len(data)
        self.digests[member.name] = Digest.from_hasher(hasher)

    def _whole(self, member: Member) -> bytes:
        data = self.tape.read(member.size)
        if len(data) != member.size:
            raise cut_short(self.tape.name)
        return data


def _algorithm(name: str) -> str:
    return "sha512" if name.startswith("blobs/sha512/") else "sha256"


def _kind(documents: Mapping[str, bytes], head: Head | None, name: str) -> Kind:
    if head is not None:
        return "bundle"
    if LAYOUT in documents and INDEX in documents:
        return "layout"
    if DOCKER in documents:
        return "docker"
    raise InvalidBundle(
        f"{name} is a tar, and no archive of images: it has neither {INDEX} and {LAYOUT} nor {DOCKER}",
        hint="docker save, ctr image export, skopeo copy to oci-archive: and sampan bundle create make one",
    )


def _check_names(found: Mapping[str, Member], name: str) -> None:
    """Only what a layout consists of."""
    others = (*DOCUMENTS, REPOSITORIES, RECOVERY_DATA, RECOVERY_SUMS)
    for member in found.values():
        usual = member.name in others or _BLOB.fullmatch(member.name) or _PART.fullmatch(member.name)
        if not usual or member.target is not None:
            raise InvalidBundle(
                f"{name} is refused: {printable(member.name)} is no part of an OCI layout",
                hint=ANEW,
            )


def _check_volume(head: Head, found: Mapping[str, Member], name: str) -> None:
    """The members of a bundle are those of its list, in the places of its list, and no others."""
    assert head.volume is not None
    if head.volume.kind == "recovery":
        expected = {RECOVERY_DATA, RECOVERY_SUMS}
        there = found.keys() - {CONTENTS_NAME, VOLUME_NAME, SIGNATURE_NAME}
        if there != expected:
            _refuse_volume(name, f"a recovery volume has {' and '.join(sorted(expected))}")
        return
    listed = {
        member.name: (member.offset, member.size)
        for member in listed_members(head.contents, head.volume.number, len(head.raw))
    }
    there = found.keys() - {CONTENTS_NAME, VOLUME_NAME, SIGNATURE_NAME}
    if stray := sorted(there ^ listed.keys()):
        _refuse_volume(name, f"{printable(stray[0])} is in one of them alone")
    for member, place in listed.items():
        if (found[member].offset, found[member].size) != place:
            _refuse_volume(name, f"{printable(member)} is not where it is listed")


def _refuse_volume(name: str, reason: str) -> NoReturn:
    raise InvalidBundle(
        f"{name} is not what its list of contents says: {reason}",
        hint="get the bundle anew from whoever made it; do not pack it again by other means",
    )


# -- a directory -----------------------------------------------------------------------------------


def _open_directory(path: Path) -> Archive:
    """The directory of a layout, or of a bundle. Other files in it are nobody's business."""
    name = printable(str(path), characters_max=400)
    head = read_head(path) if (path / CONTENTS_NAME).exists() else None
    documents = {}
    for document, limit in DOCUMENTS.items():
        if (path / document).exists():
            file = open_member(path, document, name, limit, exact=False)
            with file, reading(name):
                documents[document] = file.read(limit + 1)
            if len(documents[document]) > limit:
                raise InvalidBundle(f"{name} is refused: {document} has more than {limit} bytes", hint=ANEW)
    kind = _kind(documents, head, name)
    if kind == "docker":
        raise InvalidBundle(f"{name} is no OCI layout", hint=f"a layout has {LAYOUT} and {INDEX}")
    return Archive(path, name, kind, documents, _files(path, name), head)


def _files(path: Path, name: str) -> dict[str, Member]:
    found: dict[str, Member] = {}
    with reading(name):
        for algorithm in ("sha256", "sha512"):
            folder = path / "blobs" / algorithm
            for entry in os.scandir(folder) if folder.is_dir() else ():
                member = f"blobs/{algorithm}/{entry.name}"
                if _BLOB.fullmatch(member) and entry.is_file(follow_symlinks=False):
                    size = entry.stat(follow_symlinks=False).st_size
                    found[member] = Member(member, 0, size)
    return found


def open_member(path: Path, member: str, name: str, size: int, *, exact: bool = True) -> FileIO:
    """A file of a layout's directory, never through a link. Raises BundleError."""
    with reading(f"{member} in {name}"):
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        file = FileIO(os.open(path / member, flags), "r")
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode) or (exact and found.st_size != size):
        file.close()
        raise InvalidBundle(f"{member} in {name} is no file, or was changed meanwhile", hint=ANEW)
    return file
