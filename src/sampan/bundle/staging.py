"""Blobs out of archives into the store: whole ones, parts of split ones, and those of a packed archive.

Guarantees that nothing becomes visible in the store before it hashes to its digest, and that whatever is
killed on the way goes on where it was: the store keeps what has arrived. Every function blocks.
"""

from __future__ import annotations

from collections.abc import Mapping

from sampan.bundle.archive import Archive
from sampan.bundle.carried import Carried, Told, damaged
from sampan.bundle.extent import STRIDE_BYTES
from sampan.bundle.group import Part
from sampan.bundle.tape import Tape, open_tape
from sampan.bundle.tar import Member, members
from sampan.errors import BundleDamaged, BundleIncomplete, ContentMismatch
from sampan.oci.digest import Digest, new_hasher
from sampan.store.content import Ingest, Store


def stage(carried: Carried, digest: Digest, store: Store, told: Told) -> bool:
    """What is here of a blob, into ``store``; whether all of it is there now.

    Raises BundleDamaged, StoreError; what ``told`` raises ends it, and what has arrived is kept.
    """
    try:
        return _stage(carried, digest, store, told)
    except BundleDamaged:
        if not carried.doubt(digest):
            raise
        return _stage(carried, digest, store, told)


def _stage(carried: Carried, digest: Digest, store: Store, told: Told) -> bool:
    size = carried.whole_size_of(digest)
    parts = carried.parts(digest)
    if not parts or size is None:
        small = carried.small(digest)
        if small is not None:
            store.put(digest, small)
        return small is not None
    ingest = store.ingest(digest, size)
    try:
        for part in parts:
            _place(ingest, part, told)
        if ingest.spans.total < size:
            return False
        _commit(ingest, parts)
    finally:
        ingest.suspend()
    return True


def _place(ingest: Ingest, part: Part, told: Told) -> None:
    """The bytes of one part, unless they are there; of a part of a blob only when they are right."""
    stop = part.start + part.extent.size
    begun = _there(ingest, part)
    if begun == part.extent.size:
        return
    is_whole = part.digest == ingest.digest
    hasher = None if is_whole else new_hasher(part.digest.algorithm)
    if not is_whole and begun:
        ingest.forget(part.start, stop)
        begun = 0
    position = part.start + begun
    try:
        with part.extent.strides(begun) as pieces:
            for data in pieces:
                ingest.place(position, data)
                position += len(data)
                if hasher is not None:
                    hasher.update(data)
                told(position)
    except BaseException:
        if not is_whole:
            ingest.forget(part.start, stop)  # a part that was not read to its end was not checked
        raise
    if hasher is not None and Digest.from_hasher(hasher) != part.digest:
        ingest.forget(part.start, stop)
        raise damaged(part.digest, part.extent.name)


def _there(ingest: Ingest, part: Part) -> int:
    """How many bytes of it are in the store from an earlier run, from its beginning on."""
    stop = part.start + part.extent.size
    for first, last in ingest.spans:
        if first <= part.start < last:
            return min(last, stop) - part.start
    return 0


def _commit(ingest: Ingest, parts: tuple[Part, ...]) -> None:
    """What an earlier run left may be what is wrong: then all of it is read again."""
    if not ingest.matches() and ingest.resumed_bytes:
        ingest.rewind()
        for part in parts:
            with part.extent.strides() as pieces:
                for data in pieces:
                    ingest.write(data)
    try:
        ingest.commit()
    except ContentMismatch as error:
        where = " and ".join(part.extent.name for part in parts)
        raise damaged(ingest.digest, where) from error


def unpack(archive: Archive, wanted: Mapping[str, Digest], store: Store, told: Told) -> None:
    """The members ``wanted`` of a packed archive, read once more from its beginning, into ``store``.

    Raises BundleError, StoreError.
    """
    tape = open_tape(archive.path)
    done = 0
    try:
        for member in members(tape):
            digest = wanted.get(member.name)
            if digest is None:
                continue
            _take(tape, member, store.ingest(digest, member.size))
            told(done := done + member.size)
    finally:
        tape.close()


def _take(tape: Tape, member: Member, ingest: Ingest) -> None:
    """The contents of ``member``, at which the tape stands; what an earlier run left of it is passed over."""
    left = member.size
    where = f"{member.name} in {tape.name}"
    try:
        there = ingest.rehash()
        while left:
            data = tape.read(min(left, STRIDE_BYTES))
            if not data:
                raise BundleIncomplete(f"{where} ends early", hint="was the file changed meanwhile?")
            begun, left = member.size - left, left - len(data)
            if begun + len(data) > there:
                ingest.write(data[max(there - begun, 0) :])
        ingest.commit()
    except ContentMismatch as error:
        raise damaged(ingest.digest, where) from error
    finally:
        ingest.suspend()
