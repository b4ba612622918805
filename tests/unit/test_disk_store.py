"""The store on a directory: its layout, and what is planted, damaged or torn in it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from disks import blob_path, image, wrong_blobs
from sampan.errors import ContentMismatch, StoreError
from sampan.oci import Digest
from sampan.store import DiskStore
from sampan.testing import ManualClock

DATA = b"a blob" * 1000
DIGEST = Digest.of(DATA)
OTHER = Digest.of(b"other")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[DiskStore]:
    store = DiskStore(tmp_path / "store", clock)
    yield store
    store.close()


def quarantined(store: DiskStore) -> list[str]:
    return store.quarantine.names()


# -- the layout --------------------------------------------------------------------------------------


def test_the_directory_is_an_oci_image_layout(store: DiskStore) -> None:
    store.put(DIGEST, DATA)
    assert json.loads((store.root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads((store.root / "index.json").read_bytes())["manifests"] == []
    assert (store.root / "blobs" / "sha256" / DIGEST.hex).read_bytes() == DATA


def test_an_index_of_somebodys_own_is_left_alone(store: DiskStore) -> None:
    mine = '{"schemaVersion": 2, "manifests": [{"mine": true}]}'
    (store.root / "index.json").write_text(mine)
    DiskStore(store.root).close()
    assert (store.root / "index.json").read_text() == mine


@pytest.mark.parametrize("garbage", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_torn_layout_file_is_written_anew(store: DiskStore, garbage: bytes) -> None:
    for name in ("oci-layout", "index.json"):
        (store.root / name).write_bytes(garbage)
    DiskStore(store.root).close()
    assert json.loads((store.root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads((store.root / "index.json").read_bytes())["schemaVersion"] == 2


def test_modes_are_those_of_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        store = DiskStore(tmp_path / "store")
        store.put(DIGEST, DATA)
        store.close()
    finally:
        os.umask(old)
    assert (tmp_path / "store" / "blobs").stat().st_mode & 0o777 == 0o750
    assert blob_path(tmp_path / "store", DIGEST).stat().st_mode & 0o777 == 0o640


def test_the_root_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    store = DiskStore(tmp_path / "link")
    store.put(DIGEST, DATA)
    store.close()
    assert wrong_blobs(tmp_path / "real") == []
    assert blob_path(tmp_path / "real", DIGEST).exists()


def test_foreign_files_among_the_blobs_are_ignored(store: DiskStore) -> None:
    (store.root / "blobs" / "sha256" / "README").write_text("not a blob")
    (store.root / "blobs" / "sha256" / ("A" * 64)).write_text("upper case")
    assert list(store.blobs()) == []
    assert store.usage() == 0


def test_a_pin_outlives_the_process(store: DiskStore) -> None:
    store.pin(DIGEST)
    again = DiskStore(store.root)
    assert again.pinned() == {DIGEST}
    again.close()


# -- damage ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [b"", DATA[:-1], DATA + b"?", b"?" + DATA[1:]])
@pytest.mark.parametrize("look", ["read", "verify"])
def test_a_damaged_blob_is_set_aside_when_looked_at(store: DiskStore, damage: bytes, look: str) -> None:
    store.put(DIGEST, DATA)
    blob_path(store.root, DIGEST).write_bytes(damage)
    if look == "read":
        assert store.read(DIGEST, size_max=10**6) is None
    else:
        assert not store.verify(DIGEST)
    assert store.stat(DIGEST) is None
    assert store.recount() == store.usage() == 0
    assert len(quarantined(store)) == 1
    store.put(DIGEST, DATA)
    assert store.verify(DIGEST)


@pytest.mark.parametrize("damage", [b"", DATA[:-1], DATA + b"?"])
def test_a_blob_of_the_wrong_size_is_set_aside_when_opened(
    store: DiskStore, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    store.put(DIGEST, DATA)
    store.close()
    blob_path(store.root, DIGEST).write_bytes(damage)
    again = DiskStore(store.root)
    assert again.open(DIGEST, len(DATA)) is None
    assert again.stat(DIGEST) is None
    assert len(quarantined(again)) == 1
    assert "was damaged" in caplog.text
    again.close()


def test_a_blob_that_changed_size_after_its_commit_is_noticed_without_being_told(store: DiskStore) -> None:
    store.put(DIGEST, DATA)
    blob_path(store.root, DIGEST).write_bytes(b"")
    assert store.open(DIGEST) is None


def test_a_manifest_that_lies_about_a_size_costs_us_no_good_blob(store: DiskStore) -> None:
    store.put(DIGEST, DATA)
    store.close()
    again = DiskStore(store.root)
    for _ in range(2):
        blob = again.open(DIGEST, 1)
        assert blob is not None
        assert blob.size == len(DATA)
        blob.close()
    assert quarantined(again) == []
    again.close()


def test_an_open_blob_survives_its_damage_being_found(store: DiskStore) -> None:
    store.put(DIGEST, DATA)
    blob = store.open(DIGEST)
    assert blob is not None
    with blob:
        (store.root / "new").write_bytes(b"damaged")
        (store.root / "new").rename(blob_path(store.root, DIGEST))
        assert not store.verify(DIGEST)
        assert blob.file.read() == DATA


def test_a_damaged_manifest_is_read_anew_after_a_restart(store: DiskStore) -> None:
    manifest = image(b"layer")
    store.put_manifest(manifest)
    store.close()
    blob_path(store.root, manifest.digest).write_bytes(manifest.raw[:-1])
    again = DiskStore(store.root)
    assert again.get_manifest(manifest.digest) is None
    again.put_manifest(manifest)
    assert again.get_manifest(manifest.digest) == manifest
    again.close()


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"mediaType": 3}', b"x" * 5000])
def test_a_torn_note_does_not_lose_the_manifest(store: DiskStore, note: bytes) -> None:
    manifest = image(b"layer")
    store.put_manifest(manifest)
    store.close()
    (store.root / "manifests" / f"sha256-{manifest.digest.hex}").write_bytes(note)
    again = DiskStore(store.root)
    assert again.get_manifest(manifest.digest) == manifest
    again.close()


def test_a_note_about_something_else_is_no_manifest(store: DiskStore) -> None:
    store.put(DIGEST, DATA)
    (store.root / "manifests" / f"sha256-{DIGEST.hex}").write_text("{}")
    assert store.get_manifest(DIGEST) is None
    assert store.stat(DIGEST) == len(DATA)


def test_manifests_at_hand_stay_within_their_bound(store: DiskStore) -> None:
    manifests = [image(b"%d" % number) for number in range(5)]
    shelf = store._manifests
    shelf._bytes_max = 2 * manifests[0].size
    for manifest in manifests:
        store.put_manifest(manifest)
    assert [shelf.remembered(manifest.digest) is not None for manifest in manifests] == [
        False,
        False,
        False,
        True,
        True,
    ]
    assert store.get_manifest(manifests[0].digest) == manifests[0]


# -- planted things ----------------------------------------------------------------------------------


def plant(path: Path, kind: str, outside: Path) -> None:
    outside.write_bytes(b"a secret")
    if kind == "link":
        path.symlink_to(outside)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
@pytest.mark.row("D11")
def test_what_is_planted_under_a_digest_is_refused_and_set_aside(
    store: DiskStore, tmp_path: Path, kind: str
) -> None:
    plant(blob_path(store.root, DIGEST), kind, tmp_path / "outside")
    assert store.open(DIGEST) is None
    assert store.read(DIGEST, size_max=100) is None
    assert not store.verify(DIGEST)
    store.put(DIGEST, DATA)
    assert store.read(DIGEST, size_max=10**6) == DATA
    assert (tmp_path / "outside").read_bytes() == b"a secret"


def test_the_store_logs_no_traceback_for_a_planted_link(
    store: DiskStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plant(blob_path(store.root, DIGEST), "link", tmp_path / "outside")
    with caplog.at_level(logging.WARNING):
        assert store.open(DIGEST) is None
    assert [record.exc_info for record in caplog.records] == [None, None]


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
@pytest.mark.row("D11")
def test_what_is_planted_in_the_way_of_an_ingest_is_not_written_to(
    store: DiskStore, tmp_path: Path, kind: str
) -> None:
    plant(store.root / "ingest" / f"sha256-{DIGEST.hex}", kind, tmp_path / "outside")
    ingest = store.ingest(DIGEST)
    ingest.write(DATA)
    assert ingest.commit() == len(DATA)
    assert (tmp_path / "outside").read_bytes() == b"a secret"


@pytest.mark.parametrize("name", ["blobs", "ingest", "manifests", "pins", "quarantine"])
def test_a_link_in_place_of_a_directory_stops_the_start(tmp_path: Path, name: str) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "store" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=name) as raised:
        DiskStore(tmp_path / "store")
    assert raised.value.hint is not None
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_second_name_for_a_partial_file_is_not_written_through(store: DiskStore) -> None:
    store.put(DIGEST, DATA)
    os.link(blob_path(store.root, DIGEST), store.root / "ingest" / f"sha256-{OTHER.hex}")
    ingest = store.ingest(OTHER)
    assert ingest.offset == 0
    ingest.write(b"other")
    ingest.commit()
    assert store.verify(DIGEST)


# -- partial files -----------------------------------------------------------------------------------


def test_a_torn_partial_is_caught_at_the_commit(store: DiskStore) -> None:
    (store.root / "ingest" / f"sha256-{DIGEST.hex}").write_bytes(DATA[:100] + bytes(100))
    ingest = store.ingest(DIGEST, len(DATA))
    assert ingest.resumed_bytes == 200
    ingest.write(DATA[200:])
    with pytest.raises(ContentMismatch):
        ingest.commit()
    assert store.stat(DIGEST) is None


def test_a_partial_that_shrinks_under_its_writer_is_given_up(store: DiskStore) -> None:
    path = store.root / "ingest" / f"sha256-{DIGEST.hex}"
    path.write_bytes(DATA[:200])
    ingest = store.ingest(DIGEST)
    os.truncate(path, 100)
    with pytest.raises(StoreError, match="became shorter"):
        ingest.write(DATA[200:])
    ingest.suspend()
    assert not path.exists()


def test_bytes_beyond_those_that_were_hashed_are_cut_off(store: DiskStore) -> None:
    ingest = store.ingest(DIGEST)
    ingest.write(DATA)
    with ingest.path.open("ab") as file:
        file.write(b"not mine")
    assert ingest.commit() == len(DATA)
    assert wrong_blobs(store.root) == []


def test_a_removed_partial_is_told_and_not_visible(store: DiskStore) -> None:
    ingest = store.ingest(DIGEST)
    ingest.write(DATA)
    ingest.path.unlink()
    with pytest.raises(StoreError, match="vanished"):
        ingest.commit()
    assert store.stat(DIGEST) is None


# -- the last use ------------------------------------------------------------------------------------


def used_at(store: DiskStore) -> list[float]:
    return [blob.used_at for blob in store.blobs()]


def test_the_last_use_is_known_at_once_and_on_disk_once_a_minute(
    store: DiskStore, clock: ManualClock
) -> None:
    store.put(DIGEST, DATA)
    path, begun = blob_path(store.root, DIGEST), clock.time()
    for passed, on_disk in ((30, 0), (30, 60), (59, 60), (1, 120)):
        clock.advance(passed)
        store.read(DIGEST, size_max=10**6)
        assert path.stat().st_mtime == begun + on_disk
        assert used_at(store) == [clock.time()]


def test_a_last_use_in_the_future_counts_as_now(store: DiskStore, clock: ManualClock) -> None:
    store.put(DIGEST, DATA)
    store.close()
    os.utime(blob_path(store.root, DIGEST), (clock.time() + 10**6,) * 2)
    again = DiskStore(store.root, clock)
    assert used_at(again) == [clock.time()]
    again.close()


def test_looking_is_no_use(store: DiskStore, clock: ManualClock) -> None:
    manifest = image(b"layer")
    store.put_manifest(manifest)
    begun = clock.time()
    clock.advance(100)
    store.stat(manifest.digest)
    store.verify(manifest.digest)
    store.peek_manifest(manifest.digest)
    assert used_at(store) == [begun]
    store.get_manifest(manifest.digest)
    assert used_at(store) == [begun + 100]
