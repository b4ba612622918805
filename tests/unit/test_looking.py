"""Looking into the store: from memory at once, else in a thread; a broken disk has nothing."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from disks import blob_path, image
from sampan.errors import StoreError
from sampan.mirror.looking import Looking
from sampan.oci import Digest
from sampan.store import DiskStore, OpenBlob, TagStore
from sampan.testing import ManualClock

DATA = b"some bytes" * 100
DIGEST = Digest.of(DATA)
ALPINE = ("docker.io", "library/alpine", "3")


class Watched(DiskStore):
    """Writes down which threads hashed, and fails to find anything when ``broken``."""

    hashed_by: list[str]
    broken = False

    def check(self, digest: Digest, stride: Callable[[int], None] | None = None) -> bool | None:
        self.hashed_by.append(threading.current_thread().name)
        return super().check(digest, stride)

    def open_at_once(self, digest: Digest, size: int | None = None) -> OpenBlob | None:
        if self.broken:
            raise StoreError("input/output error")
        return super().open_at_once(digest, size)

    def stat(self, digest: Digest) -> int | None:
        if self.broken:
            raise StoreError("input/output error")
        return super().stat(digest)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Watched]:
    store = Watched(tmp_path, ManualClock())
    store.put(DIGEST, DATA)
    store.close()
    store = Watched(tmp_path, ManualClock())  # as after a restart: no size is known for sure
    store.hashed_by = []
    yield store
    store.close()


@pytest.fixture
def tags(tmp_path: Path) -> Iterator[TagStore]:
    tags = TagStore(tmp_path / "tags", ManualClock())
    yield tags
    tags.close()


async def test_a_lie_about_a_size_costs_one_hash_in_a_thread_for_all_who_ask(
    store: Watched, tags: TagStore
) -> None:
    looking = Looking(store, tags)
    blobs = await asyncio.gather(*(looking.blob(DIGEST, 7) for _ in range(5)))
    assert [blob.size for blob in blobs if blob] == [len(DATA)] * 5
    assert len(store.hashed_by) == 1
    assert threading.main_thread().name not in store.hashed_by
    blobs.append(await looking.blob(DIGEST, 7))
    assert len(store.hashed_by) == 1, "its size is known now"
    for blob in blobs:
        assert blob is not None
        blob.close()
    await looking.close()


async def test_a_blob_of_the_right_size_or_of_none_is_not_hashed(store: Watched, tags: TagStore) -> None:
    looking = Looking(store, tags)
    for size in (None, len(DATA)):
        blob = await looking.blob(DIGEST, size)
        assert blob is not None
        blob.close()
    assert await looking.blob(Digest.of(b"absent"), 7) is None
    assert store.hashed_by == []


async def test_a_blob_that_was_cut_is_absent(store: Watched, tags: TagStore, tmp_path: Path) -> None:
    blob_path(tmp_path, DIGEST).write_bytes(DATA[:-1])
    assert await Looking(store, tags).blob(DIGEST, len(DATA)) is None
    assert store.stat(DIGEST) is None


async def test_a_disk_that_cannot_be_read_has_nothing_and_the_log_says_so(
    store: Watched, tags: TagStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StoreError("input/output error")

    store.broken = True
    monkeypatch.setattr(store, "get_manifest", fail)
    monkeypatch.setattr(tags, "get", fail)
    monkeypatch.setattr(tags, "list", fail)
    looking = Looking(store, tags)
    with caplog.at_level(logging.WARNING):
        assert await looking.manifest(DIGEST) is None
        assert await looking.blob(DIGEST, None) is None
        assert looking.size_of(DIGEST) is None
        assert await looking.tag(*ALPINE) is None
        assert await looking.tags(*ALPINE[:2]) == []
    assert len(caplog.records) == 5


async def test_what_was_used_lately_costs_no_thread(
    store: Watched, tags: TagStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = image(b"layer")
    store.put_manifest(manifest)
    record = tags.put(*ALPINE, manifest.descriptor, host="h", now=1.0)

    def thread(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(asyncio, "to_thread", thread)
    looking = Looking(store, tags)
    assert await looking.tag(*ALPINE) == record
    assert await looking.manifest(manifest.digest) is manifest
