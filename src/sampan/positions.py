"""Where each key of a TOML text stands: path of the key -> line.

It reads only text that :mod:`tomllib` has already accepted, so it guarantees nothing about other
text and checks no grammar: it follows headers, keys, arrays and inline tables, and skips the rest.
"""

from __future__ import annotations

import bisect
import re
import tomllib

KeyPath = tuple[str | int, ...]
"""``("registry", "docker.io", "mirrors", 0, "url")``: names of keys, and positions in arrays."""

_BLANK = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
_KEY_PART = re.compile(r'"(?:[^"\\\n]|\\.)*+"|\'[^\'\n]*+\'|[A-Za-z0-9_-]++')
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*+"|\'[^\'\n]*+\'', re.DOTALL
)
_OTHER_VALUE = re.compile(r"[^,\]}#\n]++")


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line, counted from 1, of every key, table and array item in ``text``, a valid document."""
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


def header_lines(text: str) -> dict[int, KeyPath]:
    """The path of the table whose header stands on a line, by that line; ``text`` is a valid document."""
    scanner = _Scanner(text)
    scanner.document()
    return scanner.headers


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[KeyPath, int] = {}
        self.headers: dict[int, KeyPath] = {}
        self._line_ends = [match.start() for match in re.finditer("\n", text)]
        self._tables_seen: dict[KeyPath, int] = {}  # arrays of tables: how many items so far

    def document(self) -> None:
        table: KeyPath = ()
        while self._next() != "":
            if self._next() == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> KeyPath:
        of_array = self.text.startswith("[[", self.at)
        line = self._line()
        self.at += 2 if of_array else 1
        path: KeyPath = ()
        for part in self._key():
            path = self._inside_last_item((*path, part))
            self.lines.setdefault(path, line)
        self._next()
        self.at += 2 if of_array else 1
        if of_array:
            path = self._new_item(path)
            self.lines[path] = line
        self.headers[line] = path
        return path

    def _inside_last_item(self, path: KeyPath) -> KeyPath:
        """``[a.b]`` after ``[[a]]`` means the ``b`` of the last ``a``; the array itself has no index yet."""
        parent = path[:-1]
        if parent in self._tables_seen:
            return (*parent, self._tables_seen[parent] - 1, path[-1])
        return path

    def _new_item(self, path: KeyPath) -> KeyPath:
        index = self._tables_seen.get(path, 0)
        self._tables_seen[path] = index + 1
        return (*path, index)

    def _pair(self, table: KeyPath) -> None:
        path, line = table, self._line()
        for part in self._key():
            path = (*path, part)
            self.lines.setdefault(path, line)
        self._next()
        self.at += 1  # the equals sign
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        character = self._next()
        if character == "[":
            self._array(path)
        elif character == "{":
            self._inline_table(path)
        else:
            match = (_STRING if character in "\"'" else _OTHER_VALUE).match(self.text, self.at)
            self.at = match.end() if match else len(self.text)

    def _array(self, path: KeyPath) -> None:
        self.at += 1
        index = 0
        while self._next() not in ("]", ""):
            self.lines[(*path, index)] = self._line()
            self._value((*path, index))
            index += 1
            if self._next() == ",":
                self.at += 1
        self.at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self.at += 1
        while self._next() not in ("}", ""):
            self._pair(path)
            if self._next() == ",":
                self.at += 1
        self.at += 1

    def _key(self) -> list[str]:
        parts: list[str] = []
        while self._next() and (match := _KEY_PART.match(self.text, self.at)):
            parts.append(_plain(match.group()))
            self.at = match.end()
            if self._next() == ".":
                self.at += 1
            else:
                break
        return parts

    def _next(self) -> str:
        """Skip blanks and comments; the character that stands there then, empty at the end."""
        match = _BLANK.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.text[self.at : self.at + 1]

    def _line(self) -> int:
        return bisect.bisect_left(self._line_ends, self.at) + 1


def _plain(part: str) -> str:
    """A part of a key without its quotes and escapes."""
    return str(tomllib.loads(f"key = {part}")["key"]) if part[0] in "\"'" else part
