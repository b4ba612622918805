"""What every store promises, asked of a new one, of one that was closed and opened again, and of one
whose directory a second store uses at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from disks import image, index
from sampan.errors import ContentMismatch, StoreError
from sampan.oci import Digest
from sampan.store import DiskStore, Ingest, Store
from sampan.testing import ManualClock

DATA = b"a blob" * 1000
DIGEST = Digest.of(DATA)


@pytest.fixture(params=["new", "opened again", "shared"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    others = [] if request.param == "new" else [DiskStore(tmp_path / "store", ManualClock())]
    if request.param == "opened again":
        others.pop().close()
    made = DiskStore(tmp_path / "store", ManualClock())
    yield made
    for each in (made, *others):
        each.close()


def stored(store: Store, data: bytes) -> Digest:
    digest = Digest.of(data)
    store.put(digest, data)
    return digest


def test_what_was_committed_is_read_back(store: Store) -> None:
    ingest = store.ingest(DIGEST, len(DATA))
    ingest.write(DATA[:100])
    ingest.write(DATA[100:])
    assert ingest.commit() == len(DATA)
    assert store.stat(DIGEST) == len(DATA)
    assert store.read(DIGEST, size_max=len(DATA)) == DATA
    blob = store.open(DIGEST)
    assert blob is not None
    with blob:
        assert (blob.size, blob.file.read()) == (len(DATA), DATA)


def test_what_is_absent_is_none(store: Store) -> None:
    assert store.stat(DIGEST) is None
    assert store.open(DIGEST) is None
    assert store.read(DIGEST, size_max=10) is None
    assert store.get_manifest(DIGEST) is None
    assert not store.verify(DIGEST)
    assert not store.remove(DIGEST)


def test_nothing_is_visible_before_the_commit(store: Store) -> None:
    ingest = store.ingest(DIGEST, len(DATA))
    ingest.write(DATA)
    assert ingest.matches()
    assert store.stat(DIGEST) is None
    assert store.open(DIGEST) is None
    assert list(store.blobs()) == []
    ingest.discard()


def test_wrong_bytes_are_never_committed(store: Store) -> None:
    ingest = store.ingest(DIGEST, len(DATA))
    ingest.write(DATA[:-1] + b"?")
    assert not ingest.matches()
    with pytest.raises(ContentMismatch):
        ingest.commit()
    assert store.stat(DIGEST) is None
    again = store.ingest(DIGEST)
    assert again.offset == 0
    again.discard()


def test_a_short_body_is_never_committed(store: Store) -> None:
    ingest = store.ingest(DIGEST, len(DATA))
    ingest.write(DATA[:-1])
    assert not ingest.matches()
    with pytest.raises(ContentMismatch):
        ingest.commit()
    assert store.stat(DIGEST) is None


def test_more_than_the_size_is_refused_and_not_written(store: Store) -> None:
    ingest = store.ingest(DIGEST, 10)
    ingest.write(b"12345")
    with pytest.raises(ContentMismatch, match="more than the 10 bytes"):
        ingest.write(b"678901")
    assert ingest.offset == 5
    ingest.discard()


def test_the_empty_blob_is_a_blob(store: Store) -> None:
    empty = stored(store, b"")
    assert store.stat(empty) == 0
    assert store.read(empty, size_max=0) == b""
    assert store.verify(empty)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_both_algorithms_are_kept(store: Store, algorithm: str) -> None:
    digest = Digest.of(DATA, algorithm)
    store.put(digest, DATA)
    assert store.read(digest, size_max=len(DATA)) == DATA
    assert [blob.digest for blob in store.blobs()] == [digest]


def test_buffers_of_all_kinds_are_written_in_their_order(store: Store) -> None:
    ingest = store.ingest(Digest.of(b"one two three four"))
    ingest.write(b"one ")
    ingest.write(bytearray(b"two "))
    ingest.write([memoryview(b"three "), b"four"])
    ingest.write([])
    assert ingest.commit() == 18


def test_a_suspended_ingest_goes_on_from_its_last_byte(store: Store) -> None:
    first = store.ingest(DIGEST, len(DATA))
    first.write(DATA[:1000])
    first.suspend()
    second = store.ingest(DIGEST, len(DATA))
    assert (second.offset, second.resumed_bytes, second.resumable) == (1000, 1000, True)
    assert second.rehash() == 1000
    second.write(DATA[1000:])
    assert second.commit() == len(DATA)


def test_bytes_of_an_earlier_life_are_hashed_without_being_asked(store: Store) -> None:
    first = store.ingest(DIGEST, len(DATA))
    first.write(DATA)
    first.suspend()
    second = store.ingest(DIGEST, len(DATA))
    assert second.matches()
    second.commit()
    assert store.verify(DIGEST)


def test_a_partial_longer_than_the_blob_is_dropped(store: Store) -> None:
    first = store.ingest(DIGEST)
    first.write(DATA + b"and more")
    first.suspend()
    second = store.ingest(DIGEST, len(DATA))
    assert (second.offset, second.resumed_bytes) == (0, 0)
    second.discard()


def test_a_discarded_ingest_leaves_nothing(store: Store) -> None:
    first = store.ingest(DIGEST)
    first.write(DATA)
    first.discard()
    second = store.ingest(DIGEST)
    assert second.offset == 0
    second.discard()


def test_the_second_ingest_of_a_digest_is_private_and_not_resumable(store: Store) -> None:
    first, second = store.ingest(DIGEST), store.ingest(DIGEST)
    assert (first.resumable, second.resumable) == (True, False)
    assert first.path != second.path
    first.write(DATA[:10])
    second.write(DATA)
    assert second.commit() == len(DATA)
    first.write(DATA[10:])
    assert first.commit() == len(DATA)
    assert store.usage() == len(DATA)


def test_a_private_ingest_that_is_suspended_is_gone(store: Store) -> None:
    first, second = store.ingest(DIGEST), store.ingest(DIGEST)
    second.write(DATA)
    second.suspend()
    assert not second.path.exists()
    first.discard()


def test_rewinding_to_the_start_takes_a_fresh_file(store: Store) -> None:
    ingest = store.ingest(DIGEST)
    ingest.write(b"all wrong")
    with ingest.open_reader() as old:
        ingest.rewind()
        assert ingest.offset == 0
        ingest.write(DATA)
        assert old.read() == b"all wrong"
        with ingest.open_reader() as new:
            assert new.read() == DATA
    assert ingest.commit() == len(DATA)


def test_rewinding_to_the_middle_keeps_what_is_before(store: Store) -> None:
    ingest = store.ingest(DIGEST)
    ingest.write(DATA[:100] + b"wrong")
    ingest.rewind(100)
    assert ingest.offset == 100
    ingest.write(DATA[100:])
    assert ingest.commit() == len(DATA)


def test_nobody_rewinds_forward(store: Store) -> None:
    ingest = store.ingest(DIGEST)
    with pytest.raises(ValueError, match="cannot rewind from 0 to 1"):
        ingest.rewind(1)
    ingest.discard()


def test_a_reader_follows_the_partial_file_beyond_its_commit(store: Store) -> None:
    ingest = store.ingest(DIGEST)
    ingest.write(DATA[:10])
    with ingest.open_reader() as reader:
        assert reader.read() == DATA[:10]
        ingest.write(DATA[10:])
        ingest.commit()
        assert reader.read() == DATA[10:]
    with ingest.open_reader() as late:
        assert late.read() == DATA


def test_a_reader_of_a_discarded_ingest_is_told(store: Store) -> None:
    ingest = store.ingest(DIGEST)
    ingest.write(DATA)
    ingest.discard()
    with pytest.raises(StoreError, match="is gone"):
        ingest.open_reader()


@pytest.mark.parametrize("end", ["commit", "suspend", "discard"])
def test_an_ingest_that_has_ended_writes_no_more(store: Store, end: str) -> None:
    ingest = store.ingest(DIGEST, len(DATA))
    ingest.write(DATA)
    getattr(ingest, end)()
    ingest.suspend()
    ingest.discard()
    ingest.size = None
    with pytest.raises(StoreError, match="has ended"):
        ingest.write(b"more")
    assert (store.stat(DIGEST) is not None) == (end == "commit")


def test_putting_other_bytes_is_refused(store: Store) -> None:
    with pytest.raises(ContentMismatch):
        store.put(DIGEST, b"something else")
    assert store.stat(DIGEST) is None


def test_reading_has_a_limit(store: Store) -> None:
    digest = stored(store, DATA)
    assert store.read(digest, size_max=len(DATA) - 1) is None
    assert store.stat(digest) == len(DATA)


def test_a_manifest_comes_back_parsed_with_its_type_and_bytes(store: Store) -> None:
    for manifest in (image(b"layer"), index(image(b"layer"))):
        store.put_manifest(manifest)
        found = store.get_manifest(manifest.digest)
        assert found == manifest
        assert found is not None
        assert found.raw == manifest.raw


def test_a_blob_that_was_not_given_as_a_manifest_is_none(store: Store) -> None:
    manifest = image(b"layer")
    store.put(manifest.digest, manifest.raw)
    assert store.get_manifest(manifest.digest) is None


def test_a_manifest_is_recalled_once_it_was_used(store: Store) -> None:
    manifest = image(b"layer")
    assert store.recall_manifest(manifest.digest) is None
    store.put_manifest(manifest)
    assert store.recall_manifest(manifest.digest) == manifest


def test_a_blob_of_another_size_is_not_opened_at_once(store: Store) -> None:
    digest = stored(store, DATA)
    with_lie = store.open_at_once(digest, len(DATA) + 1)
    assert with_lie is None or with_lie.size == len(DATA)  # who wrote it knows its size for sure
    for size in (None, len(DATA)):
        blob = store.open_at_once(digest, size)
        assert blob is not None
        assert blob.file.read() == DATA
        blob.close()
    if with_lie is not None:
        with_lie.close()
    assert store.open_at_once(Digest.of(b"absent")) is None


def test_a_removed_manifest_is_forgotten(store: Store) -> None:
    manifest = image(b"layer")
    store.put_manifest(manifest)
    assert store.remove(manifest.digest)
    assert store.recall_manifest(manifest.digest) is None
    assert store.get_manifest(manifest.digest) is None
    assert store.stat(manifest.digest) is None


def test_what_is_held_or_open_is_not_removed(store: Store) -> None:
    digest = stored(store, DATA)
    with store.hold(digest), store.hold(digest):
        assert not store.remove(digest)
    blob = store.open(digest)
    assert blob is not None
    assert not store.remove(digest)
    blob.close()
    blob.close()
    assert store.remove(digest)


def test_what_is_pinned_is_not_removed(store: Store) -> None:
    digest = stored(store, DATA)
    store.pin(digest)
    assert store.pinned() == {digest}
    assert not store.remove(digest)
    store.unpin(digest)
    store.unpin(digest)
    assert store.pinned() == frozenset()
    assert store.remove(digest)


def test_usage_follows_what_is_stored(store: Store) -> None:
    assert store.usage() == 0
    one, two = stored(store, b"one"), stored(store, b"four")
    stored(store, b"one")
    assert store.usage() == 7
    store.remove(one)
    assert store.usage() == 4
    assert [(blob.digest, blob.size) for blob in store.blobs()] == [(two, 4)]


def test_a_healthy_store_is_writable(store: Store) -> None:
    store.check_writable()


def test_many_threads_commit_the_same_blob(store: Store) -> None:
    ingests = [store.ingest(DIGEST, len(DATA)) for _ in range(8)]

    def work(ingest: Ingest) -> None:
        ingest.write(DATA)
        ingest.commit()

    threads = [threading.Thread(target=work, args=(ingest,)) for ingest in ingests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.usage() == len(DATA)
    assert store.verify(DIGEST)
