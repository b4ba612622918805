"""Which runtimes a tree has, and what is known of each beside its files.

Guarantees that programs are asked only where the tree is the running machine: elsewhere the version is what
``--runtime NAME@VERSION`` says, or unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sampan.errors import RuntimeUnsupported, UsageError, printable
from sampan.runtimes.contract import Installed, Machine, Runtime, Status, Version
from sampan.runtimes.snapshot import Snapshot
from sampan.runtimes.tree import Tree
from sampan.words import sentence

VERSION_QUESTION = "version"


@dataclass(frozen=True, slots=True)
class Chosen:
    """One ``--runtime``: a name, and the version that it is to be taken for."""

    name: str
    version: Version | None = None

    @classmethod
    def parse(cls, text: str) -> Chosen:
        """``NAME`` or ``NAME@VERSION``. Raises UsageError."""
        name, at, number = text.partition("@")
        version = Version.find(number)
        if not name or (at and (version is None or not number.removeprefix("v")[:1].isdigit())):
            raise UsageError(
                sentence(
                    'expected NAME or NAME@VERSION, got "{text}"', text=printable(text, characters_max=60)
                ),
                hint=sentence("as in --runtime docker@28.5"),
            )
        return cls(name, version)


def choose(
    runtimes: Mapping[str, Runtime], chosen: Sequence[Chosen], tree: Tree, machine: Machine | None
) -> list[tuple[Runtime, Installed]]:
    """Those that were ``chosen`` (they need leave no trace), else all that the tree has a trace of.

    Raises RuntimeUnsupported for a name that nobody knows.
    """
    for one in chosen:
        if one.name not in runtimes:
            raise RuntimeUnsupported(
                sentence('no such runtime: "{name}"', name=printable(one.name, characters_max=60)),
                hint=sentence("there are: {names}", names=", ".join(runtimes)),
            )
    versions = {one.name: one.version for one in chosen}
    names = list(versions) or [name for name, runtime in runtimes.items() if runtime.detect(tree)]
    return [(runtimes[name], ask(runtimes[name], machine, versions.get(name))) for name in names]


def with_writers(status: Status, tree: Tree, snapshots: Iterable[Snapshot]) -> Status:
    """``status`` with ``sampan`` as the writer of each file that is as one of ``snapshots`` left it."""
    left = {(kept.path, kept.after) for snapshot in snapshots for kept in snapshot.files}
    sources = tuple(
        replace(source, written_by="sampan") if (source.path, tree.file(source.path).data) in left else source
        for source in status.sources
    )
    return replace(status, sources=sources)


def ask(runtime: Runtime, machine: Machine | None, version: Version | None = None) -> Installed:
    """What its programs say; ``version`` stands above that."""
    answers = {}
    for name, command in runtime.questions.items() if machine is not None else ():
        assert machine is not None
        answer = machine.run(command)
        if answer.code == 0:
            answers[name] = answer.output
    return Installed(version or Version.find(answers.get(VERSION_QUESTION, "")), answers)
