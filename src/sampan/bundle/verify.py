"""A bundle read again, all of it: every byte is either foretold by the list of contents or hashed.

Guarantees that what is found right is right to the last byte, and that damage is named: which member of which
file, and which images it spoils. It reads as fast as hashing goes, two files at a time, in memory that the
size of the bundle does not matter for. Nothing is written.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from sampan.bundle.contents import Blob, Image
from sampan.bundle.layout import (
    SIGNATURE_NAME,
    Member,
    blob_name,
    header_of,
    members,
    padding_bytes,
    part_name,
)
from sampan.bundle.reading import Reader, Told, is_ended, is_framed, reader
from sampan.bundle.rows import (
    DATA_NAME,
    ROW_BYTES,
    SUM_BYTES,
    SUMS_NAME,
    lines_of,
    recovery_bytes,
    rows_offset,
    sums_bytes,
    sums_offset,
)
from sampan.bundle.volume_set import VolumeSet
from sampan.errors import BundleDamaged
from sampan.oci.digest import Digest, new_hasher

TOLD_MAX = 20  # damages in one sentence
READERS = 2  # more only wait for each other's hash and disk: measured on two cores


@dataclass(frozen=True, slots=True)
class Damage:
    """``member`` of ``file`` is not what the list says. ``digest``: of the blob, None for what is none."""

    file: Path
    member: str
    digest: Digest | None = None


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found in ``volumes``; damages in the order of the files."""

    volumes: VolumeSet
    damages: tuple[Damage, ...]

    @property
    def spoilt(self) -> tuple[Image, ...]:
        """The images that cannot be had from these files as they are, volumes that are missing included."""
        contents = self.volumes.contents
        lost = {damage.digest for damage in self.damages if damage.digest is not None}
        absent = set(self.volumes.missing)
        lost |= {blob.digest for blob in contents.blobs if absent & {p.volume for p in blob.places}}
        return contents.images_with(lost)

    def check(self) -> None:
        """Raises BundleDamaged, with all that is wrong."""
        broken = [f"{d.file}: {d.member}" for d in self.damages]
        broken += [f"{path}: its head" for path in self.volumes.unreadable]
        if broken:
            more = f" and {len(broken) - TOLD_MAX} more" if len(broken) > TOLD_MAX else ""
            raise BundleDamaged(
                f"damaged: {'; '.join(broken[:TOLD_MAX])}{more}",
                hint="copy these files again; with recovery volumes, sampan bundle repair mends them",
            )


def verify(
    volumes: VolumeSet, *, signature: bytes | None = None, told: Told, stop: threading.Event
) -> Verification:
    """Read everything. ``signature``: the document that every head must have, None for that of the first;
    ``told`` hears, from threads, how many bytes were read; ``stop`` ends it with
    :class:`~sampan.bundle.reading.Stop`."""
    wanted = (volumes.head.signature if signature is None else signature).strip()
    damages = [
        Damage(path, SIGNATURE_NAME)
        for path, document in volumes.signatures.items()
        if document.strip() != wanted
    ]
    check = _Check(volumes, told, stop)
    with ThreadPoolExecutor(READERS) as pool:
        try:
            for found in pool.map(_do, check.work()):
                damages += found
        except BaseException:
            stop.set()  # before the pool is waited for
            raise
    return Verification(volumes, tuple(damages))


Work = Callable[[], list[Damage]]


def _do(work: Work) -> list[Damage]:
    return work()


