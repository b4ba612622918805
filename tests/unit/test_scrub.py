"""Hashing everything again: what is damaged goes aside, at a bounded rate, and nobody else is disturbed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from disks import blob_path, image, put_image, wrong_blobs
from sampan.oci import Digest
from sampan.store import DiskStore, Throttle, scrub
from sampan.store.hashing import READ_BYTES
from sampan.testing import ManualClock

BIG = bytes(range(256)) * (4 * READ_BYTES // 256) + b"and a little more"
DIGEST = Digest.of(BIG)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    store = DiskStore(tmp_path / "store", ManualClock())
    store.put(DIGEST, BIG)
    yield store
    store.close()


def damage(store: DiskStore, digest: Digest) -> None:
    """One bit in the middle; the size stays."""
    path = blob_path(store.root, digest)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


class Sleeper:
    """Sleeping moves the clock; reading takes the seconds that a test says."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.slept = 0.0

    def sleep(self, seconds: float) -> None:
        assert 0 < seconds <= 1.0
        self.slept += seconds
        self.clock.advance(seconds)


def test_one_wrong_bit_in_a_large_blob_is_found(store: DiskStore) -> None:
    damage(store, DIGEST)
    assert scrub(store).damaged == (DIGEST,)
    assert wrong_blobs(store.root) == []
    assert store.stat(DIGEST) is None
    (name,) = store.quarantine.names()
    assert (store.root / "quarantine" / name).stat().st_size == len(BIG)


def test_what_is_set_aside_can_be_stored_anew(store: DiskStore) -> None:
    damage(store, DIGEST)
    scrub(store)
    store.put(DIGEST, BIG)
    assert scrub(store).damaged == ()
    assert store.read(DIGEST, size_max=len(BIG)) == BIG


def test_it_reads_no_more_a_second_than_it_may(store: DiskStore) -> None:
    sleeper = Sleeper()
    rate = READ_BYTES // 3  # a stride takes three seconds
    scrub(store, throttle=Throttle(rate, clock=sleeper.clock, sleep=sleeper.sleep))
    assert sleeper.slept == pytest.approx(len(BIG) / rate)


def test_what_was_slow_is_not_made_up_for() -> None:
    sleeper = Sleeper()
    throttle = Throttle(100, clock=sleeper.clock, sleep=sleeper.sleep)
    sleeper.clock.advance(60)  # the disk hung
    throttle.read(100)
    assert sleeper.slept == 0
    throttle.read(250)
    assert sleeper.slept == pytest.approx(2.5)


def test_it_tells_how_far_it_is(store: DiskStore) -> None:
    told: list[tuple[int, int]] = []
    report = scrub(store, told=lambda blobs, count_bytes: told.append((blobs, count_bytes)))
    assert told == [(0, READ_BYTES * n) for n in range(1, 5)] + [(0, len(BIG)), (1, len(BIG))]
    assert (report.checked, report.checked_bytes) == (1, len(BIG))


def test_of_those_that_are_named_alone(store: DiskStore) -> None:
    other = Digest.of(b"other")
    store.put(other, b"other")
    damage(store, DIGEST)
    assert scrub(store, only=[other]).checked == 1
    assert scrub(store, only=[DIGEST]).damaged == (DIGEST,)


def test_it_is_no_use_and_an_empty_blob_is_one(store: DiskStore) -> None:
    store.put(Digest.of(b""), b"")
    before = {blob.digest: blob.used_at for blob in store.blobs()}
    store.clock.advance(3600)  # type: ignore[attr-defined]
    assert scrub(store).checked == 2
    assert {blob.digest: blob.used_at for blob in store.blobs()} == before


def test_a_blob_that_is_removed_meanwhile_is_no_damage(store: DiskStore) -> None:
    other = DiskStore(store.root)
    lone = Digest.of(b"x")
    store.put(lone, b"x")
    blobs = store.blobs()
    store.blobs = lambda: blobs  # type: ignore[method-assign]  # listed before, read after
    listed = next(blobs)
    rest = Digest.of(b"x") if listed.digest == DIGEST else DIGEST
    assert other.remove(rest)
    assert scrub(store).damaged == ()
    other.close()


def test_a_good_blob_that_another_process_commits_in_its_place_is_not_taken_for_the_bad_one(
    store: DiskStore,
) -> None:
    """Between the moment in which it was found damaged and the one in which it is moved."""
    damage(store, DIGEST)
    other = DiskStore(store.root)
    found = blob_path(store.root, DIGEST).stat()
    blobs = store._blobs["sha256"]
    look = blobs.stat

    def late(name: str) -> os.stat_result | None:
        seen = look(name)
        blobs.stat = look  # type: ignore[method-assign]
        healed = other.ingest(DIGEST, len(BIG))
        healed.write(BIG)
        healed.commit()
        return seen

    blobs.stat = late  # type: ignore[method-assign]
    store._set_aside(DIGEST, found)
    assert store.quarantine.names() == []
    assert store.read(DIGEST, size_max=len(BIG)) == BIG
    other.close()


def test_a_damaged_manifest_is_forgotten_and_its_layers_are_no_ones(store: DiskStore) -> None:
    made = put_image(store, b"layer")
    damage(store, made.digest)
    assert store.get_manifest(made.digest) == made, "it is still in memory, and that is right"
    assert scrub(store).damaged == (made.digest,)
    assert store.get_manifest(made.digest) is None
    store.put_manifest(image(b"layer"))
    assert store.get_manifest(made.digest) == made
