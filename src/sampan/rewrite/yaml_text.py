"""YAML as nodes that know where they stand in the text, so that a scalar can be replaced and nothing else.

Guarantees offsets into the very text that was given, whatever its line ends, byte order mark, anchors and
quoting, and an :class:`~sampan.errors.InvalidDocument` with the line for text that is not YAML. It reads no
meaning into scalars and builds no values. The only module of this package that knows the YAML library.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import ComposerError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from sampan.errors import InvalidDocument, printable
from sampan.rewrite.nodes import DEPTH_MAX, Alias, Mapping, Node, Scalar, Sequence
from sampan.rewrite.place import line_at

TEXT_CHARACTERS_MAX = 32 * 1024 * 1024  # a cluster's whole backup; the parser reads about 0.3 MB a second

_SEPARATOR = re.compile(r"^(?=---(?:[ \t\r\n]|\Z))", re.MULTILINE)  # allowed in no scalar: YAML 1.2, 9.1.2
_ENDLESS = re.compile("end of stream|stream end|could not find expected ':'")
_INNER_TAB = re.compile(r"(?<=[^\s])[ \t]*\t[ \t]*")
_DEFINITION = re.compile(r"^kind:[ ]+CustomResourceDefinition[ \t]*\r?$", re.MULTILINE)


def documents(text: str) -> Iterator[Node]:
    """The root of each document of ``text``, in order. Raises :class:`InvalidDocument`.

    A definition of a resource (CRD) is left out unread: nothing in it is an image, and it may be the most of
    what a chart renders to.
    """
    if len(text) > TEXT_CHARACTERS_MAX:
        raise InvalidDocument(f"expected at most {TEXT_CHARACTERS_MAX} characters, got {len(text)}", line=1)
    for start, end in _segments(text):
        if not _is_definition(text, start, end):
            yield from _read(text, start, end)


def _segments(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each document, with the directives that belong to it."""
    starts = [match.start() for match in _SEPARATOR.finditer(text)]
    begin = 0
    for start in [*(start for start in starts if start), len(text)]:
        if start == len(text) or not _ends_in_directives(text, begin, start):
            yield begin, start
            begin = start


def _ends_in_directives(text: str, begin: int, end: int) -> bool:
    """Whether the last lines, comments aside, are directives: they belong to the document that follows."""
    while end > begin:
        start = max(text.rfind("\n", begin, end - 1) + 1, begin)
        line = text[start:end].lstrip("\ufeff")
        if line.startswith("%"):
            return True
        if line.strip() and not line.lstrip().startswith("#"):
            return False
        end = start
    return False


def _is_definition(text: str, start: int, end: int) -> bool:
    return _DEFINITION.search(text, start, end) is not None


def _read(text: str, start: int, end: int) -> Iterator[Node]:
    builder = _Builder(start)
    try:
        for event in YAML(typ="safe", pure=True).parse(io.StringIO(_parseable(text[start:end]))):
            builder.take(event)
    except MarkedYAMLError as error:
        last = len(text[start:end].rstrip()) - 1  # what is missing at the end is missing behind that
        line = line_at(text, start + max(min(_index_of(error), last), 0))
        raise _invalid(str(error.problem or error.context), line, _hint(text, start, end)) from error
    except ReaderError as error:
        character = text[start + error.position]
        line = line_at(text, start + error.position)
        raise _invalid(f"a character that YAML does not allow: U+{ord(character):04X}", line) from error
    except (YAMLError, ValueError, OverflowError) as error:  # \\UFFFFFFFF is no character
        raise _invalid(str(error), line_at(text, start)) from error
    yield from builder.roots


def _parseable(text: str) -> str:
    """``text`` with a space for each tab that separates: Kubernetes' parser lets it, this one does not.

    A tab that indents stays, and is refused by both; one inside a scalar is in no image.
    """
    if "\t" not in text:
        return text
    return _INNER_TAB.sub(lambda match: " " * len(match[0]), text)


class _Builder:
    """Nodes out of the parser's events, whose marks count from ``offset``."""

    def __init__(self, offset: int) -> None:
        self.roots: list[Node] = []
        self._offset = offset
        self._open: list[Mapping | Sequence] = []
        self._keys: list[Node | None] = []  # of each open node: the key that waits for its value
        self._anchors: dict[str, Scalar | Sequence | Mapping] = {}

    def take(self, event: Any) -> None:  # noqa: ANN401 - the library's events have no common type
        """One event after the other, as the parser gives them."""
        start, end = event.start_mark.index + self._offset, event.end_mark.index + self._offset
        match event:
            case ScalarEvent():
                self._add(Scalar(event.value, start, end, event.style or ""), event.anchor)
            case AliasEvent():
                self._add_alias(event, start, end)
            case MappingStartEvent():
                self._begin(Mapping(start), event)
            case SequenceStartEvent():
                self._begin(Sequence(start), event)
            case MappingEndEvent() | SequenceEndEvent():
                self._open.pop().end = end
                self._keys.pop()
            case DocumentStartEvent():
                self._anchors = {}

    def _begin(self, node: Mapping | Sequence, event: Any) -> None:  # noqa: ANN401
        self._add(node, event.anchor)
        self._open.append(node)
        self._keys.append(None)
        if len(self._open) > DEPTH_MAX:
            raise ComposerError(None, None, f"nested more than {DEPTH_MAX} levels deep", event.start_mark)

    def _add_alias(self, event: Any, start: int, end: int) -> None:  # noqa: ANN401
        target = self._anchors.get(event.anchor)
        if target is None:
            raise ComposerError(None, None, f"undefined alias {event.anchor}", event.start_mark)
        self._place(Alias(target, start, end))

    def _add(self, node: Scalar | Sequence | Mapping, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        self._place(node)

    def _place(self, node: Node) -> None:
        if not self._open:
            self.roots.append(node)
            return
        parent = self._open[-1]
        if isinstance(parent, Sequence):
            parent.items.append(node)
        elif self._keys[-1] is None:
            self._keys[-1] = node
        else:
            parent.pairs.append((self._keys[-1], node))
            self._keys[-1] = None


def _index_of(error: MarkedYAMLError) -> int:
    """Where to look: what does not end is wrong where it begins. Not by the mark's line: to the library a
    carriage return alone ends one."""
    endless = _ENDLESS.search(str(error.problem)) is not None
    mark = (error.context_mark if endless else None) or error.problem_mark or error.context_mark
    return int(mark.index) if mark is not None else 0


def _hint(text: str, start: int, end: int) -> str | None:
    if text.find("{{", start, end) < 0:
        return None
    return "it has {{ … }}: a template is rewritten after it is rendered, as in helm template"


def _invalid(problem: str, line: int, hint: str | None = None) -> InvalidDocument:
    return InvalidDocument(f"not YAML: {printable(problem)}", line=line, hint=hint)
