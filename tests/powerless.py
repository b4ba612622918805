"""What a store owes after its disk lost power, and work that it does meanwhile.

:class:`Owed` follows what the store said that it had done (:class:`~power.Told`), and checks what is found:
no file under a digest's path is anything else, nothing that was confirmed is lost, no manifest is there whose
blobs a sweep took, and the store can go on.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from disks import blob_path, image, wrong_blobs
from power import Call, Disk, Recorder, Told
from sampan.oci import Digest, Manifest
from sampan.store import DiskStore, TagStore, evict, remove, scrub, tidy
from sampan.testing import ManualClock, random_bytes

LAYERS = [random_bytes(number, 3_000 * number + 77) for number in range(1, 5)]
BIG = random_bytes(9, 40_000)
CONFIGS = [b'{"image":%d}' % number for number in range(4)]
IMAGES = [image(LAYERS[n], LAYERS[(n + 1) % 4], config=CONFIGS[n]) for n in range(4)]
CONTENT = {Digest.of(data): data for data in (*LAYERS, BIG, *CONFIGS, *(each.raw for each in IMAGES))}
NEEDS = {each.digest: {descriptor.digest for descriptor in each.references} for each in IMAGES}
NOW = 1_000_000.0
STEP = 7_000  # bytes of one write
GOES_ON = 0.3  # of the states: whether the store can go on from there


@dataclass
class Worker:
    """A store under ``base``, and what it says. Each method is one thing that a process may do."""

    recorder: Recorder
    chance: random.Random
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """What was open is closed, as when a process ends."""
        root = self.recorder.base / "deep" / "store"
        self.store, self.tags = DiskStore(root, self.clock), TagStore(root / "tags", self.clock)
        self.recorder.tell("opened")

    def blob(self, digest: Digest, *, pieces: bool = False, wrong: bool = False, ends: bool = True) -> None:
        """Bring one, in order or in pieces, some of them wrong and replaced; or stop in the middle."""
        data = CONTENT[digest]
        ingest = self.store.ingest(digest, len(data))
        parts = [
            (at, min(at + STEP, stop))
            for start, stop in ingest.spans.gaps(len(data))
            for at in range(start, stop, STEP)
        ]
        if pieces:
            self.chance.shuffle(parts)
        if not ends:
            parts = parts[: len(parts) // 2]
        for number, (start, stop) in enumerate(parts):
            if wrong and not number and start >= ingest.offset:
                ingest.place(start, bytes(stop - start))
                ingest.forget(start, stop)
            ingest.place(start, data[start:stop])
        if not ends:
            ingest.suspend()
            return
        if not ingest.matches():
            ingest.rewind()
            ingest.write(data)
        ingest.commit()
        self.recorder.tell("there", digest)

    def pull(self, number: int) -> None:
        """An image with its tag, the manifest first."""
        made = IMAGES[number]
        self.recorder.tell("begun", made.digest)
        self.store.put_manifest(made)
        self.recorder.tell("there", made.digest)
        for digest in NEEDS[made.digest]:
            if self.store.stat(digest) is None:
                self.blob(digest, pieces=self.chance.random() < 0.5, wrong=self.chance.random() < 0.2)
        self.recorder.tell("whole", made.digest)
        self.tag(number, number)

    def tag(self, name: int, number: int) -> None:
        """The tag of that name means that image now."""
        self.recorder.tell("tagging", (str(name), IMAGES[number].digest))
        self.clock.advance(60)
        self.tags.put(
            "r.example", "app", str(name), IMAGES[number].descriptor, host="h", now=self.clock.time()
        )
        self.recorder.tell("tagged", (str(name), IMAGES[number].digest))

    def confirm(self, name: int) -> None:
        """It still means what it did: not worth a wait for the disk."""
        self.tags.touch("r.example", "app", str(name), host="h", now=self.clock.time())

    def pin(self, digest: Digest) -> None:
        self.store.pin(digest)
        self.recorder.tell("pinned", digest)

    def unpin(self, digest: Digest) -> None:
        self.recorder.tell("unpinning", digest)
        self.store.unpin(digest)

    def evict(self, size: int) -> None:
        self.recorder.tell("sweeping")
        self.clock.advance(3600)
        evict(self.store, self.tags, size)

    def remove(self, number: int) -> None:
        self.recorder.tell("sweeping")
        remove(self.store, self.tags, [(IMAGES[number].digest, None)])

    def damage(self, digest: Digest) -> None:
        """The disk forgets a bit of it, by itself."""
        path = blob_path(self.store.root, digest)
        if path.exists():
            self.recorder.tell("damaging", digest)
            self.recorder.rot(path)

    def tidy(self) -> None:
        tidy(self.store, self.tags)

    def scrub(self) -> None:
        scrub(self.store)
        self.recorder.tell("scrubbed")

    def anything(self) -> None:
        """One of all that, by chance."""
        number, other = self.chance.randrange(4), self.chance.randrange(4)
        digest = self.chance.choice(sorted(CONTENT))
        choices: list[Callable[[], None]] = [
            lambda: self.pull(number),
            lambda: self.pull(number),
            lambda: self.blob(Digest.of(BIG), pieces=True, wrong=bool(number)),
            lambda: self.blob(Digest.of(BIG), pieces=bool(number), ends=False),
            lambda: self.pin(IMAGES[number].digest),
            lambda: self.unpin(IMAGES[number].digest),
            lambda: self.evict(self.chance.randrange(60_000)),
            lambda: self.remove(number),
            lambda: self.damage(digest),
            self.scrub,
            self.tidy,
            self.restart,
            lambda: self.confirm(number),
            lambda: self.pull(other),
        ]
        self.chance.choice(choices)()


class Owed:
    """What the store owes after the calls so far."""

    def __init__(self, calls: Iterable[Call]) -> None:
        self.is_open = False
        self.there: set[Digest] = set()
        self.whole: set[Digest] = set()
        self.pinned: set[Digest] = set()
        self.tags: dict[str, set[Digest | None]] = {}
        self.rotten: set[Digest] = set()
        for call in calls:
            if isinstance(call, Told):
                getattr(self, f"_{call.word}")(call.what)

    def _opened(self, _: None) -> None:
        self.is_open = True

    def _there(self, digest: Digest) -> None:
        self.there.add(digest)
        self.rotten.discard(digest)

    def _begun(self, digest: Digest) -> None:
        self.whole.discard(digest)

    def _whole(self, digest: Digest) -> None:
        """Unless a part of it is there, and rotten: whoever finds that out sets it aside."""
        if not NEEDS[digest] & self.rotten:
            self.whole.add(digest)

    def _tagging(self, what: tuple[str, Digest]) -> None:
        self.tags.setdefault(what[0], {None}).add(what[1])

    def _tagged(self, what: tuple[str, Digest]) -> None:
        self.tags[what[0]] = {what[1]}

    def _pinned(self, digest: Digest) -> None:
        self.pinned.add(digest)

    def _unpinning(self, digest: Digest) -> None:
        self.pinned.discard(digest)

    def _sweeping(self, _: None) -> None:
        """What is pinned stays with what it needs; of the rest nothing is owed any more."""
        kept = {d for pin in self.pinned & self.there for d in (pin, *NEEDS.get(pin, ()))}
        self.there &= kept
        self.tags = {name: {None, *digests} for name, digests in self.tags.items()}

    def _damaging(self, digest: Digest) -> None:
        self.rotten.add(digest)
        self.there.discard(digest)
        self.whole -= {image for image in self.whole if digest in NEEDS[image] or digest == image}

    def _scrubbed(self, _: None) -> None:
        """What is rotten is no blob any more, though the disk may not have heard of it."""

    # -- what is found -------------------------------------------------------------------------------

    def check(self, root: Path, *, goes_on: bool = True) -> None:
        """All of it, in a state of the disk that is laid out at ``root``; ``goes_on``: and that every blob
        can be brought from there on, which takes longest."""
        assert {path.name for path in wrong_blobs(root)} <= {digest.hex for digest in self.rotten}
        if self.is_open:
            assert (root / "blobs").is_dir(), "the store is gone"
        store, tags = DiskStore(root, ManualClock()), TagStore(root / "tags", ManualClock())
        try:
            self._check_kept(store, tags)
            scrub(store)
            assert wrong_blobs(root) == []
            if goes_on:
                _goes_on(store, tags)
        finally:
            store.close()
            tags.close()

    def _check_kept(self, store: DiskStore, tags: TagStore) -> None:
        for digest in self.there:
            assert store.verify(digest), f"{digest} was confirmed, and is lost"
            if digest in NEEDS:
                assert isinstance(store.get_manifest(digest), Manifest)
        for digest in self.whole:
            if store.peek_manifest(digest) is not None:
                missing = [need for need in NEEDS[digest] if store.stat(need) is None]
                assert not missing, "a manifest is kept whose blobs were removed"
        assert self.pinned <= store.pinned()
        for name, allowed in self.tags.items():
            record = tags.get("r.example", "app", name)
            assert (None if record is None else record.descriptor.digest) in allowed


def _goes_on(store: DiskStore, tags: TagStore) -> None:
    """Whatever was left of it, all can be brought, and all can go."""
    for digest, data in CONTENT.items():
        ingest = store.ingest(digest, len(data))
        assert ingest.resumable
        for start, stop in ingest.spans.gaps(len(data)):
            ingest.place(start, data[start:stop])
        if not ingest.matches():
            ingest.rewind()
            ingest.write(data)
        ingest.commit()
    assert wrong_blobs(store.root) == []
    for pin in store.pinned():
        store.unpin(pin)
    assert evict(store, tags, 0).used_bytes == 0


def cut_at(calls: list[Call], count: int, chance: random.Random, path: Path, *, states_max: int) -> int:
    """Lose power after ``count`` of ``calls``, and check what may be left; how many states that were."""
    owed, seen = Owed(calls[:count]), 0
    for state in Disk(calls, count).states(chance, count_max=states_max):
        state.lay_out(path)
        try:
            owed.check(path / "deep" / "store", goes_on=chance.random() < GOES_ON)
        finally:
            shutil.rmtree(path)
        seen += 1
    return seen
