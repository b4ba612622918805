"""YAML files of others: read, and changed key by key.

Guarantees that what is written parses to what was there with just those keys changed, that every line which
is a comment is still there, and that order, quotes, indentation and the ends of lines stay. It knows no
configuration file in particular.
"""

from __future__ import annotations

import io
import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import CommentMark, MarkedYAMLError, YAMLError, YAMLWarning
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent
from ruamel.yaml.scalarstring import DoubleQuotedScalarString
from ruamel.yaml.tokens import CommentToken

from sampan.runtimes.toml_text import Edit
from sampan.words import sentence

YAML_BYTES_MAX = 128 * 1024  # a file of mirrors has some hundred bytes, and the parser takes its time
ALIASES_MAX = 50  # of aliases of aliases a small file can make what no memory holds
DEPTH_MAX = 30  # registries.yaml has four levels
LINE_CHARACTERS_MAX = 10_000  # no line is folded
_COMMENT = re.compile(r"^[ \t]*#.*$", re.MULTILINE)
_SEQUENCE = re.compile(
    r"^(?P<key> *)[^\s#-].*:[ \t]*\n(?:[ \t]*(?:#.*)?\n)*(?P<dash> *)-(?P<gap> +)\S", re.MULTILINE
)
_MAPPING = re.compile(r"^[^\s#-].*:[ \t]*\n(?:[ \t]*(?:#.*)?\n)*(?P<below> +)[^\s#-]", re.MULTILINE)


