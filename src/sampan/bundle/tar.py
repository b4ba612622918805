"""What lies where in a tar, by strict rules of our own.

Guarantees that an archive is refused as a whole before any of it is used when it holds anything but regular
files with plain names, one of each, or when its headers contradict each other; and that finding this out
costs time and memory that grow with the number of its members alone, within limits. It reads headers, never
contents; it writes nothing and follows nothing, so there is no place on disk that a name could lead to.

The forms are those that current programs write (POSIX.1-2001 "pax", ustar, GNU), without what images have no
use for. Two readers may each understand a tar with contradictions in their own way, so there must be none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from sampan.bundle.tape import Tape, cut_short
from sampan.errors import InvalidBundle, printable

BLOCK_BYTES = 512
HEADERS_MAX = 200_000  # a bundle of 5,000 images has some 60,000; each costs 20 µs and 300 bytes
EXTENSION_BYTES_MAX = 64 * 1024  # one pax header: names, times, what a Mac has to say of a file
EXTENSIONS_BYTES_MAX = 16 * 1024 * 1024  # all of them
LONG_NAME_BYTES_MAX = 4096  # GNU's way to write what pax writes as path
NAME_CHARACTERS_MAX = 255
NAME_PARTS_MAX = 8  # blobs/sha256/HEX has three
PADDING_BYTES_MAX = 1024 * 1024  # zeros behind the end: programs fill up to 10 KiB
OCTAL_BYTES_MAX = 8**11 - 1  # 8 GiB: what does not fit is in a pax header, or in base 256
SIZE_BYTES_MAX = 2**63 - 1

_REGULAR, _DIRECTORY, _SYMLINK = (b"0", b"\0"), b"5", b"2"
_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK = b"x", b"g", b"L", b"K"
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a named pipe",
    b"7": "a contiguous file",
    b"S": "a sparse file",
    b"M": "a part of a file",
    b"V": "a label",
    b"D": "a directory's list",
}
_POSIX_MAGIC, _GNU_MAGIC = b"ustar\x0000", b"ustar  \0"
_OCTAL = re.compile(rb" *([0-7]+)[ \0]*")
_NAME = re.compile(r"[A-Za-z0-9_.@+=:,~-]+(?:/[A-Za-z0-9_.@+=:,~-]+)*")
_DRIVE = re.compile(r"[A-Za-z]:")
_SET_ID = 0o6000
# Docker before 25 and skopeo write a layer once and point to it. Nothing but these two forms is accepted.
_ALIAS = re.compile(r"[0-9a-f]{64}/layer\.tar")
_ALIAS_TARGET = re.compile(r"\.\./([0-9a-f]{64}(?:/layer)?\.tar)")


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file of the archive: ``size`` bytes from ``offset`` on. ``target``: it is another name for
    this member instead, as Docker's archives have it; then both are 0."""

    name: str
    offset: int
    size: int
    target: str | None = None


def members(tape: Tape) -> Iterator[Member]:
    """All regular files of ``tape``, in their order, up to its end. The contents of each are at the tape's
    position when it is yielded, and may be read from there, or not.

    Raises BundleError for what is refused, which may be after members that were in order.
    """
    return _Walk(tape).members()


@dataclass(slots=True)
class _Said:
    """What extension headers say of the member after them."""

    name: str | None = None
    link: str | None = None
    size: int | None = None
    pax: bool = False


