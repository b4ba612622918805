"""From bytes to a document that has the shape of the schema, or an error that says where it does not.

It guarantees bounded work on any bytes: size, nesting and the length of keys have limits. It reads no
meaning into values.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec

from sampan.config.check import check
from sampan.config.problems import Problems
from sampan.config.schema import File, Table
from sampan.errors import ConfigError, printable

AnyTable = TypeVar("AnyTable", bound=Table)

FILE_BYTES_MAX = 1024 * 1024  # a configuration of a thousand mirrors is a tenth of this
# The parser's time grows with the square of a key's parts; our longest key has six.
_LONG_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){32}""")
_PLACE = re.compile(r" \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$")
_DUPLICATE = re.compile(r"Cannot overwrite a value|Cannot declare|Cannot mutate|Duplicate inline table key")


def read_text(
    path: Path,
    *,
    what: str = "configuration",
    hint: str = "name another file with --config FILE",
    bytes_max: int = FILE_BYTES_MAX,
) -> str:
    """The text of the file at ``path``; ``what`` it is, and the ``hint``, are for the error.

    Raises :class:`ConfigError` when it cannot be one of ours.
    """
    try:
        with path.open("rb") as file:
            data = file.read(bytes_max + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"cannot read the {what} {path}: {reason}", hint=hint) from error
    return decode(data, str(path), bytes_max=bytes_max)


def decode(data: bytes, name: str, *, bytes_max: int = FILE_BYTES_MAX) -> str:
    """``data`` as text: UTF-8 without a byte order mark, at most ``bytes_max``."""
    if len(data) > bytes_max:
        raise ConfigError(
            f"{name}: expected at most {bytes_max} bytes, got more", hint="is it the right file?"
        )
    if data.startswith(b"\xef\xbb\xbf"):
        raise ConfigError(
            f"{name}:1: expected plain UTF-8, got a byte order mark",
            hint="save the file as UTF-8 without BOM",
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{name}:{line}: expected UTF-8 text, got the byte 0x{data[error.start]:02x}",
            hint="save the file as UTF-8",
        ) from error


def read_document(text: str, name: str) -> tuple[File, Problems]:
    """The document in ``text``, and where to report what is wrong with its values.

    Raises :class:`ConfigError` for a syntax error, or with every unknown key and wrong type at once.
    """
    return read_table(text, name, File)


def read_table(text: str, name: str, table: type[AnyTable]) -> tuple[AnyTable, Problems]:
    """:func:`read_document` for a file of another shape, all of it one ``table``."""
    document = _parse_toml(text, name)
    problems = Problems(name, text)
    check(document, problems, table)
    problems.raise_any()
    try:
        return msgspec.convert(document, table), problems
    except msgspec.ValidationError as error:  # the check above knows less than msgspec: still no traceback
        raise ConfigError(f"{name}: {error}") from error


def _parse_toml(text: str, name: str) -> dict[str, Any]:
    if match := _LONG_KEY.search(text):
        line = text.count("\n", 0, match.start()) + 1
        raise ConfigError(f"{name}:{line}: expected a key of a few parts, got one of more than 32")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        _raise_syntax_error(error, text, name)
    except RecursionError as error:
        raise ConfigError(f"{name}: expected arrays in a few levels, got a nesting without end") from error
    except ValueError as error:  # a number too long to convert
        raise ConfigError(f"{name}: expected numbers of a few digits, got thousands of digits") from error


def _raise_syntax_error(error: tomllib.TOMLDecodeError, text: str, name: str) -> NoReturn:
    message = str(error)
    match = _PLACE.search(message)
    line = int(match["line"]) if match and match["line"] else text.rstrip().count("\n") + 1
    column = f":{match['column']}" if match and match["column"] else ""
    reason = printable(_PLACE.sub("", message))
    hint = "is a quote, a bracket or a comma missing?"
    if _DUPLICATE.match(message):
        key = printable(text.splitlines()[line - 1].partition("=")[0].strip(), characters_max=60)
        reason, hint = (
            f"{key}: expected each key and table once, got a duplicate ({reason})",
            "remove one of the two",
        )
    raise ConfigError(f"{name}:{line}{column}: {reason[:1].lower()}{reason[1:]}", hint=hint) from error
