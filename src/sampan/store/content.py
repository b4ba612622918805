"""The contract of a store: what is read is verified, and what is not verified cannot be read.

Content goes in through an :class:`Ingest` (write, then commit) and comes out through ``open`` or
``read``. The one guarantee: nothing is visible under a digest before its bytes have been found to hash
to it. A store knows nothing of hosts, tags or requests. Every method blocks; ``stat``, ``open_at_once``,
``recall_manifest``, ``hold`` and ``usage`` take microseconds and may be called from an event loop,
everything else belongs in a thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager
    from io import FileIO
    from pathlib import Path
    from types import TracebackType

    from sampan.oci.digest import Digest
    from sampan.oci.manifest import Index, Manifest
    from sampan.store.spans import Spans

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A committed blob as a sweep sees it: ``used_at`` is its last use, seconds since the epoch; ``stamp``
    changes when another process uses it (:meth:`~sampan.store.disk.DiskStore.remove`)."""

    digest: Digest
    size: int
    used_at: float
    stamp: float = 0.0


@dataclass(frozen=True, slots=True)
class OpenBlob:
    """A verified blob, open for reading: ``file`` is unbuffered and has a file number for sendfile. Its
    ``size`` bytes begin at ``offset``: 0 in a store, a place in the middle in an archive.

    It stays readable to its end whatever happens to the store meanwhile, and is never evicted before
    :meth:`close`. Also a context manager.
    """

    digest: Digest
    file: FileIO
    size: int
    release: Callable[[Digest], None]
    offset: int = 0

    def close(self) -> None:
        """Give the blob back; once is enough and twice does no harm."""
        if not self.file.closed:
            self.file.close()
            self.release(self.digest)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class BeingWritten:
    """A blob that another writer is bringing, in this process or another: ``size`` bytes of its file so far;
    ``changed_ns`` is another number after each write of his."""

    size: int = 0
    changed_ns: int = 0


class Ingest(Protocol):
    """Bytes on their way in: one writer, any number of readers behind it. All methods block.

    It ends with exactly one of ``commit``, ``suspend`` or ``discard``; the others then do nothing. After
    a :class:`~sampan.errors.StoreError` other than ``StoreFull`` from ``write``, the file is not to be
    trusted and ``suspend`` discards it.
    """

    digest: Digest
    size: int | None
    """The blob's size in bytes when it is known; may be set later, before the last write."""
    resumed_bytes: int
    """How many bytes were found from an earlier life: a mismatch may be theirs, not the host's."""
    resumable: bool
    """False for the second ingest of one digest: its file is private and ends with it."""

    @property
    def path(self) -> Path:
        """Where the bytes are gathered, for messages: to read them use :meth:`open_reader`."""

    @property
    def offset(self) -> int:
        """Bytes on disk from the beginning on, and hashed once :meth:`rehash` ran; grows while ``write``
        runs elsewhere."""

    @property
    def spans(self) -> Spans:
        """All bytes on disk: a copy. Never waits for a writer."""

    def rehash(self) -> int:
        """Rebuild the running hash of bytes from an earlier life; returns ``offset``. No work if none."""

    def write(self, data: Buffer | Iterable[Buffer]) -> None:
        """Append and hash. One large buffer (MiB) is best; several are joined, so pass a few MiB at most.

        Raises ``StoreFull`` (what fitted is kept and counted in ``offset``, and the ingest may go on
        when there is room), ``StoreError``, or ``ContentMismatch`` when ``size`` would be exceeded
        (nothing is then written).
        """

    def place(self, start: int, data: Buffer | Iterable[Buffer]) -> None:
        """As :meth:`write`, at ``start``: bytes may come in any order, each of them once, from any thread.
        What is beyond a gap is hashed when the gap is filled. Raises ValueError before ``offset``."""

    def forget(self, start: int, stop: int) -> None:
        """These bytes are not to be believed: they are missing again, and may be placed anew."""

    def read(self, start: int, stop: int) -> bytes:
        """What is on disk from ``start`` to ``stop``: a few MiB at most."""

    def rewind(self, offset: int = 0) -> None:
        """Forget all bytes from ``offset`` on. 0 begins a fresh file: earlier readers keep the old one."""

    def open_reader(self) -> FileIO:
        """The file as it is now, to be followed as it grows; valid beyond commit and discard."""

    def matches(self) -> bool:
        """Whether what is written is the whole blob: the digest agrees, and ``size`` if known."""

    def commit(self) -> int:
        """Verify, make durable, make visible; returns the size in bytes.

        Raises ``ContentMismatch`` when the bytes are not the digest's, ``StoreError`` when the disk
        does not confirm: either way the file is gone.
        """

    def suspend(self) -> None:
        """Close, and keep the bytes for the next :meth:`Store.ingest` of this digest."""

    def discard(self) -> None:
        """Close, and remove the bytes."""


