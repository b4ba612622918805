"""Content on disk: verified blobs, what tags mean, and how both are kept to a size."""

from sampan.store.content import BeingWritten, BlobInfo, Ingest, OpenBlob, Store
from sampan.store.disk import DiskStore
from sampan.store.removal import Gone, Outcome, Removal, SweepReport
from sampan.store.scrub import ScrubReport, Throttle, scrub
from sampan.store.stock import Stock, StoredBlob, StoredImage
from sampan.store.sweep import evict, free, remove, tidy
from sampan.store.tags import TagRecord, TagStore

__all__ = [
    "BeingWritten",
    "BlobInfo",
    "DiskStore",
    "Gone",
    "Ingest",
    "OpenBlob",
    "Outcome",
    "Removal",
    "ScrubReport",
    "Stock",
    "Store",
    "StoredBlob",
    "StoredImage",
    "SweepReport",
    "TagRecord",
    "TagStore",
    "Throttle",
    "evict",
    "free",
    "remove",
    "scrub",
    "tidy",
]
