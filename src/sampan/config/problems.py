"""What is wrong with a configuration, gathered so that one run reports all of it.

It guarantees the form of every message: ``file:line: key.path: what was expected, got …``. It does
not judge: those who read a value raise :class:`ConfigError` without a place, and :meth:`Problems.at`
adds the place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sampan.errors import ConfigError, SampanError, printable
from sampan.positions import KeyPath, key_lines

SHOWN_MAX = 20  # more than a screen helps nobody
FOUND_MAX = 200  # beyond it nothing is looked at any more: the file is another kind of file
_BARE = re.compile(r"[A-Za-z0-9_-]+|\$[A-Z_]+|\*")


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where, what, and what to do about it."""

    path: KeyPath
    message: str
    hint: str | None = None


class Problems:
    """The mistakes found so far in ``text``, a valid document called ``name``."""

    def __init__(self, name: str, text: str = "") -> None:
        self.name = name
        self.found: list[Problem] = []
        self._text = text
        self._lines: dict[KeyPath, int] = {}

    @property
    def are_many(self) -> bool:
        """Whether to stop looking."""
        return len(self.found) >= FOUND_MAX

    def add(self, path: KeyPath, message: str, hint: str | None = None) -> None:
        self.found.append(Problem(path, message, hint))

    @contextmanager
    def at(self, *path: str | int) -> Iterator[None]:
        """What is refused inside, is wrong at ``path``."""
        try:
            yield
        except SampanError as error:
            self.add(path, error.message, error.hint)

    def raise_any(self) -> None:
        """Raise what was found, in the order of the lines, as one :class:`ConfigError`."""
        if not self.found:
            return
        self._lines = key_lines(self._text)
        problems = sorted(self.found, key=lambda problem: self._line(problem.path) or 0)
        messages = [self._sentence(problem) for problem in problems[:SHOWN_MAX]]
        if len(problems) > SHOWN_MAX:
            count = "many" if self.are_many else len(problems) - SHOWN_MAX
            messages.append(f"{self.name}: and {count} more")
        hints = dict.fromkeys(
            self._advice(problem, alone=len(problems) == 1)
            for problem in problems[:SHOWN_MAX]
            if problem.hint
        )
        raise ConfigError("\n".join(messages), hint="\n".join(hints) or None)

    def _sentence(self, problem: Problem) -> str:
        path, line = problem.path, self._line(problem.path)
        place = f"{self.name}:{line}: " if line else "" if _outside(path) else f"{self.name}: "
        return f"{place}{f'{dotted(path)}: ' if path else ''}{problem.message}"

    def _advice(self, problem: Problem, *, alone: bool) -> str:
        line = None if alone else self._line(problem.path)
        return f"line {line}: {problem.hint}" if line else problem.hint or ""

    def _line(self, path: KeyPath) -> int | None:
        """The line of the key itself, else of the nearest table around it."""
        for length in range(len(path), 0, -1):
            if line := self._lines.get(path[:length]):
                return line
        return None


def dotted(path: KeyPath) -> str:
    """``("registry", "docker.io", "mirrors", 0)`` as ``registry."docker.io".mirrors[0]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            plain = _BARE.fullmatch(part) or _option(part)
            text += ("." if text else "") + (part if plain else f'"{printable(part)}"')
    return text


def _option(part: str) -> bool:
    return part.startswith("--")


def _outside(path: KeyPath) -> bool:
    """Whether it came by a variable (``$SAMPAN_MIRRORS``) or an option (``--listen``), not by the file."""
    return bool(path) and isinstance(path[0], str) and path[0].startswith(("$", "--"))
