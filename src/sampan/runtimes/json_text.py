"""A JSON object as text whose keys can be set one by one: everything else stays as it was, byte for byte.

Guarantees that a text which the strictest reader would refuse (comments, a byte order mark, a key twice, a
number that is none) is refused here too, with its line. It knows no configuration file in particular.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from sampan.words import sentence

INDENT = "  "
_SPACE = re.compile(r"[ \t\n\r]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"', re.DOTALL)


class NotJsonError(ValueError):
    """``reason`` without a place, and the ``line`` of it."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(f"line {line}: {reason}")
        self.reason = reason
        self.line = line


@dataclass(frozen=True, slots=True)
class Member:
    """A key and its value; the numbers are where in the text they begin and end."""

    value: Any
    key_start: int
    value_start: int
    value_end: int


@dataclass(frozen=True, slots=True)
class JsonObject:
    """``text`` and its outermost members, in their order; ``end`` is where its closing brace is."""

    text: str
    members: dict[str, Member]
    end: int

    @classmethod
    def parse(cls, data: bytes) -> JsonObject:
        """The object that ``data`` is. Raises :class:`NotJsonError`."""
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise NotJsonError(sentence("it is not UTF-8"), data.count(b"\n", 0, error.start) + 1) from error
        if text.startswith("\ufeff"):
            raise NotJsonError(sentence("it begins with a byte order mark"), 1)
        _check(text)
        return _scan(text)

    def get(self, key: str) -> Any:  # noqa: ANN401 - whatever stands there
        """The value of ``key``, None when it is absent."""
        member = self.members.get(key)
        return None if member is None else member.value

    def line(self, key: str) -> int | None:
        """Where ``key`` stands."""
        member = self.members.get(key)
        return None if member is None else self.text.count("\n", 0, member.key_start) + 1

    def with_key(self, key: str, value: Any) -> JsonObject:  # noqa: ANN401 - any JSON
        """The object with ``key`` set: in its place, else at the end. An equal value changes nothing."""
        member = self.members.get(key)
        if member is not None:
            if member.value == value:
                return self
            short = "\n" not in self.text[member.value_start : member.value_end]
            new = self._written(value, None if short else self._indent(member.key_start))
            return _scan(self.text[: member.value_start] + new + self.text[member.value_end :])
        return self._appended(key, value)

    def _appended(self, key: str, value: Any) -> JsonObject:  # noqa: ANN401
        last = max(self.members.values(), key=lambda m: m.value_end, default=None)
        if last is None:  # in the place of what was only space
            start = self.text.index("{") + 1
            new = f"\n{INDENT}{json.dumps(key)}: {self._written(value, INDENT)}\n"
            return _scan(self.text[:start] + new + self.text[self.end :])
        indent = self._indent(last.key_start)
        between = ", " if indent is None else f",{self._newline}{indent}"
        new = f"{between}{json.dumps(key)}: {self._written(value, indent)}"
        return _scan(self.text[: last.value_end] + new + self.text[last.value_end :])

    @property
    def _newline(self) -> str:
        return "\r\n" if "\r\n" in self.text else "\n"

    def _written(self, value: Any, indent: str | None) -> str:  # noqa: ANN401
        """``value`` on lines below its key, which is indented so; None: on one line."""
        if indent is None:
            return json.dumps(value, ensure_ascii=False)
        lines = json.dumps(value, indent=indent or INDENT, ensure_ascii=False).split("\n")
        return f"{self._newline}{indent}".join(lines)

    def _indent(self, position: int) -> str | None:
        """The space before the key at ``position``; None when it does not begin its line."""
        start = self.text.rfind("\n", 0, position) + 1
        before = self.text[start:position]
        return before if start and not before.strip(" \t") else None


def _check(text: str) -> None:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        for key in keys:
            if keys.count(key) > 1:
                at = text.rfind(json.dumps(key, ensure_ascii=False))
                raise NotJsonError(
                    sentence("the key {key} is there twice", key=json.dumps(key)), _line(text, max(at, 0))
                )
        return dict(pairs)

    def constant(name: str) -> NoReturn:
        raise NotJsonError(sentence("{name} is no number", name=name), _line(text, text.find(name)))

    try:
        found = json.loads(text, object_pairs_hook=once, parse_constant=constant)
    except json.JSONDecodeError as error:
        reason = sentence("{parsers_words}", parsers_words=f"{error.msg[:1].lower()}{error.msg[1:]}")
        raise NotJsonError(reason, error.lineno) from error
    except RecursionError as error:
        raise NotJsonError(sentence("it is nested without end"), 1) from error
    except NotJsonError:
        raise
    except ValueError as error:  # a number too long to convert
        raise NotJsonError(sentence("a number has thousands of digits"), 1) from error
    if not isinstance(found, dict):
        raise NotJsonError(sentence("expected an object, in braces"), 1)


def _scan(text: str) -> JsonObject:
    """Where the members of an object, known to be one, begin and end."""
    decoder = json.JSONDecoder()
    members: dict[str, Member] = {}
    at = _after_space(text, text.index("{") + 1)
    while text[at] != "}":
        key_start = at
        match = _STRING.match(text, at)
        assert match is not None
        at = _after_space(text, _after_space(text, match.end()) + 1)  # past the colon
        value, end = decoder.raw_decode(text, at)
        members[json.loads(match[0])] = Member(value, key_start, at, end)
        at = _after_space(text, end)
        if text[at] == ",":
            at = _after_space(text, at + 1)
    return JsonObject(text, members, at)


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None
    return match.end()


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
