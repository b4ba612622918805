"""The golden cases of ``sampan node``: a tree before, what the configuration says, and the tree after.

``tests/golden/node/RUNTIME/CASE/`` has ``case.toml``, ``before/`` and ``after/``. Either tree may be missing:
it is empty then, or (``refused``) the same as before. To add a case, write its case.toml and before/, then
run ``PYTHONPATH=tests python tests/node_cases.py RUNTIME/CASE``, and read what it wrote; an ``after/`` that
is there is never overwritten.
"""

from __future__ import annotations

import contextlib
import shutil
import stat
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sampan.config import Config
from sampan.config.node import wanted
from sampan.runtimes import RUNTIMES
from sampan.runtimes.apply import apply
from sampan.runtimes.contract import Installed, Runtime, Status
from sampan.runtimes.examine import Chosen
from sampan.runtimes.journal import Journal
from sampan.runtimes.plan import NodePlan, make_plan
from sampan.runtimes.revert import recover, revert
from sampan.runtimes.snapshot import Snapshot
from sampan.runtimes.steps import Steps
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import Wanted

GOLDEN = Path(__file__).parent / "golden" / "node"
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
OWN = "var/lib/sampan"

# Path -> mode and, of a file, its time and content; of a link, where it leads.
Listing = dict[str, tuple[int, int | None, bytes]]


@dataclass(frozen=True)
class Case:
    """``notes`` (by a part of each) and ``findings`` (codes of the status before) must be exactly these.
    ``runtime`` is as after ``--runtime``; ``modes``: by path in the tree, in octal."""

    path: Path
    about: str
    runtime: str
    config: str = ""
    via: str | None = None
    direct: bool = False
    answers: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    findings_after: tuple[str, ...] = ()
    refused: str | None = None
    modes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Case:
        table: dict[str, Any] = tomllib.loads((path / "case.toml").read_text())
        for key in ("notes", "findings", "findings_after"):
            table[key] = tuple(table.get(key, ()))
        return cls(path, **table)

    @property
    def chosen(self) -> Chosen:
        return Chosen.parse(self.runtime)

    @property
    def subject(self) -> Runtime:
        return RUNTIMES[self.chosen.name]

    @property
    def installed(self) -> Installed:
        return Installed(self.chosen.version, self.answers)

    @property
    def wanted(self) -> Wanted:
        config = Config.parse(self.config, name=str(self.path / "sampan.toml"), environ={})
        return wanted(config, via=self.via, direct=self.direct)

    def lay(self, root: Path) -> None:
        """The tree before, at ``root``, with modes that git does not keep."""
        if (self.path / "before").is_dir():
            shutil.copytree(self.path / "before", root, symlinks=True, dirs_exist_ok=True)
        for name, mode in self.modes.items():
            (root / name).chmod(int(mode, 8))

    def plan(self, root: Path) -> NodePlan:
        """Raises the refusal of its runtime."""
        plan, refused = make_plan(Tree(root), [(self.subject, self.installed)], self.wanted)
        for error in refused.values():
            raise error
        return plan

    def status(self, root: Path) -> Status:
        return self.subject.status(Tree(root), self.installed)


def apply_at(root: Path, case: Case, steps: Steps | None = None) -> Snapshot | None:
    """As the command does it."""
    journal, how = Journal(root), steps or Steps(None)
    with journal.locked():
        recover(journal, how)
        return apply(journal, case.plan(root), how, now=NOW)


def revert_at(root: Path, steps: Steps | None = None) -> None:
    """The newest that is not reverted."""
    journal = Journal(root)
    with journal.locked():
        snapshots = [snapshot for snapshot, state in journal.snapshots() if state != "reverted"]
        if snapshots:
            revert(journal, snapshots[-1], steps or Steps(None))


def listing(root: Path, *, times: bool = False) -> Listing:
    """All that is below ``root``, without sampan's own snapshots."""
    found: Listing = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if name.startswith(OWN) or name in ("var", "var/lib"):
            continue
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            found[name] = (0, None, bytes(path.readlink()))
        elif stat.S_ISDIR(status.st_mode):
            found[name] = (0, None, b"directory")
        else:
            time = status.st_mtime_ns if times else None
            found[name] = (stat.S_IMODE(status.st_mode), time, path.read_bytes())
    return found


def cases() -> list[Path]:
    return sorted(path.parent for path in GOLDEN.glob("*/*/case.toml"))


def _write(name: str) -> None:
    case = Case.read(GOLDEN / name)
    if (case.path / "after").exists():
        sys.exit(f"{name}/after is there: remove it first, if it is wrong")
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        case.lay(root)
        apply_at(root, case)
        shutil.rmtree(root / OWN)
        for name in ("var/lib", "var"):
            with contextlib.suppress(OSError):
                (root / name).rmdir()
        shutil.copytree(root, case.path / "after", symlinks=True)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        _write(argument)
