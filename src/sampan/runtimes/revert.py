"""Back to what a snapshot kept, byte for byte.

Guarantees that a file which somebody edited since is not replaced unless that is forced (and then kept beside
the snapshot), that a directory which was made goes again when it is empty, and that a revert which was killed
at any point is finished by the next one. Where a runtime does not forget by reading the old file
(:attr:`~sampan.runtimes.contract.Change.interim`), it first reads another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from sampan.errors import ApplyFailed, PlanMismatch, printable
from sampan.runtimes.journal import Journal
from sampan.runtimes.place import below
from sampan.runtimes.plan import unified_diff
from sampan.runtimes.snapshot import Kept, Snapshot
from sampan.runtimes.steps import Steps
from sampan.runtimes.tree import FILE_BYTES_MAX
from sampan.runtimes.writing import (
    attributes_at,
    drop_temporary,
    make_directory,
    node_error,
    put_file,
    remove_directory,
    remove_file,
)
from sampan.words import sentence

Edited = Literal["refuse", "leave", "replace"]


def revert(journal: Journal, snapshot: Snapshot, steps: Steps, *, edited: Edited = "refuse") -> None:
    """Undo ``snapshot``, which is applied or half so, or half reverted. Needs the journal's lock.

    ``edited``: what to do with a file that is not as sampan left it; ``replace`` keeps that beside the
    snapshot. Raises PlanMismatch for one that is refused, NodeError when files cannot be written, and
    ApplyFailed when they are back but a step failed.
    """
    state = journal.state(snapshot.number)
    if state == "reverted":
        return
    files = _to_put_back(journal, snapshot, edited)
    reloaded = state not in ("writing", "undoing")
    journal.set_state(snapshot.number, "reverting" if reloaded else "undoing")
    interims = [kept for kept in files if kept.interim is not None and reloaded]
    for kept in reversed(files):
        if kept not in interims:
            _put_back(journal.root, kept)
    _put_interims(journal.root, snapshot, interims)
    try:
        failure = _run(steps, snapshot) if reloaded else None
    finally:
        for kept in interims:
            _put_back(journal.root, kept)
    for directory in reversed(snapshot.directories):
        remove_directory(journal.root, directory)
    journal.set_state(snapshot.number, "reverted")
    journal.prune()
    if failure is not None:
        raise ApplyFailed(
            sentence("the files are back, but {message}", message=failure.message), hint=failure.hint
        ) from failure


def recover(journal: Journal, steps: Steps, *, edited: Edited = "refuse") -> Snapshot | None:
    """Finish backwards what a killed apply or revert left; returns what that was. Needs the lock."""
    snapshot = journal.unfinished()
    if snapshot is not None:
        revert(journal, snapshot, steps, edited=edited)
    return snapshot


def check_unedited(root: Path, snapshot: Snapshot) -> None:
    """Raises PlanMismatch, with the diff, when a file is not as sampan left it."""
    edited = _edited(root, snapshot)
    if edited:
        diffs = [unified_diff(k.path, k.after, now, secret=k.secret) for k, now in edited]
        names = ", ".join(printable(kept.path) for kept, _ in edited)
        raise PlanMismatch(
            sentence(
                "{names}: changed since snapshot {number} was taken", names=names, number=snapshot.number
            ),
            diff="".join(diffs),
            hint=sentence("--force goes back all the same, and keeps the edited file beside the snapshot"),
        )


def _to_put_back(journal: Journal, snapshot: Snapshot, edited: Edited) -> list[Kept]:
    if edited == "refuse":
        check_unedited(journal.root, snapshot)
    found = _edited(journal.root, snapshot)
    if edited == "leave":
        foreign = [kept for kept, _ in found]
        return [kept for kept in snapshot.files if kept not in foreign]
    for kept, data in found:
        if data is not None:
            journal.keep_edited(snapshot.number, snapshot.files.index(kept), data)
    return list(snapshot.files)


def _put_interims(root: Path, snapshot: Snapshot, interims: Sequence[Kept]) -> None:
    for directory in snapshot.directories if interims else ():
        make_directory(root, directory)  # it may have gone with an earlier try
    for kept in interims:
        assert kept.interim is not None
        put_file(root, kept.real, kept.interim, kept.attributes.touched())


def _run(steps: Steps, snapshot: Snapshot) -> ApplyFailed | None:
    try:
        steps.run(snapshot.steps, back=True)
    except ApplyFailed as error:
        return error
    return None


def _edited(root: Path, snapshot: Snapshot) -> Sequence[tuple[Kept, bytes | None]]:
    now = [(kept, content_at(root, kept.real)) for kept in snapshot.files]
    return [(kept, data) for kept, data in now if not kept.knows(data)]


def content_at(root: Path, real: str) -> bytes | None:
    """What is at the resolved path ``real``; None: nothing. Raises PlanMismatch for what is no file."""
    path = Path(below(root, real))
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise PlanMismatch(
                sentence("{real}: expected a file, got something else in its place", real=printable(real))
            )
        with path.open("rb") as file:
            return file.read(FILE_BYTES_MAX + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise node_error(sentence("read {real}", real=printable(real)), error) from error


def _put_back(root: Path, kept: Kept) -> None:
    """``kept`` as it was, its time as well."""
    drop_temporary(root, kept.real)
    if kept.before is None:
        remove_file(root, kept.real)
    elif content_at(root, kept.real) != kept.before or attributes_at(root, kept.real) != kept.attributes:
        put_file(root, kept.real, kept.before, kept.attributes)
