"""TOML files of others: read with the line of every key, and changed key by key.

Guarantees that what is written parses to what was there with just those keys changed, and that everything
else of it (comments, order, the ends of lines) stays as it is. It knows no configuration file in particular.
"""

from __future__ import annotations

import copy
import itertools
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from sampan.errors import printable
from sampan.positions import KeyPath, header_lines, key_lines
from sampan.words import sentence

# The parsers' time grows with the square of a key's parts; the longest that containerd knows has eight.
_LONG_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){32}""")
_PLACE = re.compile(r" \(at (?:line (?P<line>\d+), column \d+|end of document)\)$")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


class NotTomlError(ValueError):
    """``reason`` without a place, and the ``line`` of it."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(f"line {line}: {reason}")
        self.reason = reason
        self.line = line


@dataclass(frozen=True, slots=True)
class TomlText:
    """``table`` is what the text says, ``lines`` where each of its keys stands."""

    table: dict[str, Any] = field(default_factory=dict)
    lines: Mapping[KeyPath, int] = field(default_factory=dict)

    def line(self, *path: str | int) -> int | None:
        """That of a key, else of the nearest table around it."""
        for length in range(len(path), 0, -1):
            if found := self.lines.get(path[:length]):
                return found
        return None


@dataclass(frozen=True, slots=True)
class Edit:
    """One key to be set in a file, its tables made where they are missing; ``remove``: to be taken out."""

    path: tuple[str, ...]
    value: Any = None
    remove: bool = False

    def __str__(self) -> str:
        return f"{'remove' if self.remove else 'set'} {dotted(self.path)}"


