"""The environment that systemd gives a program, as the files of a tree have it, each variable with its place.

What counts is what systemd does: Environment= of the unit and its drop-ins, a later one standing above, an
empty one forgetting those before; then the files of EnvironmentFile=, which stand above all of them. What is
wrong in a file is passed over, as systemd does. Values may be secrets (a proxy's password), which repr does
not show.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sampan.runtimes.tree import Tree
from sampan.runtimes.units import split_words, unit_files

MANAGER = "/etc/systemd/system.conf"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Variable:
    """A value, and where it is set; ``line`` counts from 1."""

    value: str = field(repr=False)
    file: str
    line: int


def variables_of(tree: Tree, unit: str) -> Mapping[str, Variable]:
    """By name, those that ``unit`` is started with; none where there is no such unit."""
    files = list(unit_files(tree, unit))
    if not files:
        return {}
    found = dict(_assigned(_default(tree), "DefaultEnvironment"))
    named: list[str] = []
    for path, text in files:
        for line, key, value in _entries(text):
            if key == "Environment":
                found = found | dict(_words(path, line, value)) if value else {}
            elif key == "EnvironmentFile":
                named = [*named, value] if value else []
            elif key == "UnsetEnvironment":
                found = {name: each for name, each in found.items() if name not in split_words(value)}
    for value in named:
        found |= dict(_file(tree, _expanded(value.removeprefix("-"), unit)))
    return found


def _default(tree: Tree) -> list[tuple[str, str]]:
    """The manager's own files."""
    directory = f"{MANAGER}.d"
    names = [name for name in tree.directory(directory).names if name.endswith(".conf")]
    return [(path, tree.file(path).text) for path in (MANAGER, *(f"{directory}/{name}" for name in names))]


def _assigned(files: list[tuple[str, str]], wanted: str) -> Iterator[tuple[str, Variable]]:
    for path, text in files:
        for line, key, value in _entries(text):
            if key == wanted:
                yield from _words(path, line, value)


def _entries(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, key and value of each assignment; one that goes on in the next lines is at its first."""
    begun, number = "", 0
    for line, each in enumerate(text.splitlines(), start=1):
        number = number if begun else line
        if each.endswith("\\"):
            begun += each[:-1] + " "
            continue
        key, equals, value = (begun + each).partition("=")
        begun = ""
        if equals and not key.lstrip().startswith(("#", ";")):
            yield number, key.strip(), value.strip()


def _words(path: str, line: int, value: str) -> Iterator[tuple[str, Variable]]:
    """The assignments of an ``Environment=``: words, quoted where there is a space in them."""
    for word in split_words(value):
        name, equals, text = word.partition("=")
        if equals and _NAME.fullmatch(name):
            yield name, Variable(text, path, line)


def _file(tree: Tree, path: str) -> Iterator[tuple[str, Variable]]:
    for line, key, value in _entries(tree.file(path).text):
        name = key.removeprefix("export ").strip()
        if _NAME.fullmatch(name):
            text = value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value
            yield name, Variable(text, path, line)


def _expanded(path: str, unit: str) -> str:
    """The specifiers that files of variables are named by."""
    stem = posixpath.splitext(unit)[0]
    return path.replace("%N", stem).replace("%n", unit).replace("%p", stem.partition("@")[0])
