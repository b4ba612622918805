"""The sinks ``oci-archive:FILE`` and ``docker-archive:FILE``: one tar that all importers read.

It is an OCI layout with Docker's manifest.json beside it, so that ``ctr image import``, k3s' image directory,
``docker load``, ``podman load`` and skopeo take it. Guarantees that FILE is there only whole: it grows under
another name, is made durable, then renamed; and what names the images stands at its end, so that a cut copy
of it is no archive either. An existing file is never overwritten.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import tarfile
from pathlib import Path
from threading import Event

from sampan.errors import SinkError, SinkExists, UsageError
from sampan.oci.digest import Digest
from sampan.pull.closure import Wanted
from sampan.pull.sink import Content, SinkSpec
from sampan.pull.sinks import SinkSetting
from sampan.pull.sinks.describe import LAYOUT, Described, Json, blob_path, describe, index_json
from sampan.pull.sinks.files import copy, disk_errors, in_thread, sync_directory, write_all

BLOCK_BYTES = 512  # tar's
END = bytes(2 * BLOCK_BYTES)
_MODE = 0o644


class ArchiveSink:
    """See :class:`sampan.pull.sink.Sink`. ``kind``: as it was named; the bytes are the same."""

    def __init__(self, path: Path, kind: str) -> None:
        self.name = f"{kind}:{path}"
        self._path = path
        self._kind = kind
        # The same name each time: what a killed run left is written over, not kept beside.
        self._growing = path.with_name(f".{path.name}.sampan-part")
        self._file: int | None = None
        self._images: list[Described] = []
        self._written: set[Digest] = set()

    async def check(self) -> None:
        await in_thread(lambda _: self._begin())

    async def present(self, wanted: Wanted, content: Content) -> frozenset[Digest]:  # noqa: ARG002 - the protocol's
        """None, for nothing is added to an archive that exists."""
        return frozenset()

    async def put(self, wanted: Wanted, content: Content) -> None:
        described = describe(wanted)
        if self._kind == "docker-archive" and described.docker is None:
            raise UsageError(
                f"{wanted.reference} is no image that Docker could load",
                hint=f"write oci-archive:{self._path}",
            )
        await in_thread(lambda stop: self._add(described, wanted, content, stop))

    async def finish(self) -> None:
        await in_thread(lambda _: self._finish())

    async def close(self) -> None:
        await asyncio.to_thread(self._give_up)

    # -- in a thread -------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._refuse_existing()
        with disk_errors(self._path):
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            file = os.open(self._growing, flags, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            raise SinkExists(
                f"another pull is writing {self._path}", hint="wait for it, or choose another name"
            ) from None
        self._file = file
        with disk_errors(self._path):
            os.ftruncate(file, 0)
            self._member("oci-layout", LAYOUT)

    def _refuse_existing(self) -> None:
        if os.path.lexists(self._path):
            raise SinkExists(
                f"{self._path} exists, and is not overwritten",
                hint="remove it first, or choose another name: no option overwrites it",
            )

    def _add(self, described: Described, wanted: Wanted, content: Content, stop: Event) -> None:
        """The blobs that no earlier image of this archive brought."""
        with disk_errors(self._path):
            for digest, raw in described.manifests.items():
                if digest not in self._written:
                    self._member(blob_path(digest), raw)
                    self._written.add(digest)
            for blob in wanted.blobs:
                if blob.digest not in self._written:
                    self._copy(blob.digest, content, stop)
                    self._written.add(blob.digest)
        self._images.append(described)

    def _copy(self, digest: Digest, content: Content, stop: Event) -> None:
        assert self._file is not None
        with content.open(digest) as opened:
            write_all(self._file, _header(blob_path(digest), opened.size))
            copy(opened, self._file, stop)
            write_all(self._file, _padding(opened.size))

    def _member(self, name: str, data: bytes) -> None:
        assert self._file is not None
        write_all(self._file, _header(name, len(data)) + data + _padding(len(data)))

    def _finish(self) -> None:
        docker: list[Json] = [image.docker for image in self._images if image.docker is not None]
        with disk_errors(self._path):
            assert self._file is not None
            self._member("index.json", index_json([image.entry for image in self._images]))
            if docker:  # an empty list would make containerd take it for Docker's
                self._member("manifest.json", json.dumps(docker).encode())
            write_all(self._file, END)
            os.fsync(self._file)
            self._publish()
            sync_directory(self._path.parent)

    def _publish(self) -> None:
        """Under its own name; whoever made a file of that name meanwhile keeps it."""
        try:
            os.link(self._growing, self._path)
        except FileExistsError:
            self._refuse_existing()
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            self._refuse_existing()  # a file system without links
            self._growing.rename(self._path)

    def _give_up(self) -> None:
        """Also after the end: the archive has its own name then."""
        if self._file is None:
            return
        try:
            os.unlink(self._growing)
        except OSError:
            pass  # it was renamed; or it stays, and the next pull writes over it
        os.close(self._file)
        self._file = None


def _header(name: str, size_bytes: int) -> bytes:
    """One member's header: without times and owners, so that the same images give the same archive."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size_bytes, _MODE
    return member.tobuf(tarfile.PAX_FORMAT)


def _padding(size_bytes: int) -> bytes:
    return bytes(-size_bytes % BLOCK_BYTES)


def open_sink(spec: SinkSpec, setting: SinkSetting) -> ArchiveSink:  # noqa: ARG001 - as all sinks are opened
    """The archive that ``spec`` names. Raises SinkError for a path that can be no file."""
    if spec.path is None or not spec.path.name:
        raise SinkError(f"not a file: {spec.path}", hint=f"write {spec.kind}:FILE")
    return ArchiveSink(spec.path, spec.kind)
