"""What a mirror served since some day, by its log: deploy once, then bundle what was pulled.

Guarantees that only pulls that came to a good end count, whatever stands before a line (journald's stamp) and
whether the log is text or JSON. A pull by digest alone does not say whether that is a manifest or a blob:
whoever has the store can tell. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from sampan.errors import InvalidReference
from sampan.oci.reference import Reference

LINE_CHARACTERS_MAX = 64 * 1024  # a pull with fifty attempts has some 5 KiB
# As sampan.server.log writes it; the name has no spaces, whatever the client calls itself.
_TEXT = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) INFO pull (?P<name>\S+) by .*: ok, \d+ requests"
)
_LOGGER = "sampan.pull"


def pulled_since(lines: Iterable[str], since: datetime) -> Iterator[Reference]:
    """The references that were pulled at ``since`` (aware) or later, each once, in the order of the log."""
    seen: set[Reference] = set()
    for line in lines:
        if len(line) > LINE_CHARACTERS_MAX or (found := _pull(line)) is None or found[0] < since:
            continue
        reference = _reference(found[1])
        if reference is not None and reference not in seen:
            seen.add(reference)
            yield reference


def _pull(line: str) -> tuple[datetime, str] | None:
    """Time and name, when the line tells of a pull that went well."""
    start = line.find("{")
    if start >= 0 and f'"{_LOGGER}"' in line:
        return _of_json(line[start:])
    text = _TEXT.search(line)
    return (_moment(text["time"]), text["name"]) if text else None


def _of_json(text: str) -> tuple[datetime, str] | None:
    try:
        entry = json.loads(text)
        if entry["logger"] == _LOGGER and entry["outcome"] == "ok":
            return _moment(str(entry["time"])), str(entry["name"])
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    return None


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def _reference(name: str) -> Reference | None:
    """None for what names no image: a list of tags, a repository."""
    try:
        reference = Reference.parse(name, default_tag=None)
    except InvalidReference:
        return None
    return reference if reference.tag or reference.digest else None
