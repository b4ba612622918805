"""Eviction: what goes first, what stays, and that an image goes whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from disks import blob_path, image, index, put_image, wrong_blobs
from sampan.oci import Digest, Index, Manifest
from sampan.store import DiskStore, SweepReport, TagStore, evict, free, scrub, tidy
from sampan.testing import ManualClock

DAY = 24 * 3600.0
BASE = b"the layer that all share" * 100


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[DiskStore]:
    store = DiskStore(tmp_path / "store", clock)
    yield store
    store.close()


@pytest.fixture
def tags(tmp_path: Path, clock: ManualClock) -> Iterator[TagStore]:
    tags = TagStore(tmp_path / "store" / "tags", clock)
    yield tags
    tags.close()


def layer(name: str) -> bytes:
    return name.encode() * 1000


def put_tagged(store: DiskStore, tags: TagStore, clock: ManualClock, tag: str, *layers: bytes) -> Manifest:
    """An image of its own hour, so that the order of use is plain."""
    clock.advance(3600)
    manifest = put_image(store, *layers, config=tag.encode())
    tags.put("r.example", "app", tag, manifest.descriptor, host="h", now=clock.time())
    return manifest


def has(store: DiskStore, *data: bytes) -> list[bool]:
    return [store.stat(Digest.of(each)) is not None for each in data]


def use(store: DiskStore, manifest: Manifest | Index) -> None:
    assert store.get_manifest(manifest.digest) is not None


def everything(store: DiskStore, tags: TagStore) -> SweepReport:
    return evict(store, tags, 0)


def test_a_store_that_fits_loses_nothing(store: DiskStore, tags: TagStore, clock: ManualClock) -> None:
    put_tagged(store, tags, clock, "1", layer("a"))
    report = evict(store, tags, store.usage())
    assert (report.freed_bytes, report.removed, report.dropped) == (0, (), ())
    assert report.used_bytes == store.usage()
    assert report.reason.startswith("fits into")


def test_the_least_recently_used_image_goes_whole(
    store: DiskStore, tags: TagStore, clock: ManualClock
) -> None:
    old = put_tagged(store, tags, clock, "old", layer("a"), layer("b"))
    new = put_tagged(store, tags, clock, "new", layer("c"))
    before = store.usage()
    report = evict(store, tags, before - 1)
    assert report.removed[0] == old.digest
    assert set(report.removed) == {old.digest, *(descriptor.digest for descriptor in old.references)}
    assert report.freed_bytes == before - store.usage() == before - report.used_bytes
    assert has(store, layer("a"), layer("b"), layer("c"), new.raw) == [False, False, True, True]
    assert (tags.get("r.example", "app", "old"), tags.list("r.example", "app")) == (None, ["new"])


def test_using_a_manifest_or_a_layer_saves_the_image(
    store: DiskStore, tags: TagStore, clock: ManualClock
) -> None:
    one = put_tagged(store, tags, clock, "1", layer("a"))
    put_tagged(store, tags, clock, "2", layer("b"))
    put_tagged(store, tags, clock, "3", layer("c"))
    clock.advance(60)
    use(store, one)
    blob = store.open(Digest.of(layer("b")))
    assert blob is not None
    blob.close()
    evict(store, tags, store.usage() - 1)
    assert has(store, layer("a"), layer("b"), layer("c")) == [True, True, False]


def test_a_shared_layer_stays_until_its_last_image_goes(
    store: DiskStore, tags: TagStore, clock: ManualClock
) -> None:
    put_tagged(store, tags, clock, "old", BASE, layer("a"))
    put_tagged(store, tags, clock, "new", BASE, layer("b"))
    evict(store, tags, store.usage() - 1)
    assert has(store, BASE, layer("a"), layer("b")) == [True, False, True]
    everything(store, tags)
    assert store.usage() == 0


def test_a_busy_relative_does_not_keep_an_idle_image(
    store: DiskStore, tags: TagStore, clock: ManualClock
) -> None:
    put_tagged(store, tags, clock, "idle", BASE, layer("a"))
    busy = put_tagged(store, tags, clock, "busy", BASE, layer("b"))
    put_tagged(store, tags, clock, "other", layer("c"))
    clock.advance(60)
    use(store, busy)
    store.read(Digest.of(BASE), size_max=10**6)
    evict(store, tags, store.usage() - 1)
    assert has(store, layer("a"), layer("b"), layer("c"), BASE) == [False, True, True, True]


def test_a_shared_layer_that_is_left_to_one_image_makes_it_younger(
    store: DiskStore, tags: TagStore, clock: ManualClock
) -> None:
    put_tagged(store, tags, clock, "1", BASE, layer("a"))
    put_tagged(store, tags, clock, "2", BASE, layer("b"))
    put_tagged(store, tags, clock, "3", layer("c"))
    clock.advance(60)
    store.read(Digest.of(BASE), size_max=10**6)
    evict(store, tags, store.usage() - 2000)  # more than one of them, less than two
    assert has(store, layer("a"), layer("b"), layer("c")) == [False, True, False]


def test_an_index_goes_with_its_platforms(store: DiskStore, tags: TagStore, clock: ManualClock) -> None:
    children = [put_image(store, layer(arch), config=arch.encode()) for arch in ("amd64", "arm64")]
    top = index(*children, image(layer("absent")))
    store.put_manifest(top)
    tags.put("r.example", "app", "1", top.descriptor, host="h", now=clock.time())
    report = everything(store, tags)
    assert report.removed[0] == top.digest
    assert set(report.removed[1:3]) == {child.digest for child in children}
    assert len(report.removed) == 7
    assert store.usage() == 0


def test_using_one_platform_saves_the_index(store: DiskStore, tags: TagStore, clock: ManualClock) -> None:
    child = put_image(store, layer("a"), config=b"1")
    store.put_manifest(index(child))
    put_tagged(store, tags, clock, "other", layer("b"))
    clock.advance(60)
    use(store, child)
    evict(store, tags, store.usage() - 1)
    assert has(store, index(child).raw, layer("a"), layer("b")) == [True, True, False]


def test_a_platform_that_two_indexes_name_stays_with_the_second(
    store: DiskStore, tags: TagStore, clock: ManualClock
) -> None:
    shared = put_image(store, layer("shared"), config=b"1")
    only = put_image(store, layer("only"), config=b"2")
    old = index(shared, only)
    store.put_manifest(old)
    clock.advance(60)
    new = index(shared)
    store.put_manifest(new)
    evict(store, tags, store.usage() - 1)
    assert has(store, old.raw, only.raw, layer("only")) == [False, False, False]
    assert has(store, new.raw, shared.raw, layer("shared")) == [True, True, True]


def test_a_platform_with_a_tag_of_its_own_outlives_its_index(
    store: DiskStore, tags: TagStore, clock: ManualClock
) -> None:
    child, other = put_image(store, layer("a"), config=b"1"), put_image(store, layer("b"), config=b"2")
    top = index(child, other)
    store.put_manifest(top)
    clock.advance(60)
    tags.put("r.example", "app", "amd64", child.descriptor, host="h", now=clock.time())
    use(store, child)
    evict(store, tags, store.usage() - 1)
    assert has(store, top.raw, other.raw, child.raw, layer("a")) == [False, False, True, True]
    assert tags.list("r.example", "app") == ["amd64"]


def test_a_tag_is_not_forgotten_while_its_manifest_stays(
    store: DiskStore, tags: TagStore, clock: ManualClock
) -> None:
    child = put_tagged(store, tags, clock, "amd64", layer("a"))
    clock.advance(60)
    store.put_manifest(index(child))
    extra = Digest.of(b"extra")
    clock.advance(60)
    store.put(extra, b"extra")
    store.pin(index(child).digest)
    everything(store, tags)
    assert has(store, child.raw, layer("a"), b"extra") == [True, True, False]
    assert tags.list("r.example", "app") == ["amd64"]


def test_a_blob_of_no_image_goes_by_its_own_last_use(
    store: DiskStore, tags: TagStore, clock: ManualClock
) -> None:
    store.put(Digest.of(b"lone"), b"lone")
    put_tagged(store, tags, clock, "1", layer("a"))
    report = evict(store, tags, store.usage() - 1)
    assert report.removed == (Digest.of(b"lone"),)


def test_what_is_pinned_stays_with_all_it_needs(store: DiskStore, tags: TagStore, clock: ManualClock) -> None:
    child = put_tagged(store, tags, clock, "1", layer("a"))
    store.put_manifest(index(child))
    store.pin(index(child).digest)
    put_tagged(store, tags, clock, "2", layer("b"))
    report = everything(store, tags)
    assert has(store, child.raw, layer("a"), b"1", layer("b")) == [True, True, True, False]
    assert "pinned (1)" in report.reason
    store.unpin(index(child).digest)
    everything(store, tags)
    assert store.usage() == 0


def test_a_pinned_layer_stays_alone(store: DiskStore, tags: TagStore, clock: ManualClock) -> None:
    put_tagged(store, tags, clock, "1", layer("a"))
    store.pin(Digest.of(layer("a")))
    for dry_run in (True, False):
        report = evict(store, tags, 0, dry_run=dry_run)
        assert report.used_bytes == len(layer("a"))
    assert has(store, layer("a")) == [True]


@pytest.mark.row("P6")
def test_an_image_being_served_stays_whole(store: DiskStore, tags: TagStore, clock: ManualClock) -> None:
    manifest = put_tagged(store, tags, clock, "1", layer("a"), layer("b"))
    with store.hold(Digest.of(layer("b"))):
        report = everything(store, tags)
        assert report.removed == ()
        assert "being served (1)" in report.reason
        assert has(store, manifest.raw, layer("a"), layer("b")) == [True, True, True]
    everything(store, tags)
    assert store.usage() == 0


def test_an_image_that_is_wanted_again_during_the_sweep_stays_whole(
    store: DiskStore, tags: TagStore, clock: ManualClock
) -> None:
    """The clock stands still meanwhile: it is the order of uses that counts."""
    manifest = put_tagged(store, tags, clock, "1", layer("a"))
    again = image(layer("a"), config=b"another")
    wanted = store.pinned

    def pinned() -> frozenset[Digest]:
        use(store, manifest)
        store.put_manifest(again)
        return wanted()

    store.pinned = pinned  # type: ignore[method-assign]  # the moment after the sweep began
    report = everything(store, tags)
    assert report.removed == ()
    assert "in use" in report.reason
    assert has(store, manifest.raw, again.raw, layer("a")) == [True, True, True]


def test_a_dry_run_says_what_it_would_do_and_does_nothing(
    store: DiskStore, tags: TagStore, clock: ManualClock
) -> None:
    put_tagged(store, tags, clock, "old", BASE, layer("a"))
    put_tagged(store, tags, clock, "new", BASE, layer("b"))
    before = store.usage()
    dry = evict(store, tags, before - 1, dry_run=True)
    assert store.usage() == before
    assert tags.list("r.example", "app") == ["new", "old"]
    assert evict(store, tags, before - 1) == dry


def test_freeing_counts_from_what_is_used_with_partials(
    store: DiskStore, tags: TagStore, clock: ManualClock
) -> None:
    put_tagged(store, tags, clock, "old", layer("a"))
    put_tagged(store, tags, clock, "new", layer("b"))
    path = partial(store, layer("in flight"))
    assert free(store, tags, 0).freed_bytes == 0
    assert free(store, tags, 1000).removed[0] == image(layer("a"), config=b"old").digest
    assert has(store, layer("a"), layer("b")) == [False, True]
    assert path.exists()


def test_what_could_never_fit_drives_nothing_out(
    store: DiskStore, tags: TagStore, clock: ManualClock
) -> None:
    put_tagged(store, tags, clock, "1", layer("a"))
    (store.root / "quarantine" / "x").write_bytes(bytes(5000))
    partial(store, layer("b"))
    room = store.usage() + 5000 + len(layer("b")) - 1
    coming = store.ingest(Digest.of(b"coming"))
    coming.write(bytes(10_000))
    report = free(store, tags, room + 1)
    assert (report.freed_bytes, report.reason) == (0, "7.2 KiB is more than all that could go")
    assert free(store, tags, room).freed_bytes == room
    assert coming.path.exists()
    coming.discard()


# -- what is no blob ---------------------------------------------------------------------------------


def partial(store: DiskStore, data: bytes) -> Path:
    ingest = store.ingest(Digest.of(data), len(data))
    ingest.write(data[:-1])
    ingest.suspend()
    os.utime(ingest.path, (store.clock.time(),) * 2)
    return ingest.path


def test_partials_are_dropped_after_a_week(store: DiskStore, tags: TagStore, clock: ManualClock) -> None:
    path = partial(store, b"partial")
    clock.advance(7 * DAY)
    assert tidy(store, tags).dropped == ()
    clock.advance(1)
    report = tidy(store, tags)
    assert (report.dropped, report.freed_bytes) == ((path.name,), 6)
    assert not path.exists()


@pytest.mark.row("K1")
def test_a_partial_from_the_future_is_dropped(store: DiskStore, tags: TagStore, clock: ManualClock) -> None:
    path = partial(store, b"partial")
    os.utime(path, (clock.time() + 365 * DAY,) * 2)
    assert tidy(store, tags).dropped == (path.name,)


def test_an_ingest_in_flight_is_never_dropped(store: DiskStore, tags: TagStore, clock: ManualClock) -> None:
    first, second = store.ingest(Digest.of(b"abc")), store.ingest(Digest.of(b"abc"))
    first.write(b"ab")
    second.write(b"ab")
    clock.advance(365 * DAY)
    report = everything(store, tags)
    assert (report.dropped, report.used_bytes) == ((), 4)
    assert report.reason.endswith("being written")
    for ingest in (first, second):
        ingest.write(b"c")
        ingest.commit()


def test_another_process_ingest_in_flight_is_not_dropped(
    store: DiskStore, tags: TagStore, clock: ManualClock
) -> None:
    other = DiskStore(store.root, clock)
    ingest = other.ingest(Digest.of(b"abc"))
    ingest.write(b"ab")
    assert everything(store, tags).dropped == ()
    ingest.discard()
    other.close()


def test_what_a_killed_process_left_is_dropped_at_once(store: DiskStore, tags: TagStore) -> None:
    name = f"sha256-{Digest.of(b'x').hex}.0123456789abcdef"
    (store.root / "ingest" / name).write_bytes(b"private")
    (store.root / "ingest" / "probe.0123456789abcdef").write_bytes(b"?")
    assert set(tidy(store, tags).dropped) == {name, "probe.0123456789abcdef"}


def test_for_room_quarantine_goes_first_then_old_partials_then_images_then_the_rest(
    store: DiskStore, tags: TagStore, clock: ManualClock
) -> None:
    store.put(Digest.of(b"damaged"), b"damaged")
    blob_path(store.root, Digest.of(b"damaged")).write_bytes(b"DAMAGED")
    assert not store.verify(Digest.of(b"damaged"))
    old = partial(store, b"an old partial")
    clock.advance(2 * DAY)
    young = partial(store, b"a young partial")
    store.put(Digest.of(b"lone"), b"lone")
    total = 7 + 13 + 14 + 4
    steps = [(7, "sha256-" + Digest.of(b"damaged").hex), (13, old.name)]
    for size, name in steps:
        report = evict(store, tags, total - 1)
        total -= size
        assert report.used_bytes == total
        assert [dropped.startswith(name) for dropped in report.dropped] == [True]
    assert evict(store, tags, total - 1).removed == (Digest.of(b"lone"),)
    assert evict(store, tags, 0).dropped == (young.name,)


def test_quarantine_is_emptied_after_a_month(store: DiskStore, tags: TagStore, clock: ManualClock) -> None:
    store.put(Digest.of(b"x"), b"x")
    blob_path(store.root, Digest.of(b"x")).write_bytes(b"y")
    store.verify(Digest.of(b"x"))
    clock.advance(30 * DAY)
    assert tidy(store, tags).dropped == ()
    clock.advance(1)
    assert len(tidy(store, tags).dropped) == 1


def test_stray_notes_and_torn_files_are_dropped(store: DiskStore, tags: TagStore, clock: ManualClock) -> None:
    manifest = image(layer("a"))
    store.put_manifest(manifest)
    blob_path(store.root, manifest.digest).unlink()
    torn = store.root / "manifests" / ".torn.0123456789abcdef"
    torn.write_bytes(b"{")
    os.utime(torn, (0, 0))
    tidy(store, tags)
    assert list((store.root / "manifests").iterdir()) == []


def test_a_scrub_finds_what_is_damaged(store: DiskStore, tags: TagStore, clock: ManualClock) -> None:
    put_tagged(store, tags, clock, "1", layer("a"), layer("b"))
    bad = Digest.of(layer("b"))
    blob_path(store.root, bad).write_bytes(layer("B"))
    report = scrub(store)
    assert (report.checked, report.damaged) == (4, (bad,))
    assert wrong_blobs(store.root) == []
    assert scrub(store).damaged == ()
