"""Processes that do whatever may be done to a store, two at a time, killed at instants of chance."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from disks import image, wrong_blobs
from dying import ended, in_child
from sampan.oci import Digest
from sampan.store import BeingWritten, DiskStore, Stock, TagStore, evict, remove, scrub, tidy
from sampan.testing import random_bytes

LIVES_SECONDS_MAX = 0.12
LAYERS = [random_bytes(number, 4000 * number + 1) for number in range(1, 6)]
BIG = random_bytes(9, 600_000)
IMAGES = [image(LAYERS[n], LAYERS[(n + 1) % 5], config=b'{"n":%d}' % n) for n in range(5)]
KEPT = image(BIG, LAYERS[0], config=b"kept")
"""Pinned from the beginning: what is said to be there of it stays."""
DATA = [*LAYERS, BIG, b"kept", *(b'{"n":%d}' % n for n in range(5)), *(m.raw for m in (*IMAGES, KEPT))]
CONTENT = {Digest.of(data): data for data in DATA}
WRONG = 98  # the exit code of a worker that saw what must not be


class Worker:
    """One process at work. It says in the file ``vows`` what it has brought of what is kept."""

    def __init__(self, root: Path, vows: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.store, self.tags = DiskStore(root), TagStore(root / "tags")
        self._vows = os.open(vows, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def run(self) -> None:
        """Until it is killed."""
        work: list[Callable[[], object]] = [
            lambda: self.pull(KEPT),
            lambda: self.pull(self.chance.choice(IMAGES)),
            lambda: self.pull(self.chance.choice(IMAGES)),
            lambda: self.bring(Digest.of(BIG), ends=False),
            lambda: evict(self.store, self.tags, self.chance.randrange(700_000)),
            lambda: remove(self.store, self.tags, [(self.chance.choice(IMAGES).digest, None)]),
            lambda: tidy(self.store, self.tags),
            lambda: self.expect(scrub(self.store).damaged == ()),
            lambda: self.read(self.chance.choice(sorted(CONTENT))),
            lambda: Stock(self.store, self.tags).images,
            self.pin,
        ]
        while True:
            self.chance.choice(work)()

    def expect(self, is_so: bool) -> None:
        if not is_so:
            os._exit(WRONG)

    def pull(self, made: object) -> None:
        assert isinstance(made, type(KEPT))
        self.store.put_manifest(made)
        self.vow(made.digest)
        for descriptor in made.references:
            if self.store.stat(descriptor.digest) is None:
                self.bring(descriptor.digest)
        now = self.store.clock.time()
        self.tags.put("r.example", "app", made.digest.hex[:4], made.descriptor, host="h", now=now)

    def bring(self, digest: Digest, *, ends: bool = True) -> None:
        """In pieces, from where somebody left it; not what another is at."""
        data = CONTENT[digest]
        ingest = self.store.take_up(digest, len(data))
        if isinstance(ingest, BeingWritten):
            return
        found = ingest.read(0, len(data))
        self.expect(all(found[start:stop] == data[start:stop] for start, stop in ingest.spans))
        gaps = ingest.spans.gaps(len(data))
        pieces = [(at, min(at + 50_000, stop)) for start, stop in gaps for at in range(start, stop, 50_000)]
        for start, stop in self.chance.sample(pieces, len(pieces) if ends else len(pieces) // 2):
            ingest.place(start, data[start:stop])
        if ends:
            ingest.commit()
            self.vow(digest)
        else:
            ingest.suspend()

    def vow(self, digest: Digest) -> None:
        if digest == KEPT.digest or digest in {descriptor.digest for descriptor in KEPT.references}:
            os.write(self._vows, f"{digest}\n".encode())

    def read(self, digest: Digest) -> None:
        self.expect(self.store.read(digest, size_max=10**7) in (None, CONTENT[digest]))

    def pin(self) -> None:
        digest = self.chance.choice(IMAGES).digest
        self.store.unpin(digest) if digest in self.store.pinned() else self.store.pin(digest)


def kill_again_and_again(path: Path, kills: int, *, seed: int) -> int:
    """Work, and kill, ``kills`` times; how much of what is kept was vowed. After each death no blob is wrong
    and nothing that was vowed is lost; at the end everything can be brought, and everything can go."""
    root, vows, chance = path / "store", path / "vows", random.Random(seed)
    store = DiskStore(root)
    store.pin(KEPT.digest)
    store.close()

    def start(number: int) -> int:
        return in_child(lambda: Worker(root, vows, number).run())

    running = [start(seed), start(seed + 1)]
    try:
        for number in range(kills):
            time.sleep(
                chance.random() * LIVES_SECONDS_MAX
            )  # waits for nothing: the instant is what is tested
            victim = running.pop(0)
            os.kill(victim, signal.SIGKILL)
            assert ended(victim) == -signal.SIGKILL, "it ended by itself: it saw what must not be"
            _check(root, _vowed(vows))
            running.append(start(seed + 2 + number))
    finally:
        for pid in running:
            os.kill(pid, signal.SIGKILL)
            assert ended(pid) == -signal.SIGKILL
    _check_end(root)
    return len(_vowed(vows))


def _vowed(vows: Path) -> set[Digest]:
    lines = vows.read_text().splitlines(keepends=True) if vows.exists() else []
    return {Digest.parse(line.strip()) for line in lines if line.endswith("\n")}


def _check(root: Path, vowed: set[Digest]) -> None:
    """Another process is at work meanwhile: what goes while we look is not looked at."""
    for path in (root / "blobs").rglob("*"):
        try:
            data = path.read_bytes() if path.is_file() else None
        except FileNotFoundError:
            continue
        assert data is None or Digest.of(data).hex == path.name, f"{path} is not what it says"
    for digest in vowed:
        assert _is_there(root / "blobs" / "sha256" / digest.hex), f"{digest} was vowed, and is lost"


def _is_there(path: Path) -> bool:
    """A removal that finds the blob wanted puts it back: between the two it is not there for a moment."""
    for _ in range(100):
        if path.exists():
            return True
        time.sleep(0.01)
    return False


def _check_end(root: Path) -> None:
    store, tags = DiskStore(root), TagStore(root / "tags")
    assert wrong_blobs(root) == []
    assert store.quarantine.names() == []
    for digest, data in CONTENT.items():
        ingest = store.ingest(digest, len(data))
        for start, stop in ingest.spans.gaps(len(data)):
            ingest.place(start, data[start:stop])
        ingest.commit()
    for digest in store.pinned():
        store.unpin(digest)
    assert evict(store, tags, 0).used_bytes == 0
    store.close()
    tags.close()
