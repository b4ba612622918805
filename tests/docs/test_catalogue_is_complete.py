"""The catalogue of faults and abuses is whole: every row has a test, and both languages show which."""

from __future__ import annotations

import pytest

import catalogue
from docs_pages import DOCS, LANGUAGES

PARTS = [catalogue.part(name) for _, names in catalogue.PARTS for name in names]
ROWS = [row.name for part in PARTS for row in part.rows]


def test_there_are_120_faults_and_56_abuses() -> None:
    assert len(ROWS) == len(set(ROWS)) == 120 + 56


@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_a_test(row: str) -> None:
    assert row in catalogue.shown(), "name a test after it, or mark one that shows it"


def test_no_test_shows_a_row_that_is_none() -> None:
    assert catalogue.shown().keys() <= set(ROWS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_tables_are_those_that_the_tests_make(language: str) -> None:
    assert (DOCS / f"catalogue{language}.md").read_text("utf-8") == catalogue.page(language), (
        "run python tests/catalogue.py"
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_part_has_its_table(language: str) -> None:
    text = (DOCS / f"catalogue{language}.md").read_text("utf-8")
    assert all(f"<!-- rows: {part.name} -->" in text for part in PARTS)
