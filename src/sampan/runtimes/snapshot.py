"""What an apply replaced, kept so that it can come back: one numbered directory each.

Guarantees that a snapshot is whole and on the disk before it has its number, that only its ``state`` changes
afterwards, and that nobody else than the owner reads it: configuration holds passwords. It knows nothing of
runtimes; who writes files back is :mod:`.revert`.

    var/lib/sampan/node/
      lock                    held by whoever changes anything
      1/snapshot.json         which files, directories and steps
      1/state                 writing, stepping, applied, reverting, undoing, reverted
      1/0.before, 0.after, 0.interim
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from sampan.errors import NodeError
from sampan.runtimes.contract import Step
from sampan.runtimes.writing import Attributes
from sampan.words import sentence

VERSION = 1
# writing: files are being put in place; stepping: reloads and checks run; applied: it is done.
# undoing: back from writing, so nothing was reloaded; reverting: back, with the steps; reverted: it is done.
State = Literal["writing", "stepping", "applied", "undoing", "reverting", "reverted"]
STATES: tuple[State, ...] = get_args(State)
FINAL: tuple[State, ...] = ("applied", "reverted")


@dataclass(frozen=True, slots=True)
class Kept:
    """One file: its path in the tree, where that truly is, and its contents; None: absent.

    ``attributes`` are those that it had, or for a file that was absent those of the new one.
    """

    path: str
    real: str
    attributes: Attributes
    before: bytes | None = field(repr=False)
    after: bytes | None = field(repr=False)
    interim: bytes | None = field(default=None, repr=False)
    secret: bool = False

    def knows(self, data: bytes | None) -> bool:
        """Whether ``data`` is one of the contents that sampan itself put there, or found."""
        return data in (self.before, self.after) or (self.interim is not None and data == self.interim)


@dataclass(frozen=True, slots=True)
class RunStep:
    """A step of the plan, and whose."""

    runtime: str
    step: Step


@dataclass(frozen=True, slots=True)
class Snapshot:
    """``directories`` are those that were made, the outer ones first."""

    number: int
    made_at: datetime
    runtimes: tuple[str, ...]
    files: tuple[Kept, ...]
    directories: tuple[str, ...]
    steps: tuple[RunStep, ...]


CONTENTS: tuple[Literal["before", "after", "interim"], ...] = ("before", "after", "interim")


def document(snapshot: Snapshot) -> dict[str, bytes]:
    """The files of the snapshot's directory, by name; ``state`` is not among them."""
    files = {
        f"{index}.{kind}": data
        for index, kept in enumerate(snapshot.files)
        for kind in CONTENTS
        if (data := getattr(kept, kind)) is not None
    }
    table = {
        "version": VERSION,
        "number": snapshot.number,
        "made_at": snapshot.made_at.astimezone(UTC).isoformat(),
        "runtimes": snapshot.runtimes,
        "directories": snapshot.directories,
        "steps": [{"runtime": run.runtime, **asdict(run.step)} for run in snapshot.steps],
        "files": [_file_json(kept) for kept in snapshot.files],
    }
    return files | {"snapshot.json": json.dumps(table, indent=2).encode()}


def read(number: int, contents: Mapping[str, bytes]) -> Snapshot:
    """The snapshot that the files of its directory are. Raises NodeError when they are none."""
    try:
        table = json.loads(contents["snapshot.json"])
        if table["version"] != VERSION:
            raise NodeError(
                sentence(
                    "snapshot {number} has the format {format}, this sampan reads {version}",
                    number=number,
                    format=table["version"],
                    version=VERSION,
                ),
                hint=sentence("revert it with the sampan that made it"),
            )
        return Snapshot(
            number,
            datetime.fromisoformat(table["made_at"]),
            tuple(table["runtimes"]),
            tuple(_kept(index, entry, contents) for index, entry in enumerate(table["files"])),
            tuple(table["directories"]),
            tuple(_step(entry) for entry in table["steps"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise NodeError(
            sentence(
                "snapshot {number} is damaged: {kind} in snapshot.json",
                number=number,
                kind=type(error).__name__,
            ),
            hint=sentence("its contents lie beside that file, to be copied back by hand"),
        ) from error


def _file_json(kept: Kept) -> dict[str, object]:
    attributes = kept.attributes
    return {
        "path": kept.path,
        "real": kept.real,
        "secret": kept.secret,
        "has": [kind for kind in CONTENTS if getattr(kept, kind) is not None],
        "mode": attributes.mode,
        "uid": attributes.uid,
        "gid": attributes.gid,
        "mtime_ns": attributes.mtime_ns,
        "extended": {key: base64.b64encode(value).decode() for key, value in attributes.extended.items()},
    }


def _kept(index: int, entry: Mapping[str, Any], contents: Mapping[str, bytes]) -> Kept:
    attributes = Attributes(
        entry["mode"],
        entry["uid"],
        entry["gid"],
        entry["mtime_ns"],
        {key: base64.b64decode(value) for key, value in entry["extended"].items()},
    )
    data = {kind: contents[f"{index}.{kind}"] if kind in entry["has"] else None for kind in CONTENTS}
    return Kept(entry["path"], entry["real"], attributes, **data, secret=entry["secret"])


def _step(entry: Mapping[str, Any]) -> RunStep:
    back = tuple(entry.get("back", ()))
    return RunStep(entry["runtime"], Step(entry["kind"], entry["effect"], tuple(entry["command"]), back))
