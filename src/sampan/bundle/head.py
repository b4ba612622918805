"""The head of a volume: the list of contents, which volume this is, and the signature of the list.

Guarantees that reading it takes the beginning of the file alone, in memory bounded by the list; and that what
is read agrees with itself: the list, the places, the volume. Whether the signature is right is
:mod:`sampan.bundle.signature`'s question. A directory has the same documents as files, without the volume.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from sampan.bundle.contents import CONTENTS_BYTES_MAX, VERSION, Contents, parse_contents
from sampan.bundle.layout import (
    CONTENTS_NAME,
    SIGNATURE_BYTES,
    SIGNATURE_NAME,
    VOLUME_BYTES,
    VOLUME_NAME,
    check_layout,
    header_of,
    padding_bytes,
)
from sampan.bundle.records import DigestText, Record, decode, encode
from sampan.errors import InvalidBundle, printable
from sampan.oci.digest import Digest

_PACKED = {b"\x28\xb5\x2f\xfd": "zstd", b"\x1f\x8b": "gzip"}  # how such files begin
_SIZE = slice(124, 136)  # of the member, in its header


class Volume(Record, frozen=True, kw_only=True):
    """Which volume this is: ``number`` from 1, of the bundle whose list has the digest ``bundle``.

    ``kind``: ``data``, or ``recovery`` for one that stands in for a data volume that is lost."""

    format: Literal["sampan-volume"]
    version: int
    bundle: DigestText
    kind: Literal["data", "recovery"]
    number: int


@dataclass(frozen=True, slots=True)
class Head:
    """``raw``: the bytes of the list, of which ``bundle`` is the digest: the name of the whole bundle.

    ``volume``: None in a directory, which has all of it. ``signature``: its document, unread."""

    contents: Contents
    raw: bytes
    volume: Volume | None
    signature: bytes

    @property
    def bundle(self) -> Digest:
        """The digest of the list; all volumes of a bundle have the same."""
        return Digest.of(self.raw)


def render_head(raw: bytes, volume: Volume, signature: bytes) -> bytes:
    """The bytes of a head: ``raw`` is the list of contents as it is signed, ``signature`` a document."""
    parts = (
        (CONTENTS_NAME, raw),
        (VOLUME_NAME, encode(volume).ljust(VOLUME_BYTES)),
        (SIGNATURE_NAME, signature.ljust(SIGNATURE_BYTES)),
    )
    return b"".join(
        header_of(name, len(data)) + data + bytes(padding_bytes(len(data))) for name, data in parts
    )


def read_head(path: Path) -> Head:
    """The head of the volume or the directory at ``path``. Raises InvalidBundle, also if it is unreadable."""
    name = printable(str(path), characters_max=400)
    try:
        if path.is_dir():
            return _of_directory(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe must not hold us
        try:
            return head_of(descriptor, name)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise InvalidBundle(f"cannot read {name}: {error.strerror or error}") from error


def head_of(descriptor: int, name: str) -> Head:
    """The head of the tar open at ``descriptor``; ``name`` is for messages. Raises InvalidBundle, OSError."""
    at = len(header_of(CONTENTS_NAME, 0))
    first = os.pread(descriptor, at, 0)
    for magic, program in _PACKED.items():
        if first.startswith(magic):
            raise InvalidBundle(
                f"{name} is packed with {program}",
                hint=f"unpack it first: {program} -d; sampan bundle load takes it as it is",
            )
    size = _size_of_contents(first, name)
    raw = _pread(descriptor, size, at, name)
    at += size + padding_bytes(size)
    documents = []
    for member, length in ((VOLUME_NAME, VOLUME_BYTES), (SIGNATURE_NAME, SIGNATURE_BYTES)):
        header = header_of(member, length)
        found = _pread(descriptor, len(header) + length, at, name)
        if found[: len(header)] != header:
            _refuse(name, f"{member} is not where it must be")
        documents.append(found[len(header) :])
        at += len(found)
    return checked_head(name, raw, documents[0], documents[1])


def _size_of_contents(header: bytes, name: str) -> int:
    """Of the first member, which must be the list: its header is compared whole."""
    try:
        size = int(header[_SIZE].rstrip(b"\0 "), 8)
    except ValueError:
        size = -1
    if not 0 < size <= CONTENTS_BYTES_MAX or header != header_of(CONTENTS_NAME, size):
        _refuse(name, f"it does not begin with {CONTENTS_NAME}")
    return size


def checked_head(name: str, raw: bytes, volume_document: bytes, signature: bytes) -> Head:
    """The head that these documents make; ``name`` is for messages. Raises InvalidBundle."""
    try:
        contents = parse_contents(raw)
        check_layout(contents, len(raw))
        what = "the number of a volume"
        volume = decode(volume_document, Volume, what=what, version=VERSION, bytes_max=VOLUME_BYTES)
    except InvalidBundle as error:
        raise InvalidBundle(f"{name}: {error.message}", hint=error.hint) from error
    head = Head(contents, raw, volume, signature)
    count = len(contents.volumes) if volume.kind == "data" else contents.asked.parity
    if volume.bundle != head.bundle or not 1 <= volume.number <= count:
        _refuse(name, "its list of contents is that of another bundle")
    return head


def _of_directory(path: Path) -> Head:
    raw = _small_file(path / CONTENTS_NAME, CONTENTS_BYTES_MAX)
    try:
        signature = _small_file(path / SIGNATURE_NAME, SIGNATURE_BYTES)
    except FileNotFoundError:
        signature = b"{}"
    contents = parse_contents(raw)
    check_layout(contents, len(raw))
    return Head(contents, raw, None, signature)


def _small_file(path: Path, bytes_max: int) -> bytes:
    with open(path, "rb") as file:
        data = file.read(bytes_max + 1)
    if len(data) > bytes_max:
        _refuse(str(path), f"it is larger than {bytes_max} bytes")
    return data


def _pread(descriptor: int, count: int, offset: int, name: str) -> bytes:
    data = os.pread(descriptor, count, offset)
    if len(data) != count:
        _refuse(name, "it ends within its head")
    return data


def _refuse(name: str, reason: str) -> NoReturn:
    raise InvalidBundle(
        f"{name} is no bundle that sampan made: {reason}",
        hint="copy it again; another program's archive is loaded with sampan bundle load all the same",
    )
