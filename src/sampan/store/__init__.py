"""Content on disk: verified blobs, what tags mean, and how both are kept to a size."""

from sampan.store.content import BeingWritten, BlobInfo, Ingest, OpenBlob, Store
from sampan.store.disk import DiskStore
from sampan.store.removal import Gone, Removal, SweepReport
from sampan.store.scrub import ScrubReport, Throttle, scrub
from sampan.store.sweep import evict, free, remove_image, tidy
from sampan.store.tags import TagRecord, TagStore

__all__ = [
    "BeingWritten",
    "BlobInfo",
    "DiskStore",
    "Gone",
    "Ingest",
    "OpenBlob",
    "Removal",
    "ScrubReport",
    "Store",
    "SweepReport",
    "TagRecord",
    "TagStore",
    "Throttle",
    "evict",
    "free",
    "remove_image",
    "scrub",
    "tidy",
]
