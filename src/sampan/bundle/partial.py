"""A bundle that is being made: the directory ``FILE.partial``, from the first byte to the rename of the last.

    plan.json      the list of contents, as far as it is known
    notes/         which bytes of each blob have come
    files/         what other programs will read
    volumes/       the volumes, or the layout, as they grow

Guarantees that one process at a time works in it, and that a plan which is found there can be gone on with:
it is written last, when all that only its maker knew is on the disk. What becomes of it at the end is
:mod:`sampan.bundle.finish`'s.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from sampan.bundle.arriving import Arriving, Note
from sampan.bundle.contents import CONTENTS_BYTES_MAX, Blob, Contents, File, parse_contents
from sampan.bundle.layout import blob_name, check_layout
from sampan.bundle.packing import Plan
from sampan.bundle.region import Region, Stretch, disk_error
from sampan.bundle.target import Target
from sampan.errors import BundleExists, InvalidBundle, StoreError, printable
from sampan.oci.digest import ALGORITHMS, Digest
from sampan.store.directory import Directory

PLAN = "plan.json"
OURS = (PLAN, f".{PLAN}.", "notes", "files", "volumes")  # names begin so; with a dot, what a kill left


class Partial:
    """``target``'s directory, made if absent, and this process's until :meth:`close`.

    Methods block. Raises BundleExists when another process works there, StoreError for the disk."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.path = target.partial
        _make(self.path, parents=False)
        _refuse_foreign(self.path)
        self._lock = _locked(self.path, target)
        self._directory = Directory.root(self.path)
        self._notes: Directory | None = None

    def close(self) -> None:
        """Let go of it; what is there is gone on with by the next."""
        if self._notes is not None:
            self._notes.close()
        self._directory.close()
        os.close(self._lock)

    def remove(self) -> None:
        """All of it, the plan last: what a kill leaves is then known for what it is."""
        self._clear()
        shutil.rmtree(self.path, ignore_errors=True)

    @property
    def growing(self) -> Path:
        """Where the volumes are, or the layout is."""
        return self.path / "volumes"

    def volume(self, number: int) -> Path:
        """A data volume, as it grows."""
        return self.growing / f"data-{number}"

    def recovery(self, number: int) -> Path:
        """A recovery volume, as it grows."""
        return self.growing / f"recovery-{number}"

    # -- the plan ----------------------------------------------------------------------------------

    def plan(self) -> tuple[Contents, bytes] | None:
        """What an earlier run set out to do; None when there is nothing to go on with.

        Raises BundleExists for a plan that cannot be gone on with."""
        raw = self._directory.read(PLAN, size_max=CONTENTS_BYTES_MAX)
        if raw is None:
            return None
        try:
            contents = parse_contents(raw)
            check_layout(contents, len(raw))
        except InvalidBundle as error:
            raise BundleExists(
                f"{self.path} cannot be gone on with: {error.message}", hint=f"begin anew: rm -r {self.path}"
            ) from error
        return contents, raw

    def write_plan(self, raw: bytes) -> None:
        """In place of the plan that was there, durably."""
        self._directory.write(PLAN, raw)

    def check_room(self, needed_bytes: int) -> None:
        """Raises StoreError when the disk has less."""
        try:
            found = os.statvfs(self.path)
        except OSError as error:
            raise disk_error(f"look at {self.path}", error) from error
        free_bytes = found.f_bavail * found.f_frsize
        if needed_bytes > free_bytes:
            raise StoreError(
                f"the bundle needs {needed_bytes} bytes, and {self.path.parent} has {free_bytes} left",
                hint="make room, or choose another disk with -o; --missing-from leaves out what is there",
            )

    def begin(self, plan: Plan, manifests: Mapping[Digest, bytes]) -> None:
        """Put down what only this process knows, make it durable, and then write the plan."""
        self._clear()
        _make(self.growing)
        for algorithm in ALGORITHMS if self.target.is_directory else ():
            _make(self.growing / "blobs" / algorithm)
        with closing(self._directory.child("files")) as files:
            for file in plan.contents.files:
                files.write(file.digest.hex, plan.files[file.volume, file.name])
        for blob in plan.contents.blobs:
            if blob.digest in manifests:
                self.put(blob, manifests[blob.digest])
        self.write_plan(plan.raw)

    def _clear(self) -> None:
        if self._notes is not None:
            self._notes.close()
            self._notes = None
        for part in (self.growing, self.path / "notes", self.path / "files"):
            shutil.rmtree(part, ignore_errors=True)

    # -- what goes where ---------------------------------------------------------------------------

    def put(self, blob: Blob, data: bytes) -> None:
        """All of a small blob, durably. Raises ContentMismatch when ``data`` is something else."""
        with closing(Region(self._stretches(blob))) as region:
            arriving = self.arriving(blob)
            arriving.write(data)
            arriving.commit()
            region.sync()

    def arriving(self, blob: Blob) -> Arriving:
        """The way into its place for ``blob``."""
        if self._notes is None:
            self._notes = self._directory.child("notes")
        return Arriving(blob.digest, Region(self._stretches(blob)), Note(self._notes, blob.digest))

    def write_file(self, file: File) -> None:
        """What only other programs read, to its place. Raises BundleExists when it is gone or damaged."""
        with closing(self._directory.child("files")) as files:
            data = files.read(file.digest.hex, size_max=max(file.size, 1))
        if data is None or Digest.of(data, file.digest.algorithm) != file.digest:
            raise BundleExists(
                f"{self.path} was damaged, and cannot be gone on with", hint=f"begin anew: rm -r {self.path}"
            )
        with closing(self._file_region(file)) as region:
            region.write_all(data)

    def _file_region(self, file: File) -> Region:
        if self.target.is_directory:
            return Region([Stretch(self.growing / file.name, 0, file.size)])
        return Region([Stretch(self.volume(file.volume), file.offset, file.size)])

    def parts(self, blob: Blob) -> Iterator[Region]:
        """Each part of a blob that is split; to be closed."""
        for stretch in self._stretches(blob):
            yield Region([stretch])

    def _stretches(self, blob: Blob) -> list[Stretch]:
        if self.target.is_directory:
            return [Stretch(self.growing / blob_name(blob.digest), 0, blob.size)]
        return [Stretch(self.volume(place.volume), place.offset, place.size) for place in blob.places]


def _make(path: Path, *, parents: bool = True) -> None:
    try:
        path.mkdir(parents=parents, exist_ok=True)
    except FileExistsError:
        raise BundleExists(f"{path} is there, and is no directory of a bundle", hint="remove it") from None
    except OSError as error:
        raise disk_error(f"make {path}", error) from error


def _refuse_foreign(path: Path) -> None:
    """Somebody's own directory of that name: what is in there is not ours to clear away."""
    for name in os.listdir(path):
        if not name.startswith(OURS):
            raise BundleExists(
                f"{path} is there, and has {printable(name)} in it, which no bundle has",
                hint="move it away, or choose another name with -o",
            )


def _locked(path: Path, target: Target) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise BundleExists(
            f"another process is making {target}", hint="wait for it, or choose another name"
        ) from None
    except OSError as error:
        os.close(descriptor)
        raise disk_error(f"lock {path}", error) from error
    return descriptor
