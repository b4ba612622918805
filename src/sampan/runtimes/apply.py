"""A plan carried out: snapshot, files, steps, verification, and back again when any of it fails.

Guarantees that nothing is written before the snapshot is on the disk, that a file which is not as the plan
saw it is left alone, that a plan without changes does nothing at all, and that an apply which was killed at
any point is undone by :func:`~sampan.runtimes.revert.recover`. What to write is the runtimes' to say.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path

from sampan.errors import ApplyFailed, NodeError, PlanMismatch, SampanError, printable
from sampan.runtimes.contract import Change, Finding
from sampan.runtimes.journal import Journal
from sampan.runtimes.place import below, resolve
from sampan.runtimes.plan import NodePlan, unified_diff
from sampan.runtimes.revert import content_at, revert
from sampan.runtimes.snapshot import Kept, Snapshot
from sampan.runtimes.steps import Steps, check_findings
from sampan.runtimes.tree import Tree
from sampan.runtimes.writing import (
    Attributes,
    attributes_at,
    make_directory,
    node_error,
    put_file,
    remove_file,
)
from sampan.words import listed, sentence

Verify = Callable[[], Sequence[Finding]]


def check(tree: Tree, plan: NodePlan) -> None:
    """Raises PlanMismatch, with the diff, when a file is not as ``plan`` saw it, or must not be touched."""
    for change in plan.changes:
        now = tree.file(change.path).editable()
        if now != change.before:
            raise PlanMismatch(
                sentence("{path}: changed since the plan was made", path=printable(change.path)),
                diff=unified_diff(change.path, change.before, now, secret=change.secret),
                hint=sentence("look at sampan node plan again"),
            )


def check_permitted(root: Path, plan: NodePlan) -> None:
    """Raises NodeError naming what this user may not write."""
    closed = [change.path for change in plan.changes if not _may_write(root, change)]
    if closed and os.geteuid() != 0:
        raise NodeError(
            sentence("this user may not write {names}", names=", ".join(map(printable, closed))),
            hint=sentence("run it as root: sudo sampan node apply"),
        )


def apply(
    journal: Journal, plan: NodePlan, steps: Steps, *, now: datetime, verify: Verify = lambda: ()
) -> Snapshot | None:
    """Carry ``plan`` out; returns its snapshot, None when there was nothing to change. Needs the lock, and
    nothing unfinished (:func:`~sampan.runtimes.revert.recover`).

    Raises PlanMismatch or NodeError before anything is written, ApplyFailed when all is undone again.
    """
    if not plan.changes:
        return None
    root = journal.root
    check(Tree(root), plan)
    check_permitted(root, plan)
    steps.check(plan.steps)
    snapshot = _snapshot(root, journal.next_number(), plan, now)
    journal.add(snapshot)
    try:
        _write(root, snapshot)
        journal.set_state(snapshot.number, "stepping")
        steps.run(plan.steps)
        check_findings(verify())
        journal.set_state(snapshot.number, "applied")
    except BaseException as error:
        _undo(journal, snapshot, steps, error)
        raise
    return snapshot


def _snapshot(root: Path, number: int, plan: NodePlan, now: datetime) -> Snapshot:
    try:
        files = tuple(_kept(root, change) for change in plan.changes)
        directories = _missing(root, [kept.real for kept in files])
    except OSError as error:
        raise node_error(sentence("look at the files to be changed"), error) from error
    runtimes = tuple(p.runtime for p in plan.plans if p.changes)
    return Snapshot(number, now, runtimes, files, directories, plan.steps)


def _kept(root: Path, change: Change) -> Kept:
    real = resolve(root, change.path).real
    attributes = attributes_at(root, real) or Attributes(change.mode)
    return Kept(change.path, real, attributes, change.before, change.after, change.interim, change.secret)


def _missing(root: Path, files: Iterable[str]) -> tuple[str, ...]:
    """The directories that have to be made, the outer ones first."""
    missing: dict[str, None] = {}
    for file in files:
        chain = []
        above = posixpath.dirname(file)
        while above != "/" and not os.path.isdir(below(root, above)):
            chain.append(above)
            above = posixpath.dirname(above)
        missing |= dict.fromkeys(reversed(chain))
    return tuple(missing)


def _write(root: Path, snapshot: Snapshot) -> None:
    for directory in snapshot.directories:
        make_directory(root, directory)
    for kept in snapshot.files:
        if content_at(root, kept.real) != kept.before:
            raise PlanMismatch(
                sentence("{path}: changed while the plan was being applied", path=printable(kept.path))
            )
        if kept.after is None:
            remove_file(root, kept.real)
        else:
            put_file(root, kept.real, kept.after, kept.attributes.touched())


def _undo(journal: Journal, snapshot: Snapshot, steps: Steps, error: BaseException) -> None:
    """Back; a file that somebody edits meanwhile stays as they have it. Raises ApplyFailed saying why."""
    try:
        revert(journal, snapshot, steps, edited="leave")
        journal.remove(snapshot.number)
    except SampanError as second:
        raise ApplyFailed(
            sentence("{error}\nand then: {message}", error=str(error), message=second.message),
            hint=sentence("sampan node revert --list shows how far it came"),
        ) from error
    if isinstance(error, SampanError) and not isinstance(error, PlanMismatch):
        hints = [error.hint] if error.hint else []
        raise ApplyFailed(
            error.message, hint=listed([*hints, sentence("everything is as it was")], "\n")
        ) from error


def _may_write(root: Path, change: Change) -> bool:
    """Whether this user may put a file there, with the owner that it has."""
    path = below(root, resolve(root, change.path).real)
    if os.path.exists(path) and os.stat(path).st_uid != os.geteuid():
        return False
    above = posixpath.dirname(path)
    while not os.path.isdir(above) and above != "/":
        above = posixpath.dirname(above)
    return os.access(above, os.W_OK | os.X_OK)