class NotYamlError(ValueError):
    """``reason`` without a place, and the ``line`` of it."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(f"line {line}: {reason}" if line else reason)
        self.reason = reason
        self.line = line


@dataclass(frozen=True, slots=True)
class YamlText:
    """``table`` is what the text says, empty for an empty text."""

    table: Mapping[str, Any] = field(default_factory=dict)

    def line(self, *path: str) -> int | None:
        """Where the key at the end of ``path`` stands."""
        table: Any = self.table
        for part in path[:-1]:
            table = table.get(part) if isinstance(table, dict) else None
        if not isinstance(table, CommentedMap) or path[-1] not in table:
            return None
        return int(table.lc.key(path[-1])[0]) + 1

    def section(self, *path: str) -> Mapping[str, Any]:
        """The mapping at ``path``, empty where there is none. Raises :class:`NotYamlError`."""
        table: Any = self.table
        for depth, part in enumerate(path):
            table = table.get(part)
            if table is None:
                return {}
            if not isinstance(table, dict):
                raise NotYamlError(
                    sentence("{part}: expected keys below it", part=part), self.line(*path[: depth + 1])
                )
        return dict(table)


def parse(data: bytes) -> YamlText:
    """What ``data`` says. Raises :class:`NotYamlError`."""
    text = _text(data)
    try:
        _check_size(text)
        with warnings.catch_warnings():
            warnings.simplefilter("error", YAMLWarning)  # an anchor twice: what it means is anybody's guess
            found = _yaml(text).load(text)
    except NotYamlError:
        raise
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = sentence("{parsers_words}", parsers_words=error.problem or sentence("it does not parse"))
        raise NotYamlError(reason, mark and mark.line + 1) from error
    except (YAMLError, YAMLWarning, ValueError, RecursionError) as error:
        raise NotYamlError(sentence("it does not parse")) from error
    if found is None:
        return YamlText()
    if not isinstance(found, CommentedMap):
        raise NotYamlError(sentence("expected keys and values"), 1)
    return YamlText(found)


def edited(data: bytes, edits: Sequence[Edit]) -> bytes:
    """``data`` after ``edits``. Raises :class:`NotYamlError`, also for what cannot be changed so."""
    parsed, text = parse(data), _text(data)
    wanted = _plain(parsed.table)
    document = parsed.table if isinstance(parsed.table, CommentedMap) else CommentedMap()
    for edit in edits:
        _on_plain(wanted, edit)
        _on_document(document, edit)
    if _plain(parse(data).table) == wanted:
        return data
    new = _dumped(document, text)
    if "\r\n" in data.decode():
        new = new.replace("\n", "\r\n")
    if _plain(parse(new.encode()).table) != wanted:
        raise NotYamlError(sentence("its keys are written in a way that cannot be changed one by one"))
    lost = Counter(map(str.strip, _COMMENT.findall(text))) - Counter(map(str.strip, _COMMENT.findall(new)))
    if lost:
        raise NotYamlError(
            sentence("it cannot be changed without losing a comment: {comment}", comment=min(lost)[:60])
        )
    return new.encode()


def _check_size(text: str) -> None:
    """Raises :class:`NotYamlError` for what would take long, or much memory, to put together."""
    aliases = depth = 0
    for event in _yaml(text).parse(text):  # one by one: it is not read on behind what is too deep
        aliases += isinstance(event, AliasEvent)
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > DEPTH_MAX:
            raise NotYamlError(sentence("it is nested without end"), event.start_mark.line + 1)
    if aliases > ALIASES_MAX:
        raise NotYamlError(
            sentence(
                "expected at most {limit} aliases, got {aliases}",
                limit=ALIASES_MAX,
                aliases=aliases,
            )
        )


def _text(data: bytes) -> str:
    if len(data) > YAML_BYTES_MAX:
        raise NotYamlError(sentence("expected at most {size} KiB, got more", size=YAML_BYTES_MAX // 1024))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotYamlError(sentence("it is not UTF-8"), data.count(b"\n", 0, error.start) + 1) from error
    if text.startswith("\ufeff"):
        raise NotYamlError(sentence("it begins with a byte order mark"), 1)
    return text.replace("\r\n", "\n")


def _yaml(text: str) -> YAML:
    """A reader and writer in the manner of ``text``."""
    yaml = YAML(typ="rt", pure=True)
    yaml.preserve_quotes = True
    yaml.width = LINE_CHARACTERS_MAX
    yaml.explicit_start = text.startswith("---")
    mapping, sequence = _MAPPING.search(text), _SEQUENCE.search(text)
    offset, gap = 2, 1
    if sequence is not None:
        offset = max(0, len(sequence["dash"]) - len(sequence["key"]))
        gap = len(sequence["gap"])
    yaml.indent(mapping=len(mapping["below"]) if mapping else 2, sequence=offset + 1 + gap, offset=offset)
    return yaml


def _dumped(document: CommentedMap, text: str) -> str:
    stream = io.StringIO()
    _yaml(text).dump(document, stream)
    if document.ca.comment is None and not parse(text.encode()).table and text.strip():
        return f"{text.rstrip()}\n{stream.getvalue()}"  # comments alone belong to no key
    return stream.getvalue()


def _on_plain(table: dict[str, Any], edit: Edit) -> None:
    *above, last = edit.path
    for part in above:
        if not isinstance(table.get(part), dict):
            if edit.remove:
                return
            table[part] = {}
        table = table[part]
    if edit.remove:
        table.pop(last, None)
    else:
        table[last] = edit.value


def _on_document(table: CommentedMap, edit: Edit) -> None:
    *above, last = edit.path
    for depth, part in enumerate(above):
        if not isinstance(table.get(part), CommentedMap):
            if edit.remove:
                return
            following = _take_following(table) if part not in table else None
            table[_key(part)] = CommentedMap()
            _on_document(table[part], replace(edit, path=edit.path[depth + 1 :]))
            _put_following(table[part], following)
            return
        table = table[part]
    old = table.get(last)
    if edit.remove:
        table.pop(last, None)
    elif isinstance(old, CommentedSeq) and isinstance(edit.value, list):
        _fill(old, edit.value)
    else:
        following = _take_following(table) if last not in table else None
        table[_key(last)] = CommentedSeq(edit.value) if isinstance(edit.value, list) else edit.value
        _put_following(table, following)


def _take_following(table: CommentedMap) -> str | None:
    """The lines of comment behind all of ``table``, which are about what comes next; taken out of it."""
    node, key = _last(table)
    token = _token(node, key)
    if token is None:
        return None
    here, _, following = token.value.partition("\n")
    if "#" not in following:
        return None
    if here.strip():
        token.value = f"{here}\n"
    else:
        del node.ca.items[key]
    return str(following)


def _put_following(table: CommentedMap, following: str | None) -> None:
    node, key = _last(table)
    if following is not None and node is not None:
        token = CommentToken(f"\n{following}", CommentMark(0), None)
        node.ca.items[key] = [None, None, token, None] if isinstance(node, CommentedMap) else [token, None]


def _last(table: CommentedMap) -> tuple[Any, Any]:
    """What comes last of all in ``table``: the innermost mapping or sequence, and its last key."""
    node: Any = table
    found: tuple[Any, Any] = (None, None)
    while isinstance(node, CommentedMap | CommentedSeq) and node:
        key = len(node) - 1 if isinstance(node, CommentedSeq) else next(reversed(node))
        found = (node, key)
        node = node[key]
    return found


def _token(node: Any, key: Any) -> Any:  # noqa: ANN401 - of ruamel
    comments = None if node is None else node.ca.items.get(key)
    return comments and comments[2 if isinstance(node, CommentedMap) else 0]


def _fill(sequence: CommentedSeq, values: Sequence[str]) -> None:
    """Other items, with the comments of those that stay; what follows the last one follows the new last."""
    comments = dict(sequence.ca.items)
    following = comments.pop(len(sequence) - 1, None)
    by_value = {sequence[index]: comment for index, comment in comments.items()}
    last = sequence[-1] if sequence else None
    sequence.ca.items.clear()
    del sequence[:]
    sequence.extend(values)
    for index, value in enumerate(values[:-1]):
        if value in by_value:
            sequence.ca.items[index] = by_value[value]
    if following is not None and values:
        sequence.ca.items[len(values) - 1] = following
    elif last in by_value and values:
        sequence.ca.items[len(values) - 1] = by_value[last]


def _key(text: str) -> str:
    """``*`` and what else means something to YAML in quotes, as people write it."""
    return text if re.fullmatch(r"[\w./-]+", text) else DoubleQuotedScalarString(text)


def _plain(value: Any) -> Any:  # noqa: ANN401 - any YAML
    if isinstance(value, dict):
        return {str(key): _plain(below) for key, below in value.items()}
    if isinstance(value, list):
        return [_plain(below) for below in value]
    return str(value) if isinstance(value, str) else value
