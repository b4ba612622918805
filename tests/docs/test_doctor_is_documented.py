"""Every option, code and rule of ``sampan doctor`` is on a page, in both languages."""

from __future__ import annotations

import click
import pytest

from docs_pages import LANGUAGES, codes, page
from doctor_rules import RULES
from sampan.cli.doctor import command
from sampan.doctor.order import ORDER


def rows(name: str, language: str, columns: int) -> list[list[str]]:
    """The rows of tables of that many columns, whose first cell is one code."""
    return [row for row in page(name, language).rows if len(row) == columns and row[0].startswith("`")]


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_option_has_a_row(language: str) -> None:
    options = {
        param.opts[-1]
        for param in command.params
        if isinstance(param, click.Option) and param.opts[-1] not in ("--config", "--debug")
    }
    assert {codes(row[0])[0] for row in rows("doctor", language, 2)} == options | {"REFERENCE…"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_code_says_what_it_is_why_it_matters_and_what_to_do(language: str) -> None:
    told = {codes(row[0])[0]: row for row in rows("doctor", language, 4)}
    elsewhere = {
        code for name in ("node", "mirrors") for row in page(name, language).rows for code in codes(row[0])
    }
    assert set(told) <= set(ORDER)
    assert set(ORDER) - set(told) <= elsewhere
    assert [code for code, row in told.items() if not row[1] or not row[3]] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_rule_for_files_names_the_code_that_says_it(language: str) -> None:
    plain = [row for row in page("doctor", language).rows if row[0].isupper() and not codes(row[0])]
    table = {row[0]: codes(row[1])[0] for row in plain}
    assert table == {rule.name: rule.code for rule in RULES}
