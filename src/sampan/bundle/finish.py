"""The end of making a bundle: what stands between the blobs, the disk's word, and its own name.

Guarantees that a file has its own name only when every byte of it is there and the disk has confirmed it,
and that whoever made something of that name meanwhile keeps it. All of it can be done again after a kill.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

from sampan.bundle.contents import VERSION, Contents
from sampan.bundle.head import Volume, read_head, render_head
from sampan.bundle.layout import CONTENTS_NAME, END, SIGNATURE_NAME, members
from sampan.bundle.packing import padded, with_parts
from sampan.bundle.partial import Partial
from sampan.bundle.region import disk_error
from sampan.bundle.target import refuse_existing
from sampan.errors import InvalidBundle
from sampan.oci.digest import Digest, new_hasher
from sampan.pull.sinks.files import sync_directory

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


def seal(partial: Partial, contents: Contents, raw: bytes) -> tuple[Contents, bytes]:
    """The list with nothing unknown in it: the digests of the parts of split blobs, which have come now; and
    what other programs read in its place.

    Raises BundleExists when that was damaged, which only a new beginning can mend."""
    for file in contents.files:
        partial.write_file(file)
    split = [blob for blob in contents.blobs if blob.parts]
    if not split:
        return contents, raw
    digests = {}
    for blob in split:
        for number, region in enumerate(partial.parts(blob), start=1):
            with closing(region):
                hasher = new_hasher("sha256")
                region.hash(hasher, 0, region.size)
            digests[blob.digest, number] = Digest.from_hasher(hasher)
    contents = with_parts(contents, digests)
    raw = padded(contents, len(raw))
    partial.write_plan(raw)
    return contents, raw


def write_frame(partial: Partial, contents: Contents, raw: bytes, signature: bytes) -> None:
    """Everything that is no blob: heads, headers and ends of volumes, or the documents of a directory; and
    all of it made durable. Raises StoreError."""
    if partial.target.is_directory:
        _write_documents(partial.growing, raw, signature)
        return
    for number, size in enumerate(contents.volumes, start=1):
        path = partial.volume(number)
        with writing(path) as descriptor:
            write_at(descriptor, render_head(raw, volume_of(raw, "data", number), signature), 0)
            for member in members(contents, number, len(raw)):
                end = member.offset + member.size
                write_at(descriptor, member.header, member.start)
                write_at(descriptor, bytes(member.stop - end), end)
            write_at(descriptor, END, size - len(END))
            os.ftruncate(descriptor, size)


def volume_of(raw: bytes, kind: Literal["data", "recovery"], number: int) -> Volume:
    """The document that tells a volume from the others of its bundle, whose list is ``raw``."""
    return Volume(format="sampan-volume", version=VERSION, bundle=Digest.of(raw), kind=kind, number=number)


def published(partial: Partial, contents: Contents, raw: bytes) -> list[Path] | None:
    """All files, when an earlier run gave each its own name and was killed before it had tidied up; what they
    were made in is removed then. None when there is more to do."""
    finals = [final for _, final in named(partial, contents)]
    if not all(_is_of(final, raw) for final in finals):
        return None
    partial.remove()
    return finals


def take_back(partial: Partial, contents: Contents, raw: bytes) -> None:
    """Files that got their own names in an earlier run, which then did not come to its end.

    Raises BundleExists for something of such a name that is not this bundle's."""
    for growing, final in named(partial, contents):
        if not os.path.lexists(final) or _is_empty_directory(final, partial):
            continue
        if growing.exists():
            if final.is_dir() or not growing.samefile(final):
                refuse_existing(final)
            final.unlink()
        elif not _is_of(final, raw):
            refuse_existing(final)
        else:
            final.rename(growing)


def publish(partial: Partial, contents: Contents) -> list[Path]:
    """Give all files their own names, and remove what they were made in. Raises StoreError, BundleExists."""
    files = named(partial, contents)
    for growing, final in files:
        try:
            _publish(growing, final)
        except OSError as error:
            raise disk_error(f"write {final}", error) from error
    sync_directory(partial.target.path.parent)
    partial.remove()
    return [final for _, final in files]


def named(partial: Partial, contents: Contents) -> list[tuple[Path, Path]]:
    """Where each file grows, and what it will be called."""
    target = partial.target
    if target.is_directory:
        return [(partial.growing, target.path)]
    data = [(partial.volume(n), path) for n, path in enumerate(target.volumes(contents), start=1)]
    return data + [(partial.recovery(n), path) for n, path in enumerate(target.recoveries(contents), start=1)]


@contextmanager
def writing(path: Path) -> Iterator[int]:
    """A file number for ``path``, made if absent; all of it is on the disk afterwards. Raises StoreError."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            yield descriptor
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise disk_error(f"write {path}", error) from error


def write_at(descriptor: int, data: bytes, offset: int) -> None:
    """All of ``data``. Raises OSError."""
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, offset)
        view, offset = view[count:], offset + count


def _write_documents(path: Path, raw: bytes, signature: bytes) -> None:
    """The list last: it says that the others are there."""
    for found in sorted(path.rglob("*")):
        if found.is_file():
            with writing(found):
                pass  # what lies there becomes durable
    for name, data in ((SIGNATURE_NAME, signature), (CONTENTS_NAME, raw)):
        with writing(path / name) as descriptor:
            write_at(descriptor, data, 0)
            os.ftruncate(descriptor, len(data))
    for directory in (*(d for d in path.rglob("*") if d.is_dir()), path):
        sync_directory(directory)


def _publish(growing: Path, final: Path) -> None:
    if growing.is_dir():
        growing.rename(final)  # takes the place of an empty directory, and of nothing else
        return
    try:
        os.link(growing, final)
    except FileExistsError:
        refuse_existing(final)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(final):  # a file system without links
            refuse_existing(final)
        growing.rename(final)


def _is_of(path: Path, raw: bytes) -> bool:
    """Whether a volume of the bundle with the list ``raw`` is there."""
    try:
        return read_head(path).raw == raw
    except InvalidBundle:
        return False


def _is_empty_directory(path: Path, partial: Partial) -> bool:
    """Into which a layout may go."""
    return partial.target.is_directory and path.is_dir() and not any(path.iterdir())
