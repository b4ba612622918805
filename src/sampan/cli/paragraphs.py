"""Text in lines of a given width, for a terminal: Chinese characters are two columns wide, and a line may end
beside any of them but before a comma.

Guarantees that no line is wider than asked, unless one word is; what stands between backticks is a word, so
that a command can be copied whole.
"""

from __future__ import annotations

import re
import shutil
import unicodedata
from collections.abc import Iterator

WIDTH_DEFAULT = 80
WIDTH_MAX = 100  # longer lines are hard to read
WIDTH_MIN = 40

_NEVER_FIRST = frozenset("，。：；、）！？」』”》…,.:;)!?")
_NEVER_LAST = frozenset("（「『“《(")
_WORD = re.compile(r"`[^`]*`|[^\s\u2e80-\u9fff\uff00-\uffef`]+|[\u2e80-\u9fff\uff00-\uffef]|\s+|`")


def width() -> int:
    """Of this terminal, as far as lines are readable; where there is none, the usual one."""
    return max(WIDTH_MIN, min(shutil.get_terminal_size((WIDTH_DEFAULT, 24)).columns, WIDTH_MAX))


def columns(text: str) -> int:
    """How wide a terminal shows ``text``."""
    return sum(_columns(character) for character in text)


def wrap(
    text: str, columns_max: int, *, first: str = "", rest: str = "", breaks_words: bool = False
) -> list[str]:
    """``text`` in lines of at most ``columns_max``, the first of which begins with ``first``, the others with
    ``rest``. ``breaks_words``: a word that is too long for a line goes on in the next."""
    words = _words(text)
    if breaks_words:
        words = _broken(words, columns_max - columns(rest))
    lines, line, blank = [], first, ""
    for word in words:
        if word.isspace():
            blank = "" if line in (first, rest) else " "
        elif line in (first, rest) or columns(line + blank + word) <= columns_max:
            line, blank = line + blank + word, ""
        else:
            lines.append(line)
            line, blank = rest + word, ""
    return [*lines, line]


def _broken(words: Iterator[str], columns_max: int) -> Iterator[str]:
    """Those that are too long in single characters."""
    for word in words:
        yield from word if columns(word) > columns_max else (word,)


def _words(text: str) -> Iterator[str]:
    """What a line must not break: words, single Chinese characters with the marks that cling to them."""
    held = ""
    for match in _WORD.finditer(text):
        word = match[0]
        if word.isspace():
            if held:
                yield held
            held = ""
            yield " "
        elif held and (word[0] in _NEVER_FIRST or held[-1] in _NEVER_LAST or not _breaks(held[-1], word[0])):
            held += word
        else:
            if held:
                yield held
            held = word
    if held:
        yield held


def _breaks(before: str, after: str) -> bool:
    """Whether a line may end between the two: beside any Chinese character."""
    return _columns(before) == 2 or _columns(after) == 2


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
