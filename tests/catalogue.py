"""The rows of the fault and abuse catalogue, and the tests that show each of them.

A row is written down in ``tests/rows/PART.toml``, in both languages. A test shows it by its name
(``tests/faults``: ``test_n1_…``; ``tests/abuse``: ``test_row_41_…``) or, when it is another part's own test,
by its mark: ``@pytest.mark.row("N1")``, on the test or as the module's ``pytestmark``. The tables of
docs/catalogue.md are made of both::

    python tests/catalogue.py
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TESTS = Path(__file__).resolve().parent
DOCS = TESTS.parent / "docs"
PARTS = (
    ("faults", ("network", "http", "auth", "content", "disk", "config", "clock", "concurrency", "crash")),
    ("abuse", ("references", "routing", "requests", "upstream", "archives", "documents")),
)
LANGUAGES = ("", ".zh-CN")
HEADS = {
    "": ("row", "what goes wrong", "what follows", "shown by"),
    ".zh-CN": ("行", "出了什么错", "结果", "测试"),
}
_BY_NAME = {
    "faults": re.compile(r"test_([nhacdfkpx]\d{1,2})_"),
    "abuse": re.compile(r"test_row_(\d{1,2})_"),
}
_MADE = re.compile(r"(<!-- rows: (\w+) -->\n).*?(<!-- /rows -->)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Row:
    """One row. ``name``: ``N1`` for a fault, ``41`` for an abuse; texts in English and Chinese."""

    name: str
    fault: dict[str, str]
    then: dict[str, str]


@dataclass(frozen=True, slots=True)
class Part:
    """One section of the catalogue, its rows in order."""

    name: str
    title: dict[str, str]
    rows: tuple[Row, ...]


def part(name: str) -> Part:
    """Raises KeyError when a row is missing or a text lacks a language."""
    document = tomllib.loads((TESTS / "rows" / f"{name}.toml").read_text("utf-8"))
    first = document.get("first", 1)
    names = [
        f"{letter}{number}"
        for letter in document.get("letters", "") or ("",)
        for number in range(first, first + document["count"])
    ]
    rows = tuple(Row(row, _texts(document[row], "fault"), _texts(document[row], "then")) for row in names)
    if spare := {key for key, value in document.items() if isinstance(value, dict)} - set(names):
        raise KeyError(f"{name}.toml: no such rows: {sorted(spare)}")
    return Part(name, _texts(document, "title"), rows)


def _texts(table: dict[str, str], key: str) -> dict[str, str]:
    return {"": table[key], ".zh-CN": table[f"{key}_zh"]}


@cache
def shown() -> dict[str, list[str]]:
    """The tests that show a row, by its name; each as ``tests/…/test_x.py::test_y``."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for row, test in _shown_in(path):
            found.setdefault(row, []).append(test)
    return found


def _shown_in(path: Path) -> Iterator[tuple[str, str]]:
    text = path.read_text("utf-8")
    by_name = _BY_NAME.get(path.parent.name)
    if by_name is None and "mark.row(" not in text:
        return
    tree = ast.parse(text)
    whole = {row for node in tree.body if _is_pytestmark(node) for row in _marks(node)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
            continue
        rows = whole | {row for decorator in node.decorator_list for row in _marks(decorator)}
        if by_name is not None and (named := by_name.match(node.name)) is not None:
            rows |= {named[1].upper()}
        for row in sorted(rows):
            yield row, f"{path.relative_to(TESTS.parent).as_posix()}::{node.name}"


def _is_pytestmark(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and any(
        isinstance(target, ast.Name) and target.id == "pytestmark" for target in node.targets
    )


def _marks(node: ast.AST) -> Iterator[str]:
    """The rows that ``pytest.mark.row(…)`` names, wherever in ``node`` it is called."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "row":
            yield from (str(name.value) for name in call.args if isinstance(name, ast.Constant))


def table(one: Part, language: str, tests: dict[str, list[str]]) -> str:
    """The table of ``one`` as Markdown."""
    lines = ["| " + " | ".join(HEADS[language]) + " |", "|---" * 4 + "|"]
    for row in one.rows:
        places = "<br>".join(f"`{test.removeprefix('tests/')}`" for test in tests.get(row.name, ()))
        lines.append(f"| {row.name} | {row.fault[language]} | {row.then[language]} | {places} |")
    return "\n".join(lines) + "\n"


def page(language: str) -> str:
    """docs/catalogue with its tables as they should be."""
    tests = shown()

    def made(match: re.Match[str]) -> str:
        return match[1] + table(part(match[2]), language, tests) + match[3]

    return _MADE.sub(made, (DOCS / f"catalogue{language}.md").read_text("utf-8"))


if __name__ == "__main__":
    for language in LANGUAGES:
        (DOCS / f"catalogue{language}.md").write_text(page(language), "utf-8")
