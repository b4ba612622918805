"""A JSON document from a stranger, read without trust.

Guarantees that whatever the bytes are, the answer is a :class:`Document` or :class:`InvalidManifest` whose
message names the place (``layers[0].size: expected an integer, got a string``), in time and memory bounded
by the length of the bytes. It knows JSON and nothing of manifests.
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from sampan.errors import InvalidManifest, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Opening brackets and commas, that is: values. A bracket costs sixty times the memory of its text, a number
# a call. The largest index allowed needs some 30,000.
VALUES_MAX = 100_000
NUMBER_CHARACTERS_MAX = 40  # no field of a manifest needs more than 19; int() takes quadratic time

# Two readers may each believe another of two equal keys, and some readers ignore case.
UNIQUE_KEYS = frozenset(
    (
        "schemaversion",
        "mediatype",
        "manifests",
        "layers",
        "config",
        "digest",
        "size",
        "subject",
        "artifacttype",
        "platform",
    )
)
_NOTHING: Mapping[str, str] = MappingProxyType({})


class Document:
    """One JSON object and its path from the root. Each method reads one field of it."""

    __slots__ = ("_fields", "path")

    def __init__(self, fields: dict[str, Any], path: str = "") -> None:
        self._fields = fields
        self.path = path

    def __contains__(self, key: str) -> bool:
        """Is the field there at all, be it ``null``?"""
        return key in self._fields

    def text(self, key: str) -> str:
        """A string that must be there."""
        return self._text(self._required(key), self._at(key))

    def optional_text(self, key: str) -> str | None:
        """A string; None where it is absent or null."""
        value = self._fields.get(key)
        return None if value is None else self._text(value, self._at(key))

    def integer(self, key: str) -> int:
        """An integer that must be there; ``true`` and ``1.0`` are none."""
        value = self._required(key)
        if type(value) is not int:
            _wrong_type(self._at(key), "an integer", value)
        return value

    def document(self, key: str) -> Document:
        """An object that must be there."""
        return self._document(self._required(key), self._at(key))

    def optional_document(self, key: str) -> Document | None:
        """An object; None where it is absent or null."""
        value = self._fields.get(key)
        return None if value is None else self._document(value, self._at(key))

    def documents(self, key: str, *, count_max: int) -> Iterator[Document]:
        """A list of objects that must be there, at most ``count_max`` long."""
        values = self._list(self._required(key), key)
        if len(values) > count_max:
            self.refuse(key, f"expected at most {count_max} entries, got {len(values)}")
        return (self._document(value, f"{self._at(key)}[{i}]") for i, value in enumerate(values))

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings; empty where it is absent or null."""
        value = self._fields.get(key)
        if value is None:
            return ()
        return tuple(
            self._text(text, f"{self._at(key)}[{i}]") for i, text in enumerate(self._list(value, key))
        )

    def mapping(self, key: str) -> Mapping[str, str]:
        """An object of strings; empty where it is absent or null. Not fit to be printed."""
        inner = self.optional_document(key)
        if inner is None or not inner._fields:
            return _NOTHING
        for name, value in inner._fields.items():
            place = f'{inner.path}["{printable(name, characters_max=60)}"]'
            self._text(name, place)
            self._text(value, place)
        return MappingProxyType(inner._fields)

    def refuse(self, key: str, reason: str) -> NoReturn:
        """Raise :class:`InvalidManifest` for the field ``key``."""
        raise InvalidManifest(f"{self._at(key)}: {reason}")

    def _at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def _required(self, key: str) -> object:
        if key not in self._fields:
            self.refuse(key, "required, but it is absent")
        return self._fields[key]

    def _list(self, value: object, key: str) -> list[Any]:
        if not isinstance(value, list):
            _wrong_type(self._at(key), "a list", value)
        return value

    @staticmethod
    def _document(value: object, path: str) -> Document:
        if not isinstance(value, dict):
            _wrong_type(path, "an object", value)
        return Document(value, path)

    @staticmethod
    def _text(value: object, path: str) -> str:
        if not isinstance(value, str):
            _wrong_type(path, "a string", value)
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise InvalidManifest(f"{path}: half a character (a lone surrogate)")
        return value


def nothing() -> Mapping[str, str]:
    """The empty mapping, for defaults: one for all, since nobody can write into it."""
    return _NOTHING


def parse_document(raw: bytes) -> Document:
    """``raw`` as the one JSON object that it holds. The caller has bounded its length."""
    if raw.startswith(b"\xef\xbb\xbf"):
        raise InvalidManifest("not JSON: it begins with a byte order mark")
    if sum(map(raw.count, (b"{", b"[", b","))) > VALUES_MAX:
        raise InvalidManifest(f"not a manifest: more than {VALUES_MAX} values")
    try:
        value = _DECODER.decode(raw.decode())
    except UnicodeDecodeError as error:
        raise InvalidManifest(f"not JSON: invalid UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise InvalidManifest(
            f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    except RecursionError:  # without its hundreds of frames as cause
        raise InvalidManifest("not a manifest: nested too deeply") from None
    if not isinstance(value, dict):
        raise InvalidManifest(f"expected a JSON object, got {_kind(value)}")
    return Document(value)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    folded = [key.lower() for key, _ in pairs]
    if len(set(folded)) != len(folded):
        for key in UNIQUE_KEYS.intersection(folded):
            if folded.count(key) > 1:
                raise InvalidManifest(
                    f"duplicate key: {key} is there {folded.count(key)} times in one object"
                )
    return fields


def _integer(text: str) -> int:
    _check_length(text)
    return int(text)


def _float(text: str) -> float:
    _check_length(text)
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise InvalidManifest(f"a number out of range: {text}")
    return value


def _constant(text: str) -> NoReturn:
    raise InvalidManifest(f"not JSON: {text} is no number")


def _check_length(text: str) -> None:
    if len(text) > NUMBER_CHARACTERS_MAX:
        raise InvalidManifest(f"a number of {len(text)} characters, the limit is {NUMBER_CHARACTERS_MAX}")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)
_KINDS = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    list: "a list",
    dict: "an object",
}


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "null")


def _wrong_type(path: str, expected: str, value: object) -> NoReturn:
    raise InvalidManifest(f"{path}: expected {expected}, got {_kind(value)}")
