"""Patterns of names: ``library/*``, ``mycorp/**``, ``docker.io/mycorp/*``.

``*`` stands for text within one part of the path, ``**`` for any number of parts. Guarantees one meaning
of both wherever sampan takes patterns; what may stand in one is for those to check who read it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Self

_MEANING = {"*": "[^/]*", "**": ".+"}


def matches(pattern: str, name: str) -> bool:
    """Whether ``pattern`` describes the whole of ``name``."""
    return _compiled(pattern).fullmatch(name) is not None


def expression(pattern: str) -> str:
    """A regular expression for whole names, in what Python and RE2 have in common."""
    pieces = (piece for piece in re.split(r"(\*+)", pattern) if piece)
    return "".join(_MEANING.get(piece[:2]) or re.escape(piece) for piece in pieces)


class Patterns(tuple[str, ...]):  # noqa: SLOT001 - Python has no slots for what varies in length
    """Several patterns, made ready to be asked about many names: whole names, ``x/*`` and ``x/**``, which are
    all that long lists are made of, cost the same however many there are; others are tried one by one."""

    _hash: int
    _names: frozenset[str]
    _levels: frozenset[str]  # of ``x/*`` the ``x``
    _trees: frozenset[str]  # of ``x/**``
    _others: tuple[str, ...]

    def __new__(cls, patterns: Iterable[str] = ()) -> Self:
        self = super().__new__(cls, patterns)
        names: dict[str, set[str]] = {"": set(), "/*": set(), "/**": set()}
        others = []
        for pattern in self:
            head, slash, tail = pattern.rpartition("/")
            if "*" not in pattern:
                names[""].add(pattern)
            elif "*" not in head and slash + tail in names:
                names[slash + tail].add(head)
            else:
                others.append(pattern)
        self._names, self._levels, self._trees = map(frozenset, names.values())
        self._others = tuple(others)
        self._hash = tuple.__hash__(self)
        return self

    @classmethod
    def of(cls, patterns: tuple[str, ...]) -> Self:
        """``patterns``, made ready if they are not yet."""
        return patterns if isinstance(patterns, cls) else cls(patterns)

    def __hash__(self) -> int:
        return self._hash  # part of the keys of much that is remembered: a tuple counts anew each time

    def match(self, name: str) -> bool:
        """Whether any of them describes the whole of ``name``."""
        if name in self._names or any(matches(pattern, name) for pattern in self._others):
            return True
        head = name.rpartition("/")[0]
        if head in self._levels:
            return True
        while head:
            if head in self._trees:
                return True
            head = head.rpartition("/")[0]
        return False


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(expression(pattern))
