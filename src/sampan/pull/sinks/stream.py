"""An image as one tar on its way into a runtime: an OCI layout with Docker's manifest.json beside it.

Guarantees that each blob is read once, in large pieces, and that what names the image stands at the end: a
stream that was cut names nothing. What the runtime has already can be left out. It writes no file: see
:mod:`sampan.pull.sinks.archive`.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Collection, Sequence
from typing import BinaryIO

from sampan.errors import SinkError
from sampan.oci.digest import Digest
from sampan.pull.closure import Wanted
from sampan.pull.sink import Content
from sampan.pull.sinks.describe import CONTAINERD_NAME, LAYOUT, REFERENCE_NAME, Json, blob_path, index_json
from sampan.pull.sinks.program import Feed

PIECE_BYTES = 1024 * 1024  # a pipe holds 64 KiB: larger reads cost fewer calls, and no more memory counts
BLOCK_BYTES = 512  # tar's
END = bytes(2 * BLOCK_BYTES)
_MODE = 0o644


def feed_of(
    wanted: Wanted,
    content: Content,
    *,
    names: Sequence[str],
    without: Collection[Digest] = (),
    docker: Json | None = None,
) -> Feed:
    """What writes the archive of ``wanted``, under ``names``, without the blobs ``without``.

    The root is the original one, also when it is an index that lists more than is here. ``docker``: the
    entry of manifest.json, None for an archive without one.
    """

    def feed(stream: BinaryIO) -> None:
        _member(stream, "oci-layout", LAYOUT)
        for manifest in wanted.manifests:
            _member(stream, blob_path(manifest.digest), manifest.raw)
        for blob in wanted.blobs:
            if blob.digest not in without:
                _copy(stream, blob.digest, content)
        _member(stream, "index.json", index_json([_entry(wanted, name) for name in names]))
        if docker is not None:
            _member(stream, "manifest.json", json.dumps([docker]).encode())
        stream.write(END)

    return feed


def _entry(wanted: Wanted, name: str) -> Json:
    root = wanted.root
    annotations = {CONTAINERD_NAME: name, REFERENCE_NAME: name}
    return {
        "mediaType": root.media_type,
        "digest": str(root.digest),
        "size": root.size,
        "annotations": annotations,
    }


def _member(stream: BinaryIO, name: str, data: bytes) -> None:
    stream.write(_header(name, len(data)) + data + _padding(len(data)))


def _copy(stream: BinaryIO, digest: Digest, content: Content) -> None:
    with content.open(digest) as blob:
        stream.write(_header(blob_path(digest), blob.size))
        position, stop = blob.offset, blob.offset + blob.size
        while position < stop:
            piece = os.pread(blob.file.fileno(), min(PIECE_BYTES, stop - position), position)
            if not piece:
                raise SinkError(f"{digest} ends early", hint="sampan store scrub finds what is damaged")
            stream.write(piece)
            position += len(piece)
        stream.write(_padding(blob.size))


def _header(name: str, size_bytes: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size_bytes, _MODE
    return member.tobuf(tarfile.PAX_FORMAT)


def _padding(size_bytes: int) -> bytes:
    return bytes(-size_bytes % BLOCK_BYTES)
