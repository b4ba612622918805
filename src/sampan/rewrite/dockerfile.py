"""Images in a Dockerfile: ``FROM``, ``COPY --from``, ``RUN --mount=…,from=``, ``ARG``, ``# syntax=``.

Read as BuildKit reads it: parser directives, continued lines with comments between them, heredocs. Guarantees
that the name of a stage is never taken for an image, and an ``ARG`` only when a ``FROM`` is nothing but it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sampan.errors import InvalidDocument, printable
from sampan.rewrite.place import Place, line_at
from sampan.rewrite.rules import SCRATCH

HEREDOCS_MAX = 100  # of one instruction
DIRECTIVE_CHARACTERS_MAX = 1000  # the pattern's time grows with the square of white space
_DIRECTIVE = re.compile(r"\s*#\s*(?P<key>[A-Za-z][A-Za-z0-9]*)\s*=\s*(?P<value>.+?)\s*\Z")
_WORD = re.compile(r"""(?:[^\s"']|"[^"]*"|'[^']*'|["'])+""")
_HEREDOC = re.compile(r"""[0-9]*<<(?P<dash>-?)(?P<name>[^<\s]+)""")
_WITH_HEREDOC = frozenset({"RUN", "COPY", "ADD"})
_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(?::?[-+?][^}]*)?\})")
_MOUNT_FROM = re.compile(r"(?:^|(?<=,))from=(?P<image>[^,]*)")


@dataclass(frozen=True, slots=True)
class Word:
    """``text`` without the quotes around it, at ``start`` to ``end`` of the file."""

    text: str
    start: int
    end: int
    quoted: bool = False

    def tail(self, length: int) -> Word:
        """The word without its first ``length`` characters, and without quotes around what is left."""
        return _unquoted(self.text[length:], self.start + length)


@dataclass(frozen=True, slots=True)
class Instruction:
    """``name`` in upper case and the words after it, comments and continuations taken out."""

    name: str
    words: tuple[Word, ...]

    def flags(self) -> Iterator[Word]:
        """The words that begin with ``--``, before any other."""
        for word in self.words:
            if not word.text.startswith("--"):
                return
            yield word

    @property
    def arguments(self) -> tuple[Word, ...]:
        """The words after the flags."""
        return self.words[len(list(self.flags())) :]


def places(text: str, start: int = 0, end: int | None = None, *, indent: int = 0) -> Iterator[Place]:
    """The images that ``text`` (from ``start`` to ``end``, each line after ``indent`` spaces) is built from.

    Raises :class:`InvalidDocument` for a heredoc without an end.
    """
    source = _Source(text, start, len(text) if end is None else end, indent)
    instructions = list(_instructions(source))
    stages = _Stages(instructions)
    words = [word for key, word in _directives(source) if key == "syntax"]
    for instruction in instructions:
        words += stages.images(instruction)
    for word in words:
        if word.text and word.text != SCRATCH:
            yield Place(word.text, word.start, word.end, line_at(text, word.start))


def looks_like(text: str) -> bool:
    """Whether the first instruction is one that a Dockerfile can begin with."""
    try:
        first = next(_instructions(_Source(text, 0, len(text))), None)
    except InvalidDocument:
        return False
    return first is not None and first.name in ("FROM", "ARG") and bool(first.words)


class _Stages:
    """The names that stages have, and the arguments that name an image of one."""

    def __init__(self, instructions: list[Instruction]) -> None:
        self._named: set[str] = set()  # so far
        self._all = {name for each in instructions if (name := _stage_name(each)) is not None}
        self._arguments = {
            name
            for each in instructions
            if each.name == "FROM" and each.arguments and (name := _whole_variable(each.arguments[0].text))
        }
        self._defaulted: set[str] = set()
        self._begun = False

    def images(self, instruction: Instruction) -> Iterator[Word]:
        """The words of ``instruction`` that are images; to be asked in the order of the file."""
        match instruction.name:
            case "FROM":
                self._begun = True
                yield from self._base(instruction)
                if (name := _stage_name(instruction)) is not None:
                    self._named.add(name)
            case "ARG":
                yield from () if self._begun else self._defaults(instruction)
            case "COPY":
                yield from self._copied(instruction)
            case "RUN":
                yield from self._mounted(instruction)
            case "ONBUILD":
                yield from self.images(_triggered(instruction))

    def _base(self, instruction: Instruction) -> Iterator[Word]:
        """What a FROM names, unless it is a stage, or an argument whose default has been seen to."""
        for word in instruction.arguments[:1]:
            if word.text.lower() not in self._named and _whole_variable(word.text) not in self._defaulted:
                yield word

    def _defaults(self, instruction: Instruction) -> Iterator[Word]:
        for word in instruction.words:
            name, equals, _ = word.text.partition("=")
            default = word.tail(len(name) + 1)
            if equals and name in self._arguments:
                self._defaulted.add(name)
                yield from () if default.text.lower() in self._all else (default,)

    def _copied(self, instruction: Instruction) -> Iterator[Word]:
        for flag in instruction.flags():
            if flag.text.startswith("--from="):
                yield from self._unless_a_stage(flag.tail(len("--from=")))

    def _mounted(self, instruction: Instruction) -> Iterator[Word]:
        for flag in instruction.flags():
            if flag.text.startswith("--mount="):
                mount = flag.tail(len("--mount="))
                for match in _MOUNT_FROM.finditer(mount.text):
                    start = mount.start + match.start("image")
                    yield from self._unless_a_stage(Word(match["image"], start, start + len(match["image"])))

    def _unless_a_stage(self, word: Word) -> Iterator[Word]:
        if not word.text.isdigit() and word.text.lower() not in self._all:
            yield word


def _stage_name(instruction: Instruction) -> str | None:
    arguments = instruction.arguments
    if instruction.name == "FROM" and len(arguments) == 3 and arguments[1].text.upper() == "AS":
        return arguments[2].text.lower()
    return None


def _whole_variable(text: str) -> str | None:
    match = _VARIABLE.fullmatch(text)
    return None if match is None else match[1] or match[2]


def _triggered(instruction: Instruction) -> Instruction:
    first = instruction.words[0].text.upper() if instruction.words else ""
    return Instruction("" if first in ("ONBUILD", "FROM") else first, instruction.words[1:])


# -- the text ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Source:
    """The part of ``text`` that is the Dockerfile: all of it, or a block scalar with its ``indent``."""

    text: str
    start: int
    end: int
    indent: int = 0

    def lines(self) -> Iterator[tuple[int, str]]:
        """Each line with its offset, without what ends it. A byte order mark is no part of the first."""
        start = self.start + self.text.startswith("\ufeff", self.start)
        while start < self.end:
            stop = self.text.find("\n", start, self.end)
            stop = self.end if stop < 0 else stop
            line = self.text[start:stop].removesuffix("\r")
            indent = min(self.indent, len(line) - len(line.lstrip(" ")))
            yield start + indent, line[indent:]
            start = stop + 1


def _directives(source: _Source) -> Iterator[tuple[str, Word]]:
    """The parser directives at the head: key and value."""
    for offset, line in source.lines():
        match = _DIRECTIVE.match(line) if len(line) <= DIRECTIVE_CHARACTERS_MAX else None
        if match is not None:
            yield (
                match["key"].lower(),
                Word(match["value"], offset + match.start("value"), offset + match.end("value")),
            )
        elif not line.startswith("#!"):
            return


def _instructions(source: _Source) -> Iterator[Instruction]:
    escape = next((word.text for key, word in _directives(source) if key == "escape"), "\\")
    escape = re.escape(escape if escape in ("\\", "`") else "\\")
    continued = re.compile(rf"(?:^|(?<!{escape})){escape}[ \t]*\Z")
    lines = source.lines()
    for offset, line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        words: list[Word] = []
        while True:
            match = continued.search(line)
            words += _words(line if match is None else line[: match.start()], offset)
            if match is None:
                break
            offset, line = _next_of_instruction(lines)
        if words:
            instruction = Instruction(words[0].text.upper(), tuple(words[1:]))
            _skip_heredocs(source.text, instruction, lines)
            yield instruction


def _next_of_instruction(lines: Iterator[tuple[int, str]]) -> tuple[int, str]:
    """The line after a continued one: comments and empty lines do not count."""
    for offset, line in lines:
        if line.strip() and not line.lstrip().startswith("#"):
            return offset, line
    return 0, ""


def _words(line: str, offset: int) -> Iterator[Word]:
    for match in _WORD.finditer(line):
        yield _unquoted(match[0], offset + match.start())


def _unquoted(text: str, start: int) -> Word:
    if len(text) >= 2 and text[0] in "\"'" and text[-1] == text[0] and text[0] not in text[1:-1]:
        return Word(text[1:-1], start + 1, start + len(text) - 1, quoted=True)
    return Word(text, start, start + len(text))


def _skip_heredocs(text: str, instruction: Instruction, lines: Iterator[tuple[int, str]]) -> None:
    """Read over the documents that follow ``instruction``; they may hold anything."""
    if instruction.name not in _WITH_HEREDOC:
        return
    words = [word.text for word in instruction.words if not word.quoted]
    begun = [match for word in words if (match := _HEREDOC.fullmatch(word))]
    for match in begun[:HEREDOCS_MAX]:
        name = match["name"].strip("\"'")
        if not any((line.lstrip("\t") if match["dash"] else line) == name for _, line in lines):
            line = line_at(text, instruction.words[0].start)
            raise InvalidDocument(f"a heredoc does not end: {printable(name, characters_max=60)}", line=line)