class Store(Protocol):
    """Verified content by digest. Raises :class:`~sampan.errors.StoreError` for trouble with the disk."""

    def stat(self, digest: Digest) -> int | None:
        """The size in bytes of a committed blob, or None. Does not count as a use."""

    def open(self, digest: Digest, size: int | None = None) -> OpenBlob | None:
        """The blob for reading, or None. One of another ``size`` is hashed: if damaged, None."""

    def open_at_once(self, digest: Digest, size: int | None = None) -> OpenBlob | None:
        """As :meth:`open`, but None for one of another ``size``, too: nothing is hashed."""

    def read(self, digest: Digest, *, size_max: int) -> bytes | None:
        """All of a small blob, hashed again on the way.

        None when it is absent or larger than ``size_max`` bytes, or when it was damaged: it is then
        in quarantine and may be fetched again.
        """

    def ingest(self, digest: Digest, size: int | None = None) -> Ingest:
        """Begin, or take up again, writing a blob of ``size`` bytes (None: not known yet)."""

    def take_up(self, digest: Digest, size: int | None = None) -> Ingest | BeingWritten:
        """As :meth:`ingest`, but nothing is begun beside another writer: it is for the caller to wait, and
        to look again, for he may commit, or die and leave what he has."""

    def put(self, digest: Digest, data: bytes) -> None:
        """Commit a small blob at once. Raises ``ContentMismatch`` when ``data`` is something else."""

    def put_manifest(self, manifest: Manifest | Index) -> None:
        """Commit a manifest and remember that it is one, so that a sweep keeps what it names."""

    def get_manifest(self, digest: Digest) -> Manifest | Index | None:
        """A manifest given to :meth:`put_manifest`, parsed; None when absent or damaged."""

    def recall_manifest(self, digest: Digest) -> Manifest | Index | None:
        """As :meth:`get_manifest`, from memory alone: None when it was not used lately."""

    def referrers(self, subject: Digest) -> list[Manifest | Index]:
        """The stored manifests that refer to ``subject``, by digest; reads those that it has not seen yet."""

    def is_verified(self, digest: Digest) -> bool:
        """Whether this process has hashed it, or seen it committed. At once."""

    def verify(self, digest: Digest) -> bool:
        """Hash the whole blob; a damaged one is quarantined. False when it is absent or damaged."""

    def remove(self, digest: Digest) -> bool:
        """Remove a blob unless it is held or pinned; whether it is gone because of this call."""

    def blobs(self) -> Iterator[BlobInfo]:
        """All committed blobs, in no order."""

    def pin(self, digest: Digest) -> None:
        """Never evict this, nor, if it is a manifest, what it names; outlives the process."""

    def unpin(self, digest: Digest) -> None:
        """Undo :meth:`pin`."""

    def pinned(self) -> frozenset[Digest]:
        """All that is pinned."""

    def hold(self, digest: Digest) -> AbstractContextManager[None]:
        """Never evict this blob within the ``with``: it is about to be, or being, served."""

    def usage(self) -> int:
        """Bytes in committed blobs."""

    def check_writable(self) -> None:
        """Write something and remove it. Raises ``StoreFull`` or ``StoreError``."""

    def close(self) -> None:
        """Let go of the directory; open blobs and ingests live on."""
