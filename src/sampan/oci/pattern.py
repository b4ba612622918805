"""Patterns of names: ``library/*``, ``mycorp/**``, ``docker.io/mycorp/*``.

``*`` stands for text within one part of the path, ``**`` for any number of parts. Guarantees one meaning
of both wherever sampan takes patterns; what may stand in one is for those to check who read it.
"""

from __future__ import annotations

import re
from functools import lru_cache

_MEANING = {"*": "[^/]*", "**": ".+"}


def matches(pattern: str, name: str) -> bool:
    """Whether ``pattern`` describes the whole of ``name``."""
    return _compiled(pattern).fullmatch(name) is not None


def expression(pattern: str) -> str:
    """A regular expression for whole names, in what Python and RE2 have in common."""
    pieces = (piece for piece in re.split(r"(\*+)", pattern) if piece)
    return "".join(_MEANING.get(piece[:2]) or re.escape(piece) for piece in pieces)


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(expression(pattern))