def parse(data: bytes) -> TomlText:
    """What ``data`` says. Raises :class:`NotTomlError`."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotTomlError(sentence("it is not UTF-8"), data.count(b"\n", 0, error.start) + 1) from error
    if match := _LONG_KEY.search(text):
        raise NotTomlError(sentence("a key has more than 32 parts"), text.count("\n", 0, match.start()) + 1)
    if text.startswith("\ufeff"):
        raise NotTomlError(sentence("it begins with a byte order mark"), 1)
    try:
        return TomlText(tomllib.loads(text), key_lines(text))
    except tomllib.TOMLDecodeError as error:
        match = _PLACE.search(str(error))
        line = int(match["line"]) if match and match["line"] else text.rstrip().count("\n") + 1
        reason = printable(_PLACE.sub("", str(error)), characters_max=200)
        reason = sentence("{parsers_words}", parsers_words=f"{reason[:1].lower()}{reason[1:]}")
        raise NotTomlError(reason, line) from error
    except RecursionError as error:
        raise NotTomlError(sentence("it is nested without end"), 1) from error
    except ValueError as error:  # a number too long to convert
        raise NotTomlError(sentence("a number has thousands of digits"), 1) from error


def edited(data: bytes, edits: Sequence[Edit]) -> bytes:
    """``data`` after ``edits``. Raises :class:`NotTomlError`, also for what cannot be changed so."""
    wanted = copy.deepcopy(parse(data).table)
    for edit in edits:
        _on_table(wanted, edit)
    text = data.decode("utf-8")
    line_end = "\r\n" if "\r\n" in text else "\n"
    for edit in edits:
        text = _on_text(text, edit, line_end)
        _check(text, edit)
    if line_end == "\r\n":
        text = re.sub(r"\r*\n", "\r\n", text)
    new = text.encode("utf-8")
    if _without_empty(parse(new).table) != _without_empty(wanted):
        raise NotTomlError(sentence("its keys are written in a way that cannot be changed one by one"), 1)
    return new


def value_text(value: object) -> str:
    """``value`` as it is written behind a key, on one line; a table in braces."""
    if isinstance(value, Mapping):
        inside = ", ".join(f"{dotted([str(key)])} = {value_text(below)}" for key, below in value.items())
        return f"{{ {inside} }}"
    return tomlkit.item(value).as_string()


def _check(text: str, edit: Edit) -> None:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise NotTomlError(
            sentence("{key} cannot be changed as it is written", key=dotted(edit.path)), 1
        ) from error


def dotted(path: Sequence[str]) -> str:
    """``plugins."io.containerd.grpc.v1.cri".registry``."""
    return ".".join(part if _BARE.fullmatch(part) else _quoted(part) for part in path)


def _quoted(part: str) -> str:
    return tomlkit.string(part).as_string()


def _on_table(table: dict[str, Any], edit: Edit) -> None:
    """The same on plain values."""
    *above, last = edit.path
    for part in above:
        below = table.get(part) if edit.remove else table.setdefault(part, {})
        if not isinstance(below, dict):
            return
        table = below
    if edit.remove:
        table.pop(last, None)
    else:
        table[last] = edit.value


def _without_empty(value: Any) -> Any:  # noqa: ANN401 - any TOML
    """Without tables that hold nothing: whether their header stands there is nothing to compare."""
    if not isinstance(value, dict):
        return value
    found = {key: _without_empty(below) for key, below in value.items()}
    return {key: below for key, below in found.items() if below != {}}


# -- the same on text -----------------------------------------------------------------------------


def _on_text(text: str, edit: Edit, line_end: str) -> str:
    """By lines where a header says whose they are, which keeps the comments round them; else by tomlkit."""
    lines = re.findall(r"[^\n]*\n|[^\n]+$", text)
    headers = {line - 1: path for line, path in header_lines(text).items()}
    if edit.remove:
        left = _without_tables(lines, headers, edit.path)
        new = "".join(lines if left is None else left)
        return new if not _has(new, edit.path) else _by_tomlkit(text, edit)
    if _has(text, edit.path):
        return _by_tomlkit(text, edit)
    return "".join(_with_key(lines, headers, edit, line_end))


def _without_tables(
    lines: list[str], headers: Mapping[int, KeyPath], path: tuple[str, ...]
) -> list[str] | None:
    """Without the tables at and below ``path``. What is below their last keys, blank or comment, belongs to
    whatever comes next, unless that goes as well."""
    starts = [*headers, len(lines)]
    goes = [*(headers[start][: len(path)] == path for start in starts[:-1]), False]
    gone: set[int] = set()
    for index, (start, end) in enumerate(itertools.pairwise(starts)):
        last = end
        while not goes[index + 1] and last > start + 1 and _is_blank(lines[last - 1]):
            last -= 1
        gone.update(range(start, last) if goes[index] else ())
    if not gone:
        return None
    left = [index for index in range(len(lines)) if index not in gone]
    doubled = {
        index
        for before, index in itertools.pairwise(left)
        if index - before > 1 and not lines[before].strip() and not lines[index].strip()
    }
    return [lines[index] for index in left if index not in doubled]


def _is_blank(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _with_key(lines: list[str], headers: Mapping[int, KeyPath], edit: Edit, line_end: str) -> list[str]:
    *above, last = edit.path
    pair = f"{dotted([last])} = {value_text(edit.value)}{line_end}"
    if lines and not lines[-1].endswith("\n"):
        lines = [*lines[:-1], lines[-1] + line_end]
    if not above:
        at = next((n for n, line in enumerate(lines) if not _is_blank(line)), len(lines))
        return [*lines[:at], pair, *lines[at:]]
    own = next((n for n, path in headers.items() if path == tuple(above)), None)
    if own is not None:
        indent = _indent(lines[own])
        below = next((line for line in lines[own + 1 : own + 2] if not _is_blank(line)), "[")
        inner = f"{indent}  " if below.lstrip().startswith("[") else _indent(below)
        return [*lines[: own + 1], f"{inner}{pair}", *lines[own + 1 :]]
    child = next((n for n, path in headers.items() if path[: len(above)] == tuple(above)), None)
    if child is not None:
        indent = _indent(lines[child])
        new = [f"{indent}[{dotted(above)}]{line_end}", f"{indent}  {pair}"]
        return [*lines[:child], *new, *lines[child:]]
    space = [line_end] if lines and lines[-1].strip() else []
    return [*lines, *space, f"[{dotted(above)}]{line_end}", f"  {pair}"]


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _has(text: str, path: tuple[str, ...]) -> bool:
    found: Any = tomllib.loads(text)
    for part in path:
        if not isinstance(found, dict) or part not in found:
            return False
        found = found[part]
    return True


def _by_tomlkit(text: str, edit: Edit) -> str:
    *above, last = edit.path
    try:
        document = tomlkit.parse(text)
        parent: Any = document
        for part in above:
            if part not in parent:
                return text
            parent = parent[part]
        if not edit.remove:
            parent[last] = edit.value
        elif last in parent:
            del parent[last]
        return document.as_string()
    except (TOMLKitError, AttributeError, TypeError, ValueError) as error:
        raise NotTomlError(
            sentence("{key} cannot be changed as it is written", key=dotted(edit.path)), 1
        ) from error
