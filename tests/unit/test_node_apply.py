"""Plans carried out and undone: refusals, steps, checks, and what is kept for going back."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from node_cases import NOW, listing
from ordinary import as_nobody, open_directory
from sampan.errors import ApplyFailed, NodeError, PlanMismatch
from sampan.runtimes.apply import apply, check_permitted
from sampan.runtimes.contract import Answer, Change, Finding, Plan, Step
from sampan.runtimes.journal import REVERTED_MAX, Journal
from sampan.runtimes.plan import NodePlan
from sampan.runtimes.revert import recover, revert
from sampan.runtimes.snapshot import Snapshot
from sampan.runtimes.steps import Steps

RELOAD = Step("reload", "nothing is felt", ("systemctl", "reload", "it.service"))


@dataclass
class Recorder:
    """A machine that notes what it is told to run; ``codes``: how the next ones end."""

    codes: list[int] = field(default_factory=list)
    ran: list[tuple[str, ...]] = field(default_factory=list)
    during: Callable[[], None] = lambda: None

    def run(self, command: Sequence[str], *, timeout_seconds: float = 0) -> Answer:
        self.ran.append(tuple(command))
        self.during()
        return Answer(self.codes.pop(0) if self.codes else 0, words="so it is")

    def wait(self, seconds: float) -> None:
        raise AssertionError("nobody waits here")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    (path / "etc").mkdir(parents=True)
    (path / "etc" / "a").write_text("a\n")
    (path / "etc" / "a").chmod(0o640)
    os.utime(path / "etc" / "a", ns=(5, 7_000_000_001))
    return path


@pytest.fixture
def machine() -> Recorder:
    return Recorder()


def planned(*changes: Change, steps: tuple[Step, ...] = (RELOAD,)) -> NodePlan:
    return NodePlan((Plan("it", changes, steps),), changes)


A = Change("/etc/a", b"a\n", b"A\n")
DEEP = Change("/etc/x/y/b", None, b"b\n", mode=0o600)
GONE = Change("/etc/a", b"a\n", None)


def do(root: Path, plan: NodePlan, machine: Recorder, **more: object) -> Snapshot | None:
    journal = Journal(root)
    with journal.locked():
        return apply(journal, plan, Steps(machine), now=NOW, **more)  # type: ignore[arg-type]  # verify alone


def undo(root: Path, machine: Recorder, number: int = 1, **more: object) -> None:
    journal = Journal(root)
    with journal.locked():
        found = next(snapshot for snapshot, _ in journal.snapshots() if snapshot.number == number)
        revert(journal, found, Steps(machine), **more)  # type: ignore[arg-type]  # edited alone


def test_files_are_changed_made_and_removed_and_come_back_with_mode_and_time(
    root: Path, machine: Recorder
) -> None:
    before = listing(root, times=True)
    for change in ((A, DEEP), (GONE, DEEP)):
        do(root, planned(*change), machine)
        after = listing(root)
        assert ("etc/a" in after) == (change[0] is A)
        assert change[0] is GONE or after["etc/a"] == (0o640, None, b"A\n")
        assert after["etc/x/y/b"] == (0o600, None, b"b\n")
        undo(root, machine, Journal(root).next_number() - 1)
        assert listing(root, times=True) == before
    assert machine.ran == [RELOAD.command] * 4


def test_an_owner_is_kept(root: Path, machine: Recorder) -> None:
    owner = (12, 34) if os.geteuid() == 0 else (os.geteuid(), os.getegid())  # root alone gives files away
    os.chown(root / "etc" / "a", *owner)
    do(root, planned(A), machine)
    status = (root / "etc" / "a").stat()
    assert (status.st_uid, status.st_gid) == owner


def test_a_directory_that_somebody_else_uses_by_now_stays(root: Path, machine: Recorder) -> None:
    do(root, planned(DEEP), machine)
    (root / "etc" / "x" / "theirs").write_text("theirs")
    undo(root, machine)
    assert sorted(path.name for path in (root / "etc" / "x").iterdir()) == ["theirs"]


def test_a_plan_without_changes_does_nothing_at_all(root: Path, machine: Recorder) -> None:
    assert do(root, planned(), machine) is None
    assert machine.ran == []
    assert Journal(root).snapshots() == []


def test_a_file_that_changed_since_the_plan_is_refused_with_the_diff(root: Path, machine: Recorder) -> None:
    (root / "etc" / "a").write_text("other\n")
    with pytest.raises(PlanMismatch, match=r"/etc/a: changed since the plan") as caught:
        do(root, planned(A), machine)
    assert caught.value.diff == "--- /etc/a\n+++ /etc/a\n@@ -1 +1 @@\n-a\n+other\n"
    assert Journal(root).snapshots() == []
    assert machine.ran == []


def test_a_link_in_the_place_of_the_file_or_of_a_directory_is_refused(root: Path, machine: Recorder) -> None:
    (root / "etc" / "a").rename(root / "real")
    (root / "etc" / "a").symlink_to("/real")
    with pytest.raises(PlanMismatch, match="/etc/a is a symbolic link to /real"):
        do(root, planned(A), machine)
    (root / "etc" / "x").symlink_to("/../outside")
    with pytest.raises(PlanMismatch, match="a symbolic link that leads nowhere within the root"):
        do(root, planned(DEEP), machine)
    assert not (root.parent / "outside").exists()


def test_a_directory_that_is_a_link_within_the_root_is_followed(root: Path, machine: Recorder) -> None:
    (root / "data").mkdir()
    (root / "etc" / "x").symlink_to("/data")
    do(root, planned(DEEP), machine)
    assert (root / "data" / "y" / "b").read_text() == "b\n"
    undo(root, machine)
    assert list((root / "data").iterdir()) == []


def test_a_revert_runs_what_goes_back_and_does_not_ask_whether_it_had_its_effect(
    root: Path, machine: Recorder
) -> None:
    start = Step("start", "it starts", ("start", "it"), ("stop", "it"))
    asked: list[str] = []

    def settle(name: str) -> Sequence[Finding]:
        asked.append(name)
        return ()

    steps = Steps(machine, settle=settle)
    journal, plan = Journal(root), planned(A, steps=(RELOAD, start))
    with journal.locked():
        assert apply(journal, plan, steps, now=NOW) is not None
        assert asked == ["it"], "once, after its last step"
        revert(journal, journal.snapshots()[0][0], steps)
    assert machine.ran == [RELOAD.command, ("start", "it"), RELOAD.command, ("stop", "it")]
    assert asked == ["it"]


def test_a_step_that_fails_is_told_and_everything_is_put_back(root: Path, machine: Recorder) -> None:
    before = listing(root, times=True)
    machine.codes = [3]
    with pytest.raises(ApplyFailed) as caught:
        do(root, planned(A, DEEP), machine)
    assert caught.value.message == ("cannot reload it: systemctl reload it.service: so it is (exit code 3)")
    assert "everything is as it was" in (caught.value.hint or "")
    assert listing(root, times=True) == before
    assert Journal(root).snapshots() == []
    assert len(machine.ran) == 2, "the old files are reloaded as well"


def test_a_check_that_fails_is_told_with_its_place_and_everything_is_put_back(
    root: Path, machine: Recorder
) -> None:
    before = listing(root, times=True)
    broken = Finding("PULL_FAILS", "it is broken", "error", "/etc/a", 3, "mend it")
    notable = Finding("WORTH_KNOWING", "it is odd", "warning")
    assert do(root, planned(A), machine, verify=lambda: (notable,)) is not None
    undo(root, machine)
    with pytest.raises(ApplyFailed, match=r"/etc/a:3: it is broken") as caught:
        do(root, planned(A), machine, verify=lambda: (notable, broken))
    assert (caught.value.hint or "").startswith("mend it\n")
    assert listing(root, times=True) == before


def test_when_going_back_fails_as_well_both_reasons_are_told(root: Path, machine: Recorder) -> None:
    machine.codes = [1, 1]
    with pytest.raises(
        ApplyFailed, match=r"(?s)cannot reload it.*and then: the files are back, but cannot reload"
    ):
        do(root, planned(A), machine)
    assert (root / "etc" / "a").read_text() == "a\n"
    machine.codes = []
    assert do(root, planned(A), machine) is not None, "the next one begins anew"


def test_a_file_that_somebody_edits_meanwhile_stays_as_they_have_it(root: Path, machine: Recorder) -> None:
    machine.codes = [1]

    def edit() -> None:
        (root / "etc" / "a").write_text("theirs\n")

    machine.during = edit
    with pytest.raises(ApplyFailed):
        do(root, planned(A, DEEP), machine)
    assert (root / "etc" / "a").read_text() == "theirs\n"
    assert not (root / "etc" / "x").exists()


def test_an_interrupt_puts_everything_back_and_stays_an_interrupt(root: Path, machine: Recorder) -> None:
    def interrupted() -> tuple[Finding, ...]:
        raise KeyboardInterrupt

    before = listing(root, times=True)
    with pytest.raises(KeyboardInterrupt):
        do(root, planned(A), machine, verify=interrupted)
    assert listing(root, times=True) == before


@pytest.mark.row("F5")
def test_a_file_that_was_edited_since_is_not_reverted_unless_forced_and_is_kept(
    root: Path, machine: Recorder
) -> None:
    before = listing(root, times=True)
    do(root, planned(A), machine)
    (root / "etc" / "a").write_text("A\nmine\n")
    with pytest.raises(PlanMismatch, match="/etc/a: changed since snapshot 1") as caught:
        undo(root, machine)
    assert "+mine" in caught.value.diff
    assert (root / "etc" / "a").read_text() == "A\nmine\n"
    undo(root, machine, edited="replace")
    assert listing(root, times=True) == before
    assert (root / "var/lib/sampan/node/1/0.edited").read_text() == "A\nmine\n"


def test_what_a_reload_does_not_forget_stands_there_emptied_while_the_revert_reloads(
    root: Path, machine: Recorder
) -> None:
    seen = []
    do(root, planned(Change("/etc/a", b"a\n", b"A\n", interim=b"none\n"), DEEP), machine)
    machine.during = lambda: seen.append((root / "etc" / "a").read_text())
    undo(root, machine)
    assert seen == ["none\n"]
    assert (root / "etc" / "a").read_text() == "a\n"


def test_snapshots_are_reverted_in_order_and_pruned_once_they_are(root: Path, machine: Recorder) -> None:
    do(root, planned(A), machine)
    do(root, planned(Change("/etc/a", b"A\n", b"AA\n")), machine)
    with pytest.raises(PlanMismatch):
        undo(root, machine, 1)
    undo(root, machine, 2)
    undo(root, machine, 1)
    assert (root / "etc" / "a").read_text() == "a\n"
    assert [state for _, state in Journal(root).snapshots()] == ["reverted", "reverted"]
    for number in range(3, REVERTED_MAX + 5):
        do(root, planned(A), machine)
        undo(root, machine, number)
    assert len(Journal(root).snapshots()) == REVERTED_MAX


def test_one_at_a_time_changes_a_tree(root: Path, machine: Recorder) -> None:
    with Journal(root).locked(), pytest.raises(NodeError, match="another sampan"), Journal(root).locked():
        pass
    assert do(root, planned(A), machine) is not None


def test_snapshots_are_for_their_owner_alone(root: Path, machine: Recorder) -> None:
    do(root, planned(A), machine)
    place = root / "var/lib/sampan/node"
    assert place.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o077 for path in (place / "1").iterdir()} == {0}


def test_a_snapshot_that_is_damaged_is_told_and_changes_nothing(root: Path, machine: Recorder) -> None:
    do(root, planned(A), machine)
    table = root / "var/lib/sampan/node/1/snapshot.json"
    for text in ("{", "{}", '{"version": 2}', table.read_text().replace('"mode"', '"mood"')):
        table.write_text(text)
        with pytest.raises(NodeError, match="snapshot 1"):
            undo(root, machine)
    assert (root / "etc" / "a").read_text() == "A\n"


def test_without_systemd_a_step_needs_a_command_before_anything_is_written(
    root: Path, machine: Recorder
) -> None:
    journal = Journal(root)
    with journal.locked(), pytest.raises(NodeError, match="no systemd here") as caught:
        apply(journal, planned(A), Steps(machine, has_systemd=False), now=NOW)
    assert "[node.commands] it" in (caught.value.hint or "")
    assert (root / "etc" / "a").read_text() == "a\n"
    with journal.locked():
        steps = Steps(machine, {"it": "service 'my it' restart"}, has_systemd=False)
        apply(journal, planned(A), steps, now=NOW)
    assert machine.ran == [("service", "my it", "restart")]


def test_below_another_root_nothing_is_run(root: Path) -> None:
    journal = Journal(root)
    with journal.locked():
        assert apply(journal, planned(A), Steps(None, has_systemd=False), now=NOW) is not None


def test_what_is_unfinished_is_undone_without_steps_when_none_was_begun(
    root: Path, machine: Recorder
) -> None:
    before = listing(root, times=True)
    do(root, planned(A), machine)
    journal = Journal(root)
    with journal.locked():
        for state, reloads in (("writing", 1), ("stepping", 2)):
            if state == "stepping":
                do_again = apply(journal, planned(A), Steps(None), now=NOW)
                assert do_again is not None
            newest = journal.snapshots()[-1][0]
            journal.set_state(newest.number, state)  # type: ignore[arg-type]  # one of them
            assert recover(journal, Steps(machine)) is not None
            assert listing(root, times=True) == before
            assert len(machine.ran) == reloads
        assert recover(journal, Steps(machine)) is None


def test_who_may_not_write_is_told_what_is_needed() -> None:
    with open_directory() as root:
        (root / "etc").mkdir()
        (root / "etc" / "a").write_text("a\n")

        def check() -> None:
            with pytest.raises(NodeError, match="this user may not write /etc/a") as caught:
                check_permitted(root, planned(A))
            assert "run it as root" in (caught.value.hint or "")

        as_nobody(check)
