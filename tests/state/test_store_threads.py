"""Threads that commit, read, evict and scrub the same few images at once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from disks import image, put_image, wrong_blobs
from sampan.oci import Digest
from sampan.store import DiskStore, TagStore, evict, scrub

LAYERS = [bytes([number]) * (number * 1000) for number in range(1, 6)]
IMAGES = [(LAYERS[number], LAYERS[number + 1]) for number in range(4)]
CONTENT = {Digest.of(data): data for data in LAYERS}
ROUNDS = 200


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    store = DiskStore(tmp_path / "store")
    yield store
    store.close()


@pytest.fixture
def tags(store: DiskStore) -> Iterator[TagStore]:
    tags = TagStore(store.root / "tags")
    yield tags
    tags.close()


@pytest.mark.slow
@pytest.mark.row("P6")
def test_threads_at_once_see_only_right_bytes(store: DiskStore, tags: TagStore) -> None:
    def bring(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(ROUNDS):
            made = put_image(store, *chance.choice(IMAGES))
            tags.put("r.example", "app", str(chance.randrange(3)), made.descriptor, host="h", now=1.0)

    def read(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(ROUNDS * 5):
            digest = chance.choice(sorted(CONTENT))
            assert store.read(digest, size_max=10**6) in (None, CONTENT[digest])
            if (blob := store.open(digest, len(CONTENT[digest]))) is not None:
                with blob:
                    assert blob.file.read() == CONTENT[digest]
            tags.get("r.example", "app", "1")

    def sweep(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(ROUNDS):
            evict(store, tags, chance.randrange(15_000))

    def check(_seed: int) -> None:
        for _ in range(ROUNDS):
            assert scrub(store).damaged == ()

    with ThreadPoolExecutor(6) as pool:
        work = [pool.submit(each, seed) for seed, each in enumerate((bring, bring, read, read, sweep, check))]
        for done in work:
            done.result()
    assert wrong_blobs(store.root) == []
    assert store.quarantine.names() == []


@pytest.mark.slow
@pytest.mark.row("P6")
def test_an_image_that_is_held_survives_evictions_to_nothing(store: DiskStore, tags: TagStore) -> None:
    def hold(layers: tuple[bytes, ...]) -> None:
        for _ in range(ROUNDS):
            digests = [image(*layers).digest, Digest.of(b"{}"), *(Digest.of(data) for data in layers)]
            with (
                store.hold(digests[0]),
                store.hold(digests[1]),
                store.hold(digests[2]),
                store.hold(digests[3]),
            ):
                put_image(store, *layers)
                assert all(store.stat(digest) is not None for digest in digests)

    def sweep() -> None:
        for _ in range(ROUNDS * 2):
            evict(store, tags, 0)

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(hold, IMAGES[0]), pool.submit(hold, IMAGES[1]), pool.submit(sweep)]:
            done.result()
    assert wrong_blobs(store.root) == []
