"""Whose home directories a tree has: some runtimes read files of the person who starts them.

Guarantees that only people are among them (root, and the numbers from 1000 on), and that a passwd which
cannot be read is an empty one. It is for looking: into a person's home nothing is written, since it is
theirs, and root must not follow where it leads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sampan.runtimes.tree import Tree

ACCOUNTS = "/etc/passwd"
ROOT_HOME = "/root"
PEOPLE = range(1000, 65534)  # below are system users, 65534 is nobody
HOMES_MAX = 200  # a machine with more people than that has them from a directory service


@dataclass(frozen=True, slots=True)
class Home:
    """The ``path`` of a ``user``'s home, without a slash at its end: empty for the root directory."""

    user: str
    path: str


def root_home(tree: Tree) -> str:
    """Where the files of root's own are."""
    return next((path for _, number, path in _entries(tree) if number == 0), ROOT_HOME)


def people(tree: Tree) -> list[Home]:
    """The homes of people other than root."""
    return [Home(user, path) for user, number, path in _entries(tree) if number in PEOPLE][:HOMES_MAX]


def _entries(tree: Tree) -> Iterator[tuple[str, int, str]]:
    for line in tree.file(ACCOUNTS).text.splitlines():
        fields = line.split(":")
        if len(fields) >= 7 and fields[2].isascii() and fields[2].isdigit() and fields[5].startswith("/"):
            yield fields[0], int(fields[2][:10]), fields[5].rstrip("/")
