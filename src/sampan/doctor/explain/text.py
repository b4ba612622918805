"""A pasted text made readable: colours and frames gone, escapes undone, lines that belong together joined.

It guarantees work in proportion to the text and pieces of bounded size, whatever the text is; every
expression here has one way to match, or a limit on what it may run over. It understands nothing of what is
said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

TEXT_CHARACTERS_MAX = 1 << 20  # a day of a daemon's errors; the newest are at the end
PIECE_CHARACTERS_MAX = 8192  # the longest line of a daemon that was seen has 5 thousand
PIECE_OVERLAP_CHARACTERS = 1024  # a message on the seam of two pieces is whole in one of them
LINES_JOINED_MAX = 12
LINES_MAX = 20_000  # the newest; a message has one or two
WRAPPED_CHARACTERS_MIN = 60  # nobody's terminal is narrower

_ESCAPE = re.compile(r"\x1b(?:\[[0-?]{0,32}[ -/]{0,8}[@-~]|\][^\x07\x1b]{0,500}(?:\x07|\x1b\\)?|[@-Z\\-_])")
_COLOUR_LEFT_OVER = re.compile(
    r"\[\d{1,3}(?:;\d{1,3}){0,4}m"
)  # what is left where the escape itself was lost
_FRAME = re.compile("[\u2500-\u257f\u2502|]*[\u2500-\u257f][\u2500-\u257f|]*")
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_AS_TYPED = str.maketrans(
    {"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "：": ":", "\xa0": " ", "\t": " "}
)

# What begins a message of its own, whatever came before it.
_BEGINS = re.compile(
    r"""\s{0,40}(?:
      \d{4}[-/]\d\d[-/]\d\d[T ]
    | (?:time|ts)=
    | [A-Z][a-z]{2,3}\s[ \d]\d\s\d\d:\d\d
    | [IWEF]\d{4}\s
    | (?:DEBU|INFO|WARN|ERRO|FATA|PANI)[A-Z]{0,3}\[
    | \[\s{0,8}\d{1,9}\.\d
    | (?:Warning|Normal)\s\s
    | \#\d{1,4}\s | =>\s | -{4} | \*\s
    | (?:error|Error|ERROR|FATAL|fatal)[: ]
    | Trying\sto\spull | Failed\sto\spull | Error\sresponse | "message":
    )""",
    re.VERBOSE,
)
_BEGINS_PERHAPS = re.compile(
    r"\s{0,40}(?:[\w./\[\]-]{1,80}: |(?:failed|unable|cannot|could not|pull access) )"
)
_FIELD = re.compile(r"\s{0,40}(?:msg|error|err|host|image)=")
_ENDS_OPEN = re.compile(r"(?::|\(|=|->)\s{0,8}\Z")
_ENDS_WITH_STATUS = re.compile(r": [1-5]\d\d [A-Z][A-Za-z ]{1,40}\Z")
_WORDS_OF_A_REGISTRY = re.compile(r"\s{0,8}(?:[a-z][a-z ]{2,40}: |unauthorized\s*\Z)")
_GOES_ON = re.compile(r"(?:\s{4,200})?[a-z0-9(/%.`\"]")
_QUOTE = re.compile(r'(?<!\\)"')
_ESCAPED_QUOTE = re.compile(r'\\{1,8}(["/])')
_ESCAPED_CHARACTER = re.compile(r"\\{1,8}u([0-9a-fA-F]{4})")
_ESCAPED_NEWLINE = re.compile(r"\\{1,8}[nr]")


@dataclass(frozen=True, slots=True)
class Piece:
    """One message. ``readings``: as it may be meant where it was broken over lines, with a blank at the break
    and without."""

    readings: tuple[str, ...]

    @property
    def text(self) -> str:
        return self.readings[0]


def pieces(text: str) -> Iterator[Piece]:
    """The messages of ``text``, of which the last :data:`TEXT_CHARACTERS_MAX` characters are looked at."""
    for lines in _messages(clean(text[-TEXT_CHARACTERS_MAX:])):
        spaced = " ".join(line.strip() for line in lines)
        glued = "".join(line.strip() for line in lines)
        readings = (spaced,) if spaced == glued else (spaced, glued)
        for cut in zip(*map(_cut, readings), strict=False):
            yield Piece(tuple(dict.fromkeys(_unescape(part) for part in cut)))


def clean(text: str) -> str:
    """``text`` without what moves a cursor, colours, frames or is not to be seen."""
    text = _ESCAPE.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    text = _COLOUR_LEFT_OVER.sub("", text.translate(_AS_TYPED))
    return _INVISIBLE.sub(" ", _FRAME.sub(" ", text))


def _messages(text: str) -> Iterator[list[str]]:
    """Lines that belong together."""
    message: list[str] = []
    for line in text.split("\n")[-LINES_MAX:]:
        if not line.strip():
            continue
        if message and len(message) < LINES_JOINED_MAX and _continues(message, line):
            message.append(line)
            continue
        if message:
            yield message
        message = [line]
    if message:
        yield message


def _continues(message: list[str], line: str) -> bool:
    """Whether ``line`` is the rest of what ``message`` begins."""
    last = message[-1]
    if _FIELD.match(line):
        return True
    if _BEGINS.match(line):
        return False
    if _ENDS_OPEN.search(last[-40:]) or _is_within_quotes(message):
        return True
    if _WORDS_OF_A_REGISTRY.match(line) and _ends_with_an_answer(message):
        return True
    return (
        len(last.rstrip()) >= WRAPPED_CHARACTERS_MIN
        and _GOES_ON.match(line) is not None
        and _BEGINS_PERHAPS.match(line) is None
    )


def _ends_with_an_answer(message: list[str]) -> bool:
    """Whether a registry's own words may follow: behind a status, or behind other words of it."""
    if _ENDS_WITH_STATUS.search(message[-1][-80:]):
        return True
    in_a_list = any(line.rstrip().endswith("errors:") for line in message)
    return in_a_list or (len(message) > 1 and _WORDS_OF_A_REGISTRY.match(message[-1]) is not None)


def _is_within_quotes(message: list[str]) -> bool:
    return sum(len(_QUOTE.findall(line[:PIECE_CHARACTERS_MAX])) for line in message) % 2 == 1


def _cut(text: str) -> Iterator[str]:
    """``text`` in parts of bounded size, each of which begins a little before the one before it ends."""
    yield text[:PIECE_CHARACTERS_MAX]
    step = PIECE_CHARACTERS_MAX - PIECE_OVERLAP_CHARACTERS
    for start in range(step, len(text) - PIECE_OVERLAP_CHARACTERS, step):
        yield text[start : start + PIECE_CHARACTERS_MAX]


def _unescape(text: str) -> str:
    """``text`` as it was before it was put into JSON or into a log, however often."""
    if "\\" not in text:
        return text
    text = _ESCAPED_CHARACTER.sub(lambda match: chr(int(match[1], 16)), text)
    return clean(_ESCAPED_NEWLINE.sub("\n", _ESCAPED_QUOTE.sub(r"\1", text)))
