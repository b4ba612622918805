"""Disks without room, without permission, without file numbers: made so for real."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from disks import mounted, put_image, remount, wrong_blobs
from sampan.errors import StoreError, StoreFull
from sampan.oci import Digest
from sampan.store import DiskStore, OpenBlob, TagStore, evict
from sampan.testing import ManualClock

DATA = b"a blob" * 1000
DIGEST = Digest.of(DATA)
OTHER = Digest.of(b"other")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    store = DiskStore(tmp_path / "store", ManualClock())
    yield store
    store.close()


def test_a_full_disk_keeps_what_fitted_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    data = os.urandom(1024 * 1024)
    digest = Digest.of(data)
    with mounted(tmp_path / "disk", "size=256k") as disk:
        store = DiskStore(disk / "store")
        ingest = store.ingest(digest, len(data))
        with pytest.raises(StoreFull) as raised:
            ingest.write(data)
        assert raised.value.hint is not None
        kept = ingest.offset
        assert 0 < kept < len(data)
        assert ingest.path.read_bytes()[:kept] == data[:kept]
        with pytest.raises(StoreFull):
            store.check_writable()
        remount(disk, "size=4m")
        ingest.write(data[kept:])
        assert ingest.commit() == len(data)
        assert wrong_blobs(disk / "store") == []
        store.close()


def test_a_full_disk_does_not_keep_the_store_from_starting_and_serving(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=256k") as disk:
        store = DiskStore(disk / "store")
        store.put(DIGEST, DATA)
        store.close()
        with pytest.raises(OSError, match="No space"):
            (disk / "filler").write_bytes(bytes(1024 * 1024))
        again = DiskStore(disk / "store")
        assert again.read(DIGEST, size_max=10**6) == DATA
        with pytest.raises(StoreFull):
            again.put(OTHER, b"other")
        assert again.stat(OTHER) is None
        again.close()


def test_room_can_be_made_on_a_full_disk(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=400k") as disk:
        store, tags = DiskStore(disk / "store"), TagStore(disk / "store" / "tags")
        old = put_image(store, os.urandom(200 * 1024))
        data = os.urandom(250 * 1024)
        ingest = store.ingest(Digest.of(data), len(data))
        with pytest.raises(StoreFull):
            ingest.write(data)
        report = evict(store, tags, 300 * 1024)
        assert old.digest in report.removed
        ingest.write(data[ingest.offset :])
        assert ingest.commit() == len(data)
        store.close()
        tags.close()


def put_many(store: DiskStore, count: int) -> None:
    for number in range(count):
        data = b"%d" % number
        store.put(Digest.of(data), data)


def test_a_disk_without_inodes_is_full(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=1m", "nr_inodes=20") as disk:
        store = DiskStore(disk / "store")
        with pytest.raises(StoreFull):
            put_many(store, 20)
        assert wrong_blobs(disk / "store") == []
        store.close()


@pytest.mark.parametrize("made", [False, True])
def test_a_read_only_directory_stops_the_start_with_a_hint(tmp_path: Path, made: bool) -> None:
    with mounted(tmp_path / "disk", "size=1m") as disk:
        if made:
            DiskStore(disk / "store").close()
        remount(disk, "ro")
        with pytest.raises(StoreError, match="Read-only") as raised:
            DiskStore(disk / "store")
        assert "read-only" in str(raised.value.hint)
        assert not isinstance(raised.value, StoreFull)


def test_a_disk_that_becomes_read_only_still_serves(tmp_path: Path) -> None:
    clock = ManualClock()
    with mounted(tmp_path / "disk", "size=1m") as disk:
        store = DiskStore(disk / "store", clock)
        store.put(DIGEST, DATA)
        remount(disk, "ro")
        clock.advance(100)
        assert store.read(DIGEST, size_max=10**6) == DATA
        with pytest.raises(StoreError, match="Read-only"):
            store.check_writable()
        with pytest.raises(StoreError, match="Read-only"):
            store.ingest(OTHER)
        remount(disk, "rw")
        store.close()


def test_a_directory_of_another_user_stops_the_start_with_a_hint(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        (tmp_path / "store").mkdir(mode=0o500)
        with pytest.raises(StoreError, match="Permission denied"):
            DiskStore(tmp_path / "store")
        return
    tmp_path.chmod(0o755)
    pid = os.fork()
    if pid == 0:  # root may write anywhere: become nobody
        try:
            os.setuid(65534)
            DiskStore(tmp_path / "store")
        except StoreError as error:
            os._exit(7 if error.hint else 8)
        os._exit(9)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code == 7


def test_a_limit_on_the_size_of_files_is_a_store_error_with_a_hint(store: DiskStore) -> None:
    ingest = store.ingest(DIGEST)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, old[1]))
        with pytest.raises(StoreError, match="File too large") as raised:
            ingest.write(DATA)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert "ulimit" in str(raised.value.hint)
    ingest.suspend()
    assert not ingest.path.exists()


def test_too_many_open_files_is_a_store_error_with_a_hint(store: DiskStore) -> None:
    store.put(DIGEST, DATA)
    used, limits = len(os.listdir("/proc/self/fd")), resource.getrlimit(resource.RLIMIT_NOFILE)
    files: list[OpenBlob | None] = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 8, limits[1]))
        with pytest.raises(StoreError, match="Too many open files") as raised:
            files.extend(iter(lambda: store.open(DIGEST), None))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for blob in files:
            assert blob is not None
            blob.close()
    assert "LimitNOFILE" in str(raised.value.hint)
    assert store.remove(DIGEST)


def test_a_directory_that_vanished_is_told(store: DiskStore) -> None:
    store.root.joinpath("ingest").rmdir()
    with pytest.raises(StoreError) as raised:
        store.check_writable()
    assert "start it again" in str(raised.value.hint)