@dataclass(slots=True)
class _Walk:
    tape: Tape
    at: int = 0
    headers: int = 0
    extension_bytes: int = 0
    names: dict[str, bool] = field(default_factory=dict)  # in lower case: whether it is a directory

    def members(self) -> Iterator[Member]:
        said = _Said()
        while (header := self._header()) is not None:
            kind = header[156:157]
            size = self._size(header[124:136])
            if kind in (_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK):
                self._extend(said, kind, self._extension(kind, size))
                continue
            member = self._member(header, kind, size, said)
            end = self.at + BLOCK_BYTES + (0 if member is None else member.size)
            if member is not None:
                yield member
            self.tape.advance(end + -end % BLOCK_BYTES)
            said = _Said()
        if said != _Said():
            self._refuse("a header without a member after it")
        self._check_end()

    # -- headers -----------------------------------------------------------------------------------

    def _header(self) -> bytes | None:
        """The next header, or None where the first of the zeros at the end is."""
        self.at = self.tape.position
        block = self.tape.read(BLOCK_BYTES)
        if len(block) < BLOCK_BYTES:
            if self.headers == 0:
                self._refuse("not a tar archive")
            raise cut_short(self.tape.name)
        if not block.strip(b"\0"):
            return None
        if self._octal(block[148:156]) != sum(block) - sum(block[148:156]) + 8 * 0x20:
            self._refuse(
                "not a header of a tar: its check sum is wrong" if self.headers else "not a tar archive"
            )
        if block[257:265] not in (_POSIX_MAGIC, _GNU_MAGIC):
            self._refuse("a form of tar that nobody writes any more")
        self.headers += 1
        if self.headers > HEADERS_MAX:
            self._refuse(f"more than {HEADERS_MAX} headers")
        return block

    def _octal(self, raw: bytes) -> int:
        match = _OCTAL.fullmatch(raw)
        if match is None:
            self._refuse("not a number where one must be" if self.headers else "not a tar archive")
        return int(match[1], 8)

    def _size(self, raw: bytes) -> int:
        """Octal, or for large ones GNU's base 256."""
        if raw[0] & 0x80:
            size = int.from_bytes(bytes([raw[0] & 0x7F]) + raw[1:], "big")
            if raw[0] != 0x80 or size > SIZE_BYTES_MAX:
                self._refuse("a negative or impossible size")
            return size
        return self._octal(raw)

    def _extension(self, kind: bytes, size: int) -> bytes:
        limit = EXTENSION_BYTES_MAX if kind in (_PAX, _PAX_GLOBAL) else LONG_NAME_BYTES_MAX
        self.extension_bytes += size
        if size > limit or self.extension_bytes > EXTENSIONS_BYTES_MAX:
            self._refuse(
                f"a header of {size} bytes, the limit is {limit}; {EXTENSIONS_BYTES_MAX} for all together"
            )
        data = self.tape.read(size + -size % BLOCK_BYTES)
        if len(data) < size + -size % BLOCK_BYTES:
            raise cut_short(self.tape.name)
        return data[:size]

    def _extend(self, said: _Said, kind: bytes, data: bytes) -> None:
        if kind == _PAX:
            if said.pax:
                self._refuse("two pax headers for one member")
            said.pax = True
            self._read_pax(said, data)
        elif kind == _PAX_GLOBAL:
            if {"path", "linkpath", "size"} & self._records(data).keys():
                self._refuse("a global header that names or measures members")
        elif kind == _GNU_NAME:
            said.name = self._once(said.name, self._text(data.removesuffix(b"\0")))
        else:
            said.link = self._once(said.link, self._text(data.removesuffix(b"\0")))

    def _read_pax(self, said: _Said, data: bytes) -> None:
        records = self._records(data)
        if any(key.startswith("GNU.sparse") for key in records):
            self._refuse("a sparse file")
        if "path" in records:
            said.name = self._once(said.name, self._text(records["path"]))
        if "linkpath" in records:
            said.link = self._once(said.link, self._text(records["linkpath"]))
        if "size" in records:
            digits = records["size"]
            if not digits.isdigit() or len(digits) > 19 or int(digits) > SIZE_BYTES_MAX:
                self._refuse("a negative or impossible size")
            said.size = int(digits)

    def _records(self, data: bytes) -> dict[str, bytes]:
        """Length, space, key, ``=``, value, line feed; one after the other. No key may come twice."""
        records: dict[str, bytes] = {}
        at = 0
        while at < len(data):
            digits, space, _ = data[at : at + 8].partition(b" ")
            stop = at + int(digits) if space and digits.isdigit() else 0
            start = at + len(digits) + 1
            if not start < stop <= len(data) or data[stop - 1 : stop] != b"\n":
                self._refuse("a malformed pax header")
            key, equals, value = data[start : stop - 1].partition(b"=")
            name = key.decode("latin-1")
            if not equals or name in records:
                self._refuse("a malformed pax header")
            records[name] = value
            at = stop
        return records

    def _once(self, before: str | None, text: str) -> str:
        if before is not None:
            self._refuse("two headers that name one member")
        return text

    # -- members -----------------------------------------------------------------------------------

    def _member(self, header: bytes, kind: bytes, size: int, said: _Said) -> Member | None:
        """The member; None for a directory."""
        raw = said.name if said.name is not None else self._name_in(header)
        name = self._checked_name(raw, is_directory=kind == _DIRECTORY)
        size = self._agreed_size(size, said.size, name)
        if kind == _SYMLINK and _ALIAS.fullmatch(name):
            link = said.link if said.link is not None else self._text(_until_nul(header[157:257]))
            return self._alias(name, link, size)
        if kind not in (*_REGULAR, _DIRECTORY):
            self._refuse(f"{_KINDS.get(kind, 'a member of no known kind')}: {name}")
        if kind == _DIRECTORY:
            if size:
                self._refuse(f"a directory with contents: {name}")
            self._note(name, is_directory=True)
            return None
        if said.link is not None or self._octal(header[100:108]) & _SET_ID:
            self._refuse(f"a file that is more than a file: {name}")
        self._note(name, is_directory=False)
        return Member(name, self.at + BLOCK_BYTES, size)

    def _alias(self, name: str, link: str, size: int) -> Member:
        target = _ALIAS_TARGET.fullmatch(link)
        if target is None or size:
            self._refuse(f"a symbolic link: {name}")
        self._note(name, is_directory=False)
        return Member(name, 0, 0, target[1])

    def _agreed_size(self, size: int, said: int | None, name: str) -> int:
        """A pax header may tell what the plain one has no room for, and nothing else."""
        if said is None or said == size:
            return size
        if said <= OCTAL_BYTES_MAX:
            self._refuse(f"two sizes for one member: {name}")
        return said

    def _name_in(self, header: bytes) -> str:
        name, prefix = _until_nul(header[:100]), b""
        if header[257:265] == _POSIX_MAGIC:
            prefix = _until_nul(header[345:500])
        return self._text(prefix + b"/" + name if prefix else name)

    def _text(self, raw: bytes) -> str:
        try:
            return raw.decode("ascii")
        except UnicodeDecodeError:
            self._refuse("a name that is not ASCII")

    def _checked_name(self, text: str, *, is_directory: bool) -> str:
        """``text`` without the ``./`` before it and, of a directory, the slash behind it."""
        name = text.removeprefix("./")
        name = (name.removesuffix("/") or ".") if is_directory else name
        if is_directory and name == ".":
            return name
        parts = name.split("/") if len(name) <= NAME_CHARACTERS_MAX else []
        plain = 0 < len(parts) <= NAME_PARTS_MAX and _NAME.fullmatch(name) and not _DRIVE.match(name)
        if not plain or any(not part.strip(".") for part in parts):
            self._refuse(f"a name that is no plain path: {printable(text, characters_max=100)!r}")
        return name

    def _note(self, name: str, *, is_directory: bool) -> None:
        """Names that differ in case alone are one on some disks, so they are one here."""
        before = self.names.get(name.lower())
        if before is not None and not (before and is_directory):
            self._refuse(f"two members of one name: {name}")
        self.names[name.lower()] = is_directory

    # -- the end -----------------------------------------------------------------------------------

    def _check_end(self) -> None:
        """A second block of zeros, which a copy that was cut between two members has not; then nothing."""
        second = self.tape.read(BLOCK_BYTES)
        if len(second) < BLOCK_BYTES:
            raise cut_short(self.tape.name)
        rest = self.tape.read(PADDING_BYTES_MAX + 1)
        if second.strip(b"\0") or rest.strip(b"\0") or len(rest) > PADDING_BYTES_MAX:
            self._refuse("something stands behind its end")

    def _refuse(self, reason: str) -> NoReturn:
        raise InvalidBundle(
            f"{self.tape.name} is refused: {reason}, at byte {self.at}",
            hint="nothing of it was used; get the archive anew from whoever made it",
        )


def _until_nul(raw: bytes) -> bytes:
    return raw.partition(b"\0")[0]
