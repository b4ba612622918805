"""Plans put together and shown: several runtimes' changes as one, as a unified diff, with a name.

Guarantees that no file is in it twice, that what is shown holds no secret that it can recognise, and that two
plans of one name would do the same. It writes nothing: see :mod:`.apply`.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sampan.errors import PlanMismatch, printable
from sampan.runtimes.contract import Change, Installed, Plan, Runtime
from sampan.runtimes.snapshot import RunStep
from sampan.runtimes.tree import Tree
from sampan.runtimes.wanted import Wanted
from sampan.words import sentence

FINGERPRINT_CHARACTERS = 12
HIDDEN = "…"
_USERINFO = re.compile(r"(?<=//)[^/@\s\"']+@")
# A key that names a secret, and the rest of its line. A hash of several lines is not one of those.
_SECRET = re.compile(
    r"(?i)(?P<key>[\w.-]*(?:password|passwd|secret|token|authorization|\bauth\b)[\w.-]*[\"']?\s*[=:]\s*)"
    r"(?P<value>[^\s\[{].*|[\[{].*\S.*)$"
)
_KEY_BEGINS, _KEY_ENDS = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"), re.compile(r"-----END")


@dataclass(frozen=True, slots=True)
class NodePlan:
    """What is to be done to a tree: the plans of its runtimes, and their changes as one list."""

    plans: tuple[Plan, ...]
    changes: tuple[Change, ...]

    @property
    def steps(self) -> tuple[RunStep, ...]:
        """Those that run something, no command twice."""
        found: dict[tuple[str, ...], RunStep] = {}
        for plan in self.plans:
            for step in plan.steps:
                if step.command:
                    found.setdefault(step.command, RunStep(plan.runtime, step))
        return tuple(found.values())

    @property
    def fingerprint(self) -> str:
        """A short name of what it does, to hold a later ``apply`` to what was shown."""
        digest = hashlib.sha256()
        for change in self.changes:
            for part in (change.path.encode(), change.before, change.after, b"%o" % change.mode):
                digest.update(b"-" if part is None else b"%d:" % len(part) + part)
        for run in self.steps:
            digest.update("\0".join(run.step.command).encode())
        return digest.hexdigest()[:FINGERPRINT_CHARACTERS]


def make_plan(
    tree: Tree, runtimes: Iterable[tuple[Runtime, Installed]], wanted: Wanted
) -> tuple[NodePlan, Mapping[str, PlanMismatch]]:
    """The plan of all ``runtimes``, each over the tree as those before leave it, and why some have none.

    One that finds its files changed already, by those before, has its steps all the same.
    """
    before = tree
    plans: list[Plan] = []
    refused: dict[str, PlanMismatch] = {}
    changes: dict[str, Change] = {}
    for runtime, installed in runtimes:
        try:
            plan = runtime.plan(tree, installed, wanted)
            alone = plan if plan.changes or not changes else runtime.plan(before, installed, wanted)
        except PlanMismatch as error:
            refused[runtime.name] = error
            continue
        if not plan.changes:
            shared = tuple(changes[change.path] for change in alone.changes if change.path in changes)
            plan = replace(alone, changes=shared, notes=plan.notes)
        plans.append(plan)
        tree = tree.changed(plan.changes)
        for change in plan.changes:
            changes[change.path] = _joined(changes.get(change.path), change)
    return NodePlan(tuple(plans), tuple(c for c in changes.values() if c.before != c.after)), refused


def _joined(first: Change | None, second: Change) -> Change:
    if first is None:
        return second
    interim = first.interim if second.interim is None else second.interim
    secret = first.secret or second.secret
    return replace(second, before=first.before, mode=first.mode, interim=interim, secret=secret)


def refuse(path: str, reason: str, *, line: int | None = None, hint: str | None = None) -> PlanMismatch:
    """The error of a plan for a file that must not be touched: it does not parse, or says what cannot be."""
    place = f"{path}:{line}" if line else path
    message = sentence("{place}: {reason}", place=printable(place), reason=reason)
    return PlanMismatch(message, hint=hint or sentence("repair it, or move it out of the way"))


def unified_diff(path: str, before: bytes | None, after: bytes | None, *, secret: bool = False) -> str:
    """``before`` to ``after`` of the file at ``path``; what looks like a secret is ``…``."""
    names = ["/dev/null" if data is None else path for data in (before, after)]
    if secret:
        sizes = ["absent" if data is None else f"{len(data)} bytes" for data in (before, after)]
        return f"--- {names[0]}\n+++ {names[1]}\n(not shown, it holds a secret: {sizes[0]} to {sizes[1]})\n"
    old, new = (_lines(data) for data in (before, after))
    found = list(difflib.unified_diff(old, new, names[0], names[1], lineterm=""))
    if not found and before != after:
        found = [f"--- {names[0]}", f"+++ {names[1]}"]  # made or removed, and empty
    return "".join(f"{line}\n" for line in _without_secrets(found))


def show(plan: NodePlan) -> str:
    """The diffs of all files, in the order in which they are written."""
    return "".join(unified_diff(c.path, c.before, c.after, secret=c.secret) for c in plan.changes)


def _lines(data: bytes | None) -> list[str]:
    """Without their ends, but for a mark where one is not what every other line has."""
    if not data:
        return []
    lines = data.decode("utf-8", "replace").split("\n")
    if lines[-1] == "":
        return [_shown(line) for line in lines[:-1]]
    return [*(_shown(line) for line in lines[:-1]), _shown(lines[-1]) + "\n\\ No newline at end of file"]


def _shown(line: str) -> str:
    """Fit for a terminal: configuration may hold anything."""
    return printable(line.replace("\t", "    ").replace("\r", "^M"), characters_max=2000)


def _without_secrets(lines: Iterable[str]) -> Iterable[str]:
    within = False
    for line in lines:
        if _KEY_BEGINS.search(line):
            within = True
            yield f"{line[0]}(a private key)"
        elif within:
            within = not _KEY_ENDS.search(line)
        else:
            yield _SECRET.sub(lambda match: match["key"] + HIDDEN, _USERINFO.sub(f"{HIDDEN}@", line))
