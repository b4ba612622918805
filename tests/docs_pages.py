"""The pages of the documentation as text: their tables, headings, links and code blocks.

Reads Markdown only as far as these pages use it: tables with a leading bar, fences of three backticks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LANGUAGES = ("", ".zh-CN")

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`]+)`")
_CELLS = re.compile(r"(?<!\\)\|")
_COMMENT = re.compile(r"(?<=\S)\s+#\s.*$", re.MULTILINE)
_COMMENT_LINE = re.compile(r"^#.*\n", re.MULTILINE)
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Page:
    """One file. ``prose`` is its text without the code blocks."""

    path: Path
    text: str

    @classmethod
    def of(cls, path: Path) -> Page:
        return cls(path, path.read_text(encoding="utf-8"))

    @property
    def prose(self) -> str:
        return _FENCE.sub("", self.text)

    @property
    def rows(self) -> list[list[str]]:
        """The cells of each row of each table, headings included, without the lines below them."""
        lines = [line.strip() for line in self.prose.splitlines() if line.startswith("|")]
        cells = [[cell.strip() for cell in _CELLS.split(line)[1:-1]] for line in lines]
        return [row for row in cells if set(row[0]) != {"-"}]

    @property
    def links(self) -> list[str]:
        return _LINK.findall(_CODE.sub("", self.prose))

    @property
    def headings(self) -> list[tuple[int, str]]:
        """Level and text of each."""
        return [(len(hashes), text) for hashes, text in _HEADING.findall(self.prose)]

    @property
    def anchors(self) -> set[str]:
        """What a link into the page may end with, as forges make it out of a heading."""
        words = (re.sub(r"[^\w\s-]", "", text.lower()) for _, text in self.headings)
        return {re.sub(r"\s", "-", word) for word in words}

    @property
    def code_blocks(self) -> list[tuple[str, str]]:
        """Language and code of each block, without comments: those are in the page's own language."""
        blocks = []
        for language, code in _FENCE.findall(self.text):
            code = _COMMENT.sub("", code)
            blocks.append((language, _COMMENT_LINE.sub("", code) if language == "toml" else code))
        return blocks


def codes(text: str) -> list[str]:
    """What stands between backticks."""
    return _CODE.findall(text)


def page(name: str, language: str = "") -> Page:
    """``docs/NAME.md`` in that language, one of :data:`LANGUAGES`."""
    return Page.of(DOCS / f"{name}{language}.md")
