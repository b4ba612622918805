"""Text in columns of a terminal, where a Chinese character takes two and others none. Pure.

Guarantees that a cell is exactly as wide as its column, and that a row ends where its last word does.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

WIDTH = 80  # of all tables: terminals of that width are still about, and mails
GAP = "  "


def width(text: str) -> int:
    """How many columns ``text`` takes."""
    return sum(_width(character) for character in text)


def _width(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Me", "Mn"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, columns: int) -> str:
    """``text`` in at most ``columns``, with an ellipsis where something is left out."""
    if width(text) <= columns:
        return text
    kept, room = "", columns - 1
    for character in text:
        room -= _width(character)
        if room < 0:
            break
        kept += character
    return f"{kept}…" if columns > 0 else ""


def cell(text: str, columns: int, *, right: bool = False) -> str:
    """``text`` in exactly ``columns``, at its left or its ``right`` end."""
    text = cut(text, columns)
    blank = " " * (columns - width(text))
    return blank + text if right else text + blank


def row(cells: Sequence[str]) -> str:
    """``cells`` side by side."""
    return GAP.join(cells).rstrip()


def wrap(text: str, columns: int) -> list[str]:
    """``text`` in lines of at most ``columns``: at blanks, within Chinese anywhere, within a word where the
    word alone is too long."""
    lines, line = [], ""
    for piece in _pieces(text):
        if line and width(line + piece.rstrip()) > columns:
            lines.append(line.rstrip())
            line, piece = "", piece.lstrip()
        line += piece
        while width(line.rstrip()) > columns:
            head = cut(line, columns + 1)[:-1]  # without the ellipsis
            lines.append(head)
            line = line[len(head) :]
    return [*lines, line.rstrip()] if line.strip() else lines


def _pieces(text: str) -> list[str]:
    """What stays together: a word with the blanks after it, or a wide character with what closes it."""
    pieces: list[str] = []
    for character in text:
        last = pieces[-1][-1] if pieces else " "
        wide = _width(character) == 2
        # A comma or a bracket that closes does not begin a line.
        begins = not _closes(character) if wide else _width(last) == 2 or (last == " " and character != " ")
        if begins or not pieces:
            pieces.append(character)
        else:
            pieces[-1] += character
    return pieces


def _closes(character: str) -> bool:
    return unicodedata.category(character) in ("Pe", "Pf", "Po")
