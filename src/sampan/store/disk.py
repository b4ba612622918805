"""The store on a directory, an OCI image layout that other tools can read and ``sha256sum`` can check.

Guarantees that no file under ``blobs/`` was put there before it was verified and confirmed by the disk, at
any instant of a crash; several processes may share the directory. Reads trust the disk except where that
is cheap (:meth:`DiskStore.read`) or where a size is wrong; :meth:`DiskStore.verify` asks it.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import contextmanager
from secrets import token_hex
from typing import TYPE_CHECKING

from sampan.clock import SystemClock
from sampan.errors import ContentMismatch, InvalidDigest, InvalidManifest, StoreError, StoreFull
from sampan.oci.digest import Digest
from sampan.oci.manifest import MANIFEST_BYTES_MAX, parse_manifest
from sampan.store.content import BeingWritten, BlobInfo, OpenBlob
from sampan.store.directory import Directory, NotAFile, read_all, same_file
from sampan.store.hashing import digest_of_file
from sampan.store.ingest import FileIngest, Taken, partial_name
from sampan.store.layout import Layout
from sampan.store.leftovers import taken_bytes
from sampan.store.manifests import ManifestShelf, note_name
from sampan.store.pieces import drop_stray_pieces
from sampan.store.pins import Pins
from sampan.store.subjects import Subjects
from sampan.store.uses import Uses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import FileIO
    from pathlib import Path

    from sampan.clock import Clock
    from sampan.oci.manifest import Index, Manifest

RECOUNT_TRIES = 3  # on a busy store the count is a little off then, until the next

log = logging.getLogger(__name__)


class DiskStore:
    """The :class:`~sampan.store.content.Store` under ``root``, made if absent. Thread-safe.

    Raises StoreError when the directory cannot be written, with what to do about it; a full disk is no
    reason not to start, for what is stored can be served.
    """

    def __init__(self, root: Path, clock: Clock = SystemClock(), *, read_only: bool = False) -> None:
        """``read_only``: to look at alone, by one who may not write there; nothing is made or checked."""
        self.root = root
        self.clock = clock
        self._layout = Layout(root)
        self.top, self.ingests = self._layout.top, self._layout.ingests
        self.quarantine = self._layout.quarantine
        self._blobs = self._layout.blobs
        self._pins = Pins(self._layout.pins)
        self._manifests = ManifestShelf(self._layout.manifests, clock, is_there=self._is_there)
        self._lock = threading.RLock()
        self._uses = Uses()
        self._subjects = Subjects(self.manifest_digests, self.peek_manifest)
        self._sizes: dict[Digest, int] = {}  # of blobs that this process verified
        self._counted_bytes: int | None = None
        self._changed_bytes = 0
        if not read_only:
            self._layout.complete()

    def close(self) -> None:
        self._layout.close()

    # -- out ---------------------------------------------------------------------------------------

    def stat(self, digest: Digest) -> int | None:
        found = self._blobs[digest.algorithm].stat(digest.hex)
        return None if found is None else found.st_size

    def find(self, digest: Digest) -> FileIO | None:
        """The blob's file, not counted as a use. A link or the like in its place is set aside."""
        try:
            return self._blobs[digest.algorithm].open(digest.hex)
        except NotAFile as error:
            log.warning("refused what was planted in the store: %s", error.message)
        if (found := self._blobs[digest.algorithm].stat(digest.hex)) is not None:
            self._set_aside(digest, found)
        return None

    def open(self, digest: Digest, size: int | None = None) -> OpenBlob | None:
        """See the contract. A manifest may lie about a blob's size, and must not cost us a good one:
        what surprises is hashed."""
        blob = self.open_at_once(digest, size)
        if blob is None and self.verify(digest):
            return self.open_at_once(digest)
        return blob

    def open_at_once(self, digest: Digest, size: int | None = None) -> OpenBlob | None:
        file = self.find(digest)
        if file is None:
            return None
        actual = os.fstat(file.fileno()).st_size
        expected = self._sizes.get(digest, size)
        if expected is not None and expected != actual:
            file.close()
            return None
        self._use(digest, hold=True)
        return OpenBlob(digest, file, actual, self._release)

    def read(self, digest: Digest, *, size_max: int) -> bytes | None:
        data = self._read(digest, size_max)
        if data is not None:
            self._use(digest)
        return data

    def _read(self, digest: Digest, size_max: int) -> bytes | None:
        """As :meth:`read`, and not counted as a use."""
        file = self.find(digest)
        if file is None:
            return None
        with file:
            found = os.fstat(file.fileno())
            if found.st_size > size_max:
                return None
            try:
                data = read_all(file, size_max)
            except OSError as error:
                log.warning("cannot read %s: %s", digest, error)
                data = None
        if data is None or Digest.of(data, digest.algorithm) != digest:
            self._set_aside(digest, found)
            return None
        return data

    def is_verified(self, digest: Digest) -> bool:
        return digest in self._sizes

    def verify(self, digest: Digest) -> bool:
        return self.check(digest) is True

    def check(self, digest: Digest, stride: Callable[[int], None] | None = None) -> bool | None:
        """As :meth:`verify`; None when it is absent, which for a scrub is no damage. ``stride`` is told of
        each read, and makes it ask the disk, not the memory before it."""
        file = self.find(digest)
        if file is None:
            return None
        with file:
            found = os.fstat(file.fileno())
            right = digest_of_file(file, digest.algorithm, stride) == digest
        if right:
            self._sizes[digest] = found.st_size
        else:
            self._set_aside(digest, found)
        return right

    def _set_aside(self, digest: Digest, found: os.stat_result) -> None:
        """Into quarantine, unless a good one has come in its place meanwhile."""
        name = f"{note_name(digest)}.{token_hex(8)}"
        blobs = self._blobs[digest.algorithm]
        with self._lock:
            if not same_file(blobs.stat(digest.hex), found):
                return
            try:
                blobs.rename(digest.hex, self.quarantine, name)
            except StoreError as error:
                log.warning("%s is damaged and cannot be set aside: %s", digest, error.message)
                return
            if not same_file(self.quarantine.stat(name), found):
                self.quarantine.rename(name, blobs, digest.hex)  # another process was quicker: a good one
                return
            self._forget(digest, found.st_size)
        self.quarantine.stamp(name, self.clock.time())
        log.warning("%s was damaged: it is now %s", digest, self.quarantine.path / name)

    # -- in ----------------------------------------------------------------------------------------

    def ingest(self, digest: Digest, size: int | None = None) -> FileIngest:
        try:
            return FileIngest(self.ingests, self, digest, size, notes=self._layout.pieces)
        except NotAFile as error:
            log.warning("%s", error.message)
            return FileIngest(self.ingests, self, digest, size)

    def take_up(self, digest: Digest, size: int | None = None) -> FileIngest | BeingWritten:
        try:
            return FileIngest(self.ingests, self, digest, size, notes=self._layout.pieces, alone=True)
        except Taken:
            found = self.ingests.stat(partial_name(digest))
            return BeingWritten() if found is None else BeingWritten(taken_bytes(found), found.st_mtime_ns)
        except NotAFile:
            return self.ingest(digest, size)

    def put(self, digest: Digest, data: bytes) -> None:
        if Digest.of(data, digest.algorithm) != digest:
            raise ContentMismatch(f"{len(data)} bytes that are not {digest}")
        if self.read(digest, size_max=len(data)) is not None:
            return
        ingest = FileIngest(self.ingests, self, digest, len(data))
        try:
            ingest.write(data)
            ingest.commit()
        finally:
            ingest.discard()

    def publish(self, source: Directory, name: str, digest: Digest, size: int) -> None:
        """Make a verified, durable file visible: the last two steps of a commit."""
        blobs = self._blobs[digest.algorithm]
        source.stamp(name, now := self.clock.time())
        with self._lock:
            replaced = blobs.stat(digest.hex)
            if not source.rename(name, blobs, digest.hex):
                raise StoreError(
                    f"{source.path / name} vanished", hint="only sampan may write there: ask again"
                )
            self._changed_bytes += size - (replaced.st_size if replaced else 0)
            self._sizes[digest] = size
            self._uses.use(digest, now)
        blobs.sync()

    # -- manifests ---------------------------------------------------------------------------------

    def put_manifest(self, manifest: Manifest | Index) -> None:
        self.put(manifest.digest, manifest.raw)
        self._manifests.note(manifest.digest, manifest.media_type)
        # What it names is wanted now: a sweep that has already chosen its victims will notice, here by the
        # use, in another process by the stamp.
        for digest in (descriptor.digest for descriptor in manifest.references):
            if self._uses.last(digest) is not None or self.stat(digest) is not None:
                with self._lock:
                    self._uses.use(digest, now := self.clock.time())
                self._blobs[digest.algorithm].stamp(digest.hex, now)
        self._manifests.remember(manifest.digest, manifest)

    def get_manifest(self, digest: Digest) -> Manifest | Index | None:
        if (manifest := self.recall_manifest(digest)) is not None:
            return manifest
        if (manifest := self.peek_manifest(digest)) is not None:
            self._manifests.remember(digest, manifest)
            self._use(digest)
        return manifest

    def _is_there(self, digest: Digest) -> bool:
        try:
            return self.stat(digest) is not None
        except StoreError:
            return True  # a sick disk must not take away what is known

    def recall_manifest(self, digest: Digest) -> Manifest | Index | None:
        manifest = self._manifests.remembered(digest)
        if manifest is not None:
            self._use(digest)
        return manifest

    def peek_manifest(self, digest: Digest) -> Manifest | Index | None:
        """The manifest, read and hashed, neither counted as a use nor remembered."""
        if not self._manifests.is_noted(digest):
            return None
        raw = self._read(digest, MANIFEST_BYTES_MAX)
        if raw is None:
            return None
        try:
            return parse_manifest(
                raw, media_type=self._manifests.media_type(digest), algorithm=digest.algorithm
            )
        except InvalidManifest as error:
            log.warning("%s was stored as a manifest and is none: %s", digest, error.message)
            return None

    def manifest_digests(self) -> list[Digest]:
        """All that were given to :meth:`put_manifest`, whether or not they are still there."""
        return self._manifests.digests()

    def drop_stray_notes(self, before: float) -> None:
        """Remove notes of what is gone, and what a killed process left before that time."""
        drop_stray_pieces(self._layout.pieces, self.ingests)
        for digest in self.manifest_digests():
            with self._lock:
                if self.stat(digest) is None:
                    self._manifests.forget(digest, note=True)
        for directory in (self.top, self._layout.manifests, self._layout.pins):
            directory.drop_leftovers(before)

    def referrers(self, subject: Digest) -> list[Manifest | Index]:
        return self._subjects.referrers(subject)

    # -- what stays --------------------------------------------------------------------------------

    def pin(self, digest: Digest) -> None:
        self._pins.add(digest)

    def unpin(self, digest: Digest) -> None:
        self._pins.remove(digest)

    def pinned(self) -> frozenset[Digest]:
        """Read anew: another process may have pinned."""
        return self._pins.read()

    @contextmanager
    def hold(self, digest: Digest) -> Iterator[None]:
        with self._lock:
            self._uses.hold(digest)
        try:
            yield
        finally:
            self._release(digest)

    def is_held(self, digest: Digest) -> bool:
        """Whether it is being served by this process. Another's open files survive an eviction here:
        a file that is open outlives its name."""
        return self._uses.is_held(digest)

    def mark(self) -> int:
        """This moment, for :meth:`remove`."""
        return self._uses.mark()

    def _use(self, digest: Digest, *, hold: bool = False) -> None:
        with self._lock:
            if hold:
                self._uses.hold(digest)
            note = self._uses.use(digest, now := self.clock.time())
        if note:
            self._blobs[digest.algorithm].stamp(digest.hex, now)

    def _release(self, digest: Digest) -> None:
        with self._lock:
            self._uses.release(digest)

    # -- what goes ---------------------------------------------------------------------------------

    def remove(self, digest: Digest, *, mark: int | None = None, stamp: float | None = None) -> bool:
        """See the contract; with ``mark``, not when it was used since :meth:`mark` was taken; with
        ``stamp``, only while that is the file's: else another process has begun to use it."""
        blobs = self._blobs[digest.algorithm]
        name = f"{note_name(digest)}.{token_hex(8)}"
        with self._lock:
            found = blobs.stat(digest.hex)
            kept = self._uses.is_held(digest) or self._pins.holds(digest)
            if found is None or kept or (mark is not None and self._uses.used_since(digest, mark)):
                return False
            if stamp is not None and found.st_mtime != stamp:
                return False
            # Moved first: freeing a large file's blocks takes long, and openers wait for this lock.
            try:
                blobs.rename(digest.hex, self.ingests, name)
            except StoreFull:
                blobs.unlink(digest.hex)
            if stamp is not None and self._is_stamped_anew(name, stamp):
                self.ingests.rename(name, blobs, digest.hex)  # in the moment between: it is wanted
                return False
            self._forget(digest, found.st_size)
        self.ingests.unlink(name)
        self._manifests.forget(digest, note=True)
        return True

    def _is_stamped_anew(self, name: str, stamp: float) -> bool:
        moved = self.ingests.stat(name)
        return moved is not None and moved.st_mtime != stamp

    def _forget(self, digest: Digest, size: int) -> None:
        self._changed_bytes -= size
        self._sizes.pop(digest, None)
        self._uses.forget(digest)
        self._manifests.forget(digest, note=False)

    def sync_removals(self) -> None:
        """Wait until removals so far are durable: what is removed afterwards cannot outrun them."""
        for directory in self._blobs.values():
            directory.sync()

    # -- how much ----------------------------------------------------------------------------------

    def blobs(self) -> Iterator[BlobInfo]:
        now = self.clock.time()
        for algorithm, directory in self._blobs.items():
            for name, found in directory.stats():
                try:
                    digest = Digest(algorithm, name)
                except InvalidDigest:
                    continue  # not ours
                used_at = max(min(found.st_mtime, now), self._uses.last(digest) or 0.0)
                yield BlobInfo(digest, found.st_size, used_at, found.st_mtime)

    def usage(self) -> int:
        """Bytes in committed blobs. The first call counts; later ones add what changed since, in this
        process: :meth:`recount` sees what others did."""
        counted = self._counted_bytes
        return self.recount() if counted is None else counted + self._changed_bytes

    def recount(self) -> int:
        """Count anew what is on disk; once more when something came or went meanwhile."""
        for _ in range(RECOUNT_TRIES):
            changed = self._changed_bytes
            self._counted_bytes = sum(blob.size for blob in self.blobs()) - changed
            if changed == self._changed_bytes:
                break
        return self.usage()

    def check_writable(self) -> None:
        self._layout.check_writable()