class _Check:
    """The work of a verification, in pieces that may be done side by side."""

    def __init__(self, volumes: VolumeSet, told: Told, stop: threading.Event) -> None:
        self._volumes = volumes
        self._told = told
        self._stop = stop
        self._contents = volumes.contents
        self._size = len(volumes.head.raw)

    def work(self) -> Iterator[Work]:
        """All of it."""
        if self._volumes.is_directory:
            yield from self._directory(self._volumes.data[1])
            return
        # A split blob that is all here is read once, for its parts and for itself.
        whole = [blob for blob in self._contents.blobs if blob.parts and self._is_all_here(blob)]
        names = {part_name(blob, n) for blob in whole for n in range(1, len(blob.parts) + 1)}
        for number, path in self._volumes.data.items():
            yield partial(self._end, path, self._contents.volumes[number - 1])
            for member in members(self._contents, number, self._size):
                yield partial(self._member, path, member, reads=member.name not in names)
        for blob in whole:
            yield partial(self._split, blob)
        for path in self._volumes.recovery.values():
            yield partial(self._recovery, path)

    def _is_all_here(self, blob: Blob) -> bool:
        return all(part.volume in self._volumes.data for part in blob.parts)

    def _member(self, path: Path, member: Member, *, reads: bool) -> list[Damage]:
        """A member with what stands round it."""
        with self._reading(path) as file:
            right = is_framed(file, member)
            if reads and not file.has(member.digest, member.offset, member.size):
                return [Damage(path, member.name, self._blob_of(member))]
            return [] if right else [Damage(path, f"what stands round {member.name}")]

    def _blob_of(self, member: Member) -> Digest | None:
        """The digest of the blob that a member is, or is a part of; None for what only others read."""
        return self._blobs.get(member.name)

    @cached_property
    def _blobs(self) -> dict[str, Digest]:
        names = {blob_name(blob.digest): blob.digest for blob in self._contents.blobs}
        for blob in self._contents.blobs:
            names |= {part_name(blob, n): blob.digest for n in range(1, len(blob.parts) + 1)}
        return names

    def _split(self, blob: Blob) -> list[Damage]:
        whole, damages = new_hasher(blob.digest.algorithm), []
        for number, part in enumerate(blob.parts, start=1):
            path, hasher = self._volumes.data[part.volume], new_hasher(part.digest.algorithm)
            with self._reading(path) as file:
                read = file.feed([hasher, whole], part.offset, part.size)
            if not read or Digest.from_hasher(hasher) != part.digest:
                damages.append(Damage(path, part_name(blob, number), blob.digest))
        if not damages and Digest.from_hasher(whole) != blob.digest:
            damages = [Damage(self._volumes.data[blob.parts[0].volume], blob_name(blob.digest), blob.digest)]
        return damages

    def _end(self, path: Path, size: int) -> list[Damage]:
        with self._reading(path) as file:
            return [] if is_ended(file, size) else [Damage(path, "its end")]

    def _directory(self, path: Path) -> Iterator[Work]:
        for blob in self._contents.blobs:
            yield partial(self._file, path, blob_name(blob.digest), blob.size, blob.digest, is_blob=True)
        for file in self._contents.files:
            yield partial(self._file, path, file.name, file.size, file.digest, is_blob=False)

    def _file(self, path: Path, name: str, size: int, digest: Digest, *, is_blob: bool) -> list[Damage]:
        damage = Damage(path, name, digest if is_blob else None)
        try:
            with reader(path / name, self._told, self._stop, follow=False) as file:
                return [] if file.size == size and file.has(digest, 0, size) else [damage]
        except OSError:
            return [damage]

    def _recovery(self, path: Path) -> list[Damage]:
        """Every row and the sums of them all; what they say of data volumes is told by those themselves."""
        contents, lines = self._contents, lines_of(self._contents)
        at, sums_at = rows_offset(contents, self._size), sums_offset(contents, self._size)
        length = sums_bytes(lines, len(contents.volumes))
        with self._reading(path) as file:
            if not is_ended(file, recovery_bytes(contents, self._size)):
                return [Damage(path, "its end")]  # how many rows there are is not the list's to say then
            right = True
            for name, size, offset in ((DATA_NAME, lines * ROW_BYTES, at), (SUMS_NAME, length, sums_at)):
                header = header_of(name, size)
                right &= file.is_at(header, offset - len(header))
            right &= file.is_at(bytes(padding_bytes(length)), sums_at + length)
            damages = [] if right else [Damage(path, "what stands round its rows")]
            bad = [n for n in range(lines) if not self._is_row_right(file, n, at, sums_at)]
            if bad:
                more = f" and {len(bad) - 1} more" if bad[1:] else ""
                damages.append(Damage(path, f"{DATA_NAME}, row {bad[0]}{more}"))
            total, length = hashlib.sha256(), length - SUM_BYTES
            if not file.feed([total], sums_at, length) or not file.is_at(total.digest(), sums_at + length):
                damages.append(Damage(path, SUMS_NAME))
            return damages

    def _is_row_right(self, file: Reader, line: int, at: int, sums_at: int) -> bool:
        row, step = hashlib.sha256(), (len(self._contents.volumes) + 1) * SUM_BYTES
        return file.feed([row], at + line * ROW_BYTES, ROW_BYTES) and file.is_at(
            row.digest(), sums_at + line * step
        )

    @contextmanager
    def _reading(self, path: Path) -> Iterator[Reader]:
        """A volume, which was there a moment ago. Raises BundleDamaged."""
        try:
            with reader(path, self._told, self._stop) as file:
                yield file
        except OSError as error:
            raise BundleDamaged(
                f"cannot read {path}: {error.strerror or error}",
                hint="is the medium still there? dmesg shows what the kernel says of it",
            ) from error
