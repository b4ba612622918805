"""How systemd starts a program: the unit and its drop-ins, as the files of a tree have them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from sampan.runtimes.tree import Tree

DIRECTORIES = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")


@dataclass(frozen=True, slots=True)
class Started:
    """The ``words`` of a command line, and the ``file`` that they are from; none where there is no unit."""

    words: tuple[str, ...] = ()
    file: str | None = None


def started_by(tree: Tree, unit: str) -> Started:
    """The command line of ``unit``; a drop-in's ExecStart= stands in the place of the unit's."""
    found = Started()
    for path, text in unit_files(tree, unit):
        for line in text.replace("\\\n", " ").splitlines():
            key, _, value = line.strip().partition("=")
            if key.strip() == "ExecStart" and value.strip():
                found = Started(tuple(split_words(value)), path)
    return found


def split_words(text: str) -> list[str]:
    """As a shell splits them, or by spaces where it would refuse."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def unit_files(tree: Tree, unit: str) -> Iterator[tuple[str, str]]:
    """The unit and its drop-ins, in the order in which systemd reads them."""
    for directory in DIRECTORIES:
        file = tree.file(f"{directory}/{unit}")
        if file.data is not None:
            yield file.path, file.text
            break
    drop_ins: dict[str, str] = {}
    for directory in reversed(DIRECTORIES):  # the same name in /etc stands in the place of others
        for name in tree.directory(f"{directory}/{unit}.d").names:
            if name.endswith(".conf"):
                drop_ins[name] = f"{directory}/{unit}.d/{name}"
    for name in sorted(drop_ins):
        yield drop_ins[name], tree.file(drop_ins[name]).text
