"""TOML files of others: read with the line of every key, and changed key by key.

Guarantees that what is written parses to what was there with just those keys changed, and that everything
else of it (comments, order, the ends of lines) stays as it is. It knows no configuration file in particular.
"""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from sampan.errors import printable
from sampan.positions import KeyPath, key_lines

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


def parse(data: bytes) -> TomlText:
    """What ``data`` says. Raises :class:`NotTomlError`."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotTomlError("it is not UTF-8", data.count(b"\n", 0, error.start) + 1) from error
    if match := _LONG_KEY.search(text):
        raise NotTomlError("a key has more than 32 parts", text.count("\n", 0, match.start()) + 1)
    if text.startswith("\ufeff"):
        raise NotTomlError("it begins with a byte order mark", 1)
    try:
        return TomlText(tomllib.loads(text), key_lines(text))
    except tomllib.TOMLDecodeError as error:
        match = _PLACE.search(str(error))
        line = int(match["line"]) if match and match["line"] else text.rstrip().count("\n") + 1
        reason = printable(_PLACE.sub("", str(error)), characters_max=200)
        raise NotTomlError(f"{reason[:1].lower()}{reason[1:]}", line) from error
    except RecursionError as error:
        raise NotTomlError("it is nested without end", 1) from error
    except ValueError as error:  # a number too long to convert
        raise NotTomlError("a number has thousands of digits", 1) from error


def edited(data: bytes, edits: Sequence[Edit]) -> bytes:
    """``data`` after ``edits``. Raises :class:`NotTomlError`, also for what cannot be changed so."""
    wanted = copy.deepcopy(parse(data).table)
    for edit in edits:
        _on_table(wanted, edit)
    text = data.decode("utf-8")
    line_end = "\r\n" if "\r\n" in text else "\n"
    for edit in edits:
        text = _on_text(text, edit, line_end)
    if line_end == "\r\n":
        text = re.sub(r"\r*\n", "\r\n", text)
    new = text.encode("utf-8")
    if _without_empty(parse(new).table) != _without_empty(wanted):
        raise NotTomlError("its keys are written in a way that cannot be changed one by one", 1)
    return new


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


def _on_text(text: str, edit: Edit, line_end: str) -> str:
    *above, last = edit.path
    try:
        document = tomlkit.parse(text)
        parent: Any = document
        for part in above:
            if part not in parent:
                return text if edit.remove else _appended(text, edit, line_end)
            parent = parent[part]
        if edit.remove and last in parent:
            del parent[last]
        elif not edit.remove and not above and last not in parent:
            return _prepended(text, edit, line_end)
        elif not edit.remove:
            parent[last] = edit.value
        return document.as_string()
    except (TOMLKitError, AttributeError, TypeError, ValueError) as error:
        raise NotTomlError(f"{dotted(edit.path)} cannot be changed as it is written", 1) from error


def _appended(text: str, edit: Edit, line_end: str) -> str:
    """With a table of its own at the end, which is valid wherever the table is not there yet."""
    *above, last = edit.path
    value = tomlkit.item(edit.value).as_string()
    between = "" if not text else line_end if text.endswith("\n") else line_end * 2
    return f"{text}{between}[{dotted(above)}]{line_end}  {dotted([last])} = {value}{line_end}"


def _prepended(text: str, edit: Edit, line_end: str) -> str:
    """With a key of the whole file before all tables, behind the comment that the file begins with."""
    lines = text.splitlines(keepends=True)
    at = next((n for n, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")), None)
    if at is None:
        at = len(lines)
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += line_end
    value = tomlkit.item(edit.value).as_string()
    return "".join([*lines[:at], f"{dotted(edit.path)} = {value}{line_end}", *lines[at:]])
