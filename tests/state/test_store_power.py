"""Power is lost after any system call: what was not confirmed is there or not, in any order."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from power import BASE, Call, Disk, Named, Recorder, Synced, Told, Wrote, recorded
from powerless import BIG, CONTENT, IMAGES, LAYERS, Owed, Worker, cut_at
from sampan.oci import Digest

STATES = 4  # of each instant, beside the one with all and the one without
INSTANTS_MAX = 30  # of each work; `make soak` looks at all
RUNS = 5
BIG_DIGEST = Digest.of(BIG)


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sampan-power-", dir="/dev/shm") as made:
        yield Path(made)


def survives(path: Path, work: Callable[[Worker], None], *, seed: int = 1) -> list[Call]:
    """``work``, cut at some of its instants."""
    chance = random.Random(seed)

    def run(recorder: Recorder) -> None:
        work(Worker(recorder, random.Random(seed)))

    calls = recorded(path / "base", run)
    for count in sorted(chance.sample(range(len(calls) + 1), min(INSTANTS_MAX, len(calls) + 1))):
        cut_at(calls, count, chance, path / "state", states_max=STATES)
    return calls


# -- the store ---------------------------------------------------------------------------------------


@pytest.mark.row("X3")
def test_a_first_start(path: Path) -> None:
    survives(path, lambda worker: worker.restart())


@pytest.mark.parametrize("pieces", [False, True], ids=["in order", "in pieces"])
@pytest.mark.parametrize("wrong", [False, True], ids=["right", "wrong at first"])
@pytest.mark.row("X3")
def test_a_blob_that_is_cut_taken_up_and_committed(path: Path, pieces: bool, wrong: bool) -> None:
    def work(worker: Worker) -> None:
        worker.blob(BIG_DIGEST, pieces=pieces, wrong=wrong, ends=False)
        worker.restart()
        worker.blob(BIG_DIGEST, pieces=pieces, wrong=wrong)

    survives(path, work)


@pytest.mark.row("X3")
def test_an_image_its_tag_and_its_pin(path: Path) -> None:
    def work(worker: Worker) -> None:
        worker.pull(0)
        worker.pin(IMAGES[0].digest)
        worker.confirm(0)
        worker.unpin(IMAGES[0].digest)

    survives(path, work)


@pytest.mark.row("X3")
def test_a_tag_that_moves_is_the_old_one_or_the_new_one(path: Path) -> None:
    def work(worker: Worker) -> None:
        worker.pull(0)
        worker.tag(0, 1)
        worker.confirm(0)
        worker.tag(0, 2)

    survives(path, work)


@pytest.mark.parametrize("size", [0, 20_000])
@pytest.mark.row("X3")
def test_an_eviction_keeps_no_manifest_without_its_blobs(path: Path, size: int) -> None:
    def work(worker: Worker) -> None:
        for number in range(3):
            worker.pull(number)
        worker.pin(IMAGES[1].digest)
        worker.evict(size)
        worker.pull(0)

    survives(path, work)


@pytest.mark.row("X3")
def test_an_image_that_is_removed_comes_back_whole_or_not_at_all(path: Path) -> None:
    def work(worker: Worker) -> None:
        worker.pull(0)
        worker.pull(1)
        worker.remove(0)
        worker.pull(0)

    survives(path, work)


@pytest.mark.row("X3")
def test_what_is_damaged_is_set_aside_and_healed(path: Path) -> None:
    def work(worker: Worker) -> None:
        worker.pull(0)
        worker.damage(Digest.of(LAYERS[0]))
        worker.damage(IMAGES[0].digest)
        worker.scrub()
        worker.pull(0)

    survives(path, work)


@pytest.mark.parametrize("seed", range(RUNS))
@pytest.mark.row("X3")
def test_anything_in_any_order(path: Path, seed: int) -> None:
    def work(worker: Worker) -> None:
        for _ in range(12):
            worker.anything()

    survives(path, work, seed=seed)


# -- the disk that is made up here -------------------------------------------------------------------


def test_with_all_that_was_done_it_is_the_directory_that_there_is(path: Path) -> None:
    """Otherwise a call of the store is not seen, and the rest would show nothing."""
    calls = recorded(path / "base", busy(7))
    whole = next(Disk(calls, len(calls)).states(random.Random(), count_max=1))
    whole.lay_out(path / "state")
    assert listing(path / "state") == listing(path / "base")


def listing(path: Path) -> dict[str, bytes | None]:
    return {
        str(each.relative_to(path)): each.read_bytes() if each.is_file() else None for each in path.rglob("*")
    }


def busy(seed: int) -> Callable[[Recorder], None]:
    def work(recorder: Recorder) -> None:
        worker = Worker(recorder, random.Random(seed))
        for number in range(3):
            worker.pull(number)
        worker.blob(BIG_DIGEST, pieces=True, ends=False)
        worker.evict(30_000)

    return work


@pytest.mark.parametrize("forgotten", ["files", "directories"])
def test_a_store_that_did_not_wait_for_the_disk_would_be_found_out(path: Path, forgotten: str) -> None:
    calls = recorded(path / "base", busy(7))
    directories = {n.number for call in calls if isinstance(call, tuple) for n in call if n.is_directory}
    hasty = [
        call
        for call in calls
        if not isinstance(call, Synced) or (call.number in directories) != (forgotten == "directories")
    ]
    assert len(hasty) < len(calls)

    def cut() -> None:
        for count in range(0, len(hasty), 3):
            cut_at(hasty, count, random.Random(count), path / "state", states_max=STATES)

    with pytest.raises(AssertionError):
        cut()


def test_a_write_that_was_confirmed_is_there_and_another_may_be() -> None:
    file, name = 1, (BASE, "file")
    calls: list[Call] = [
        (Named(name, file),),
        Wrote(file, 0, b"a" * 5000),
        Synced(file),
        Synced(BASE),
        Wrote(file, 5000, b"b" * 5000),
        (Named((BASE, "new"), file), Named(name, None)),
    ]
    states = list(Disk(calls, len(calls)).states(random.Random(1), count_max=200))
    names = {frozenset(entry[1] for entry in state.names) for state in states}
    assert names == {frozenset(each) for each in ((), ("file",), ("new",), ("file", "new"))}
    contents = {content for state in states for content in state.files.values()}
    assert all(content.startswith(b"a" * 5000) for content in contents)
    tails = {content[5000:] for content in contents}
    assert {b"", b"b" * 5000, b"b" * 3192, bytes(3192) + b"b" * 1808} <= tails
    assert {b"a" * 5000} == {
        c for s in Disk(calls, 4).states(random.Random(1), count_max=20) for c in s.files.values()
    }


def test_every_state_is_looked_at_when_they_are_few() -> None:
    calls: list[Call] = [(Named((BASE, str(number)), number + 1),) for number in range(4)]
    states = list(Disk(calls, 4).states(random.Random(), count_max=16))
    assert len({frozenset(state.names) for state in states}) == 16


def test_what_is_owed_is_what_was_told_before_the_cut() -> None:
    digest = min(CONTENT)
    told = [Told("there", digest), Told("pinned", digest), Told("sweeping", None), Told("unpinning", digest)]
    assert [(Owed(told[:n]).there, Owed(told[:n]).pinned) for n in (1, 3, 4)] == [
        ({digest}, set()),
        ({digest}, {digest}),
        ({digest}, set()),
    ]
    assert Owed([*told, Told("sweeping", None)]).there == set()
