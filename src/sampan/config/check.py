"""Does a document have the shape of the schema? Every unknown key and wrong type, with its path.

msgspec answers the same question faster, but stops at the first mistake and forgets the names of
keys on the way. It guarantees that a document without problems here converts to the schema (a
property test holds both to that); it does not look at what values mean.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import cache
from typing import Any

import msgspec.inspect as shapes

from sampan.config.problems import Problems, dotted
from sampan.config.schema import File, Table
from sampan.errors import printable
from sampan.positions import KeyPath


def check(document: dict[str, Any], problems: Problems, table: type[Table] = File) -> None:
    """Add to ``problems`` everything in ``document`` that the schema ``table`` does not allow."""
    _check(document, _shape(table), (), problems)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """A hint naming the word that was probably meant, if any is near."""
    near = difflib.get_close_matches(word[:100], list(known), n=1, cutoff=0.6)
    return f'did you mean "{near[0]}"?' if near else None


@cache
def _shape(table: type[Table]) -> shapes.Type:
    return shapes.type_info(table)


def _check(value: object, shape: shapes.Type, path: KeyPath, problems: Problems) -> None:
    if problems.are_many:
        return
    member = next((member for member in _members(shape) if _accepts(member, value)), None)
    if member is None:
        problems.add(path, f"expected {_expected(shape)}, got {_got(value, shape)}")
    elif isinstance(member, shapes.StructType) and isinstance(value, dict):
        _check_table(value, member, path, problems)
    elif isinstance(member, shapes.DictType) and isinstance(value, dict):
        for key, item in value.items():
            _check(item, member.value_type, (*path, key), problems)
    elif isinstance(member, shapes.ListType) and isinstance(value, list):
        for index, item in enumerate(value):
            _check(item, member.item_type, (*path, index), problems)


def _check_table(
    table: dict[str, object], shape: shapes.StructType, path: KeyPath, problems: Problems
) -> None:
    fields = {field.encode_name: field for field in shape.fields}
    for key, value in table.items():
        if key in fields:
            _check(value, fields[key].type, (*path, key), problems)
        elif not problems.are_many:
            where = f"[{dotted(path)}]" if path else "the file"
            hint = nearest(key, fields) or _elsewhere(key) or f"known here: {', '.join(fields)}"
            problems.add((*path, printable(key)), f"expected a key of {where}, got an unknown one", hint)
    for name, field in fields.items():
        if field.required and name not in table:
            problems.add(path, f"expected the key {name}, got none")


def _elsewhere(key: str) -> str | None:
    """A hint for a key that is known, but in another table."""
    whole = _shape(File)
    for field in whole.fields if isinstance(whole, shapes.StructType) else ():
        if isinstance(field.type, shapes.StructType) and key in {f.encode_name for f in field.type.fields}:
            return f'"{key}" belongs in [{field.encode_name}]'
    return None


def _members(shape: shapes.Type) -> tuple[shapes.Type, ...]:
    return shape.types if isinstance(shape, shapes.UnionType) else (shape,)


def _accepts(shape: shapes.Type, value: object) -> bool:
    """Whether ``value`` is of that kind, not looking inside it."""
    match shape:
        case shapes.StructType() | shapes.DictType():
            return isinstance(value, dict)
        case shapes.ListType():
            return isinstance(value, list)
        case shapes.StrType():
            return isinstance(value, str)
        case shapes.BoolType():
            return isinstance(value, bool)
        case shapes.IntType():
            return isinstance(value, int) and not isinstance(value, bool)
        case shapes.LiteralType():
            return isinstance(value, str) and value in shape.values
    return False


def _expected(shape: shapes.Type) -> str:
    words = [_word(member) for member in _members(shape) if not isinstance(member, shapes.NoneType)]
    return " or ".join(words)


def _word(shape: shapes.Type) -> str:
    match shape:
        case shapes.StructType() | shapes.DictType():
            return "a table"
        case shapes.ListType():
            return "an array"
        case shapes.StrType():
            return "a string"
        case shapes.BoolType():
            return "true or false"
        case shapes.IntType():
            return "a whole number"
        case shapes.LiteralType():
            return " or ".join(f'"{value}"' for value in shape.values)
    return "something else"


def _got(value: object, shape: shapes.Type) -> str:
    """What stands there instead. Only where words are asked for, the word itself: it may be a secret."""
    if isinstance(value, str) and any(isinstance(m, shapes.LiteralType) for m in _members(shape)):
        return f'"{printable(value, characters_max=60)}"'
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return "a string"
        case int() | float():
            return "a number"
        case list():
            return "an array"
        case dict():
            return "a table"
    return "a date or time"
