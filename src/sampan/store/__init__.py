"""Content on disk: verified blobs, what tags mean, and how both are kept to a size."""

from sampan.store.content import BlobInfo, Ingest, OpenBlob, Store
from sampan.store.disk import DiskStore
from sampan.store.sweep import ScrubReport, SweepReport, evict, free, scrub, tidy
from sampan.store.tags import TagRecord, TagStore

__all__ = [
    "BlobInfo",
    "DiskStore",
    "Ingest",
    "OpenBlob",
    "ScrubReport",
    "Store",
    "SweepReport",
    "TagRecord",
    "TagStore",
    "evict",
    "free",
    "scrub",
    "tidy",
]
