"""The table of faults is in both languages, in its order; its sums are the sums of its rows."""

from __future__ import annotations

import re

import pytest

from docs_pages import LANGUAGES, ROOT, page
from sampan.testing import FAULT_TABLE

RIGHT = {"": "right", ".zh-CN": "对"}
NAMES = [name for name, _ in FAULT_TABLE]


def table(language: str) -> list[list[str]]:
    """The rows of the table, the one with the sums last."""
    rows = page("faults", language).rows
    first = next(number for number, row in enumerate(rows) if row[0] == NAMES[0])
    return rows[first : first + len(NAMES) + 1]


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_fault_has_its_row_in_the_order_of_the_test_kit(language: str) -> None:
    assert [row[0] for row in table(language)[:-1]] == NAMES


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_sums_are_those_of_the_rows(language: str) -> None:
    *rows, sums = table(language)
    for column in (1, 2):
        right = sum(row[column].startswith(RIGHT[language]) for row in rows)
        assert sums[column] == f"**{right}**"
    assert sums[3] == f"**{len(rows)}**"


def test_both_languages_tell_the_same_of_each_program() -> None:
    english, chinese = (
        [[cell.startswith(RIGHT[language]) for cell in row[1:3]] for row in table(language)[:-1]]
        for language in LANGUAGES
    )
    assert english == chinese


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_readme_has_the_same_sums(language: str) -> None:
    text = (ROOT / f"README{language}.md").read_text(encoding="utf-8")
    sums = [cell.strip("*") for cell in table(language)[-1][1:]]
    paragraph = next(part for part in text.split("\n\n") if "skopeo" in part and "1.6" in part)
    assert set(sums) <= set(re.findall(r"\d+", paragraph))
