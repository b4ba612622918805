"""Every case of every runtime: the tree before, after, after a second apply, and after a revert."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_cases import GOLDEN, Case, apply_at, cases, listing, revert_at
from sampan.errors import PlanMismatch
from sampan.runtimes import RUNTIMES
from sampan.runtimes.journal import Journal

ALL = cases()
MEMORY = Path("/dev/shm")


def name(path: Path) -> str:
    return path.relative_to(GOLDEN).as_posix()


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """In memory where that can be: hundreds of trees are written as surely as a machine's own."""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="golden", dir=MEMORY) as directory:
        yield Path(directory)


def expected(case: Case, root: Path) -> dict[str, bytes]:
    """Path -> content of the tree after; of a refusal, that before."""
    after = case.path / ("before" if case.refused else "after")
    return {key: data for key, (_, _, data) in listing(after).items() if data != b"directory"}


@pytest.mark.parametrize("path", ALL, ids=name)
@pytest.mark.row("F5")
def test_a_tree_is_changed_once_and_reverted_byte_for_byte(path: Path, root: Path) -> None:
    case = Case.read(path)
    case.lay(root)
    before = listing(root, times=True)
    if case.refused is not None:
        with pytest.raises(PlanMismatch) as caught:
            apply_at(root, case)
        assert case.refused in caught.value.message
        assert listing(root, times=True) == before
        return
    snapshot = apply_at(root, case)
    after = listing(root, times=True)
    assert {key: data for key, (_, _, data) in after.items() if data != b"directory"} == expected(case, root)
    for key, (mode, _, _) in before.items():
        assert key not in after or after[key][0] == mode, f"{key}: another mode"
    assert apply_at(root, case) is None
    assert listing(root, times=True) == after
    assert len(Journal(root).snapshots()) == (0 if snapshot is None else 1)
    revert_at(root)
    assert listing(root, times=True) == before


@pytest.mark.parametrize("path", ALL, ids=name)
def test_status_and_plan_say_what_there_is_to_know(path: Path, root: Path) -> None:
    case = Case.read(path)
    case.lay(root)
    assert sorted(finding.code for finding in case.status(root).findings) == sorted(case.findings)
    if case.refused is not None:
        return
    (plan,) = case.plan(root).plans
    assert len(plan.notes) == len(case.notes), plan.notes
    for said, part in zip(plan.notes, case.notes, strict=True):
        assert part in said
    apply_at(root, case)
    assert sorted(f.code for f in case.status(root).findings) == sorted(case.findings_after)


def test_every_runtime_has_cases() -> None:
    assert {path.parent.name for path in ALL} == set(RUNTIMES)
