"""The sink ``oci:DIR``: an OCI image layout, made if absent, and added to if there.

Guarantees that index.json names only images that are whole, at any instant of a crash: blobs are written
under another name, made durable and renamed before the index is replaced, in one step. What others put
there stays as they wrote it; an image of the same name is replaced.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from threading import Event

from sampan.errors import SinkError, SinkExists
from sampan.oci.digest import Digest, new_hasher
from sampan.oci.manifest import OCI_INDEX
from sampan.pull.closure import Wanted
from sampan.pull.sink import Content, SinkSpec
from sampan.pull.sinks import SinkSetting
from sampan.pull.sinks.describe import LAYOUT, REFERENCE_NAME, Json, blob_path, describe
from sampan.pull.sinks.files import copy, disk_errors, in_thread, sync_directory, write_all

READ_BYTES = 1024 * 1024
_VERSION = "1.0.0"


class LayoutSink:
    """See :class:`sampan.pull.sink.Sink`."""

    def __init__(self, path: Path) -> None:
        self.name = f"oci:{path}"
        self._path = path

    async def check(self) -> None:
        await in_thread(lambda _: self._lay_out())

    async def present(self, wanted: Wanted, content: Content) -> frozenset[Digest]:  # noqa: ARG002
        """Those whose bytes are right: other programs may have left halves."""
        return await asyncio.to_thread(
            lambda: frozenset(layer.digest for layer in wanted.layers if self._has(layer.digest))
        )

    async def put(self, wanted: Wanted, content: Content) -> None:
        await in_thread(lambda stop: self._put(wanted, content, stop))

    async def finish(self) -> None:
        """Each image was complete by itself."""

    async def close(self) -> None:
        """Nothing is held between two images."""

    # -- in a thread -------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        """What makes it a layout, in a new or empty directory."""
        with disk_errors(self._path):
            try:
                self._path.mkdir(exist_ok=True)
            except FileExistsError:
                raise SinkExists(f"{self._path} is no directory", hint="choose another name") from None
            with self._locked():
                if not self._is_layout():
                    if any(self._path.iterdir()):
                        raise SinkExists(
                            f"{self._path} is not empty and no OCI layout",
                            hint="name a new or empty directory",
                        )
                    self._write(Path("index.json"), json.dumps(_empty()).encode())
                    self._write(Path("oci-layout"), LAYOUT)  # last: it vouches for the other

    def _is_layout(self) -> bool:
        try:
            document = json.loads((self._path / "oci-layout").read_bytes())
        except (FileNotFoundError, ValueError):
            return False
        version = document.get("imageLayoutVersion") if isinstance(document, dict) else None
        if version != _VERSION:
            raise SinkExists(
                f"{self._path} is an OCI layout of a version that is not known", hint="name a new directory"
            )
        return True

    def _has(self, digest: Digest) -> bool:
        try:
            with open(self._path / blob_path(digest), "rb") as file:
                hasher = new_hasher(digest.algorithm)
                while data := file.read(READ_BYTES):
                    hasher.update(data)
        except OSError:
            return False
        return Digest.from_hasher(hasher) == digest

    def _put(self, wanted: Wanted, content: Content, stop: Event) -> None:
        described = describe(wanted)
        with disk_errors(self._path), self._locked():
            for digest, raw in described.manifests.items():
                self._write(Path(blob_path(digest)), raw)
            for blob in wanted.blobs:
                if not self._has(blob.digest):
                    self._copy(blob.digest, content, stop)
            for algorithm in {digest.algorithm for digest in (*described.manifests, wanted.root.digest)}:
                sync_directory(self._path / "blobs" / algorithm)
            self._write(Path("index.json"), json.dumps(_with(self._index(), described.entry)).encode())

    def _index(self) -> Json:
        """The index.json as it is. Raises SinkError for one that is none, which is not ours to mend."""
        path = self._path / "index.json"
        try:
            document = json.loads(path.read_bytes())
        except FileNotFoundError:
            return _empty()
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict) or not isinstance(document.get("manifests", []), list):
            raise SinkError(f"{path} is no index", hint="mend it, or name a new directory")
        return document

    def _copy(self, digest: Digest, content: Content, stop: Event) -> None:
        with content.open(digest) as blob, self._replacing(Path(blob_path(digest))) as file:
            copy(blob, file, stop)

    def _write(self, name: Path, data: bytes) -> None:
        with self._replacing(name) as file:
            write_all(file, data)

    @contextmanager
    def _replacing(self, name: Path) -> Iterator[int]:
        """A file number; what is written there takes the name when all went well, durably."""
        path = self._path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        growing = path.with_name(f".{path.name}.{token_hex(4)}.sampan-part")
        file = os.open(growing, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            try:
                yield file
                os.fsync(file)
            finally:
                os.close(file)
            growing.rename(path)
        except BaseException:
            os.unlink(growing)
            raise
        if path.parent == self._path:  # of blobs once for all, before the index is replaced
            sync_directory(self._path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Two pulls into one layout take turns with its index."""
        directory = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            yield
        finally:
            os.close(directory)


def _empty() -> Json:
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}


def _with(index: Json, entry: Json) -> Json:
    """``index`` with ``entry`` in the place of what had its name."""
    listed = index.get("manifests")
    others = [other for other in (listed if isinstance(listed, list) else []) if _name(other) != _name(entry)]
    return {**index, "manifests": [*others, entry]}


def _name(entry: object) -> object:
    annotations = entry.get("annotations") if isinstance(entry, dict) else None
    return annotations.get(REFERENCE_NAME) if isinstance(annotations, dict) else None


def open_sink(spec: SinkSpec, setting: SinkSetting) -> LayoutSink:  # noqa: ARG001 - as all sinks are opened
    """The layout that ``spec`` names."""
    assert spec.path is not None
    return LayoutSink(spec.path)
