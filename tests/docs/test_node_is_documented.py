"""Every runtime, option and finding of ``sampan node`` is on its page, in both languages."""

from __future__ import annotations

import re

import click
import pytest

from docs_pages import LANGUAGES, ROOT, codes, page
from sampan.cli.node import command
from sampan.runtimes import RUNTIMES

CODE = re.compile(r"Finding\(\s*\"([A-Z0-9_]+)\"")


def first_cells(language: str) -> list[str]:
    return [code for row in page("node", language).rows for code in codes(row[0])]


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_option_has_a_row_that_names_its_commands(language: str) -> None:
    commands = {
        option: {name for name, each in command.commands.items() for p in each.params if option in p.opts}
        for each in command.commands.values()
        for param in each.params
        if isinstance(param, click.Option)
        for option in [param.opts[-1]]
        if option not in ("--config", "--debug")
    }
    rows = {codes(row[0])[0]: row[1] for row in page("node", language).rows if row[0].startswith("`--")}
    assert set(rows) == set(commands)
    for option, names in commands.items():
        assert set(codes(rows[option])) in (names, set()), option
        assert bool(codes(rows[option])) == (names != set(command.commands)), option


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_runtime_has_a_row(language: str) -> None:
    assert set(RUNTIMES) <= set(first_cells(language))


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_finding_has_a_row_and_there_is_no_other(language: str) -> None:
    sources = (ROOT / "src" / "sampan" / "runtimes").rglob("*.py")
    known = {code for path in sources for code in CODE.findall(path.read_text())}
    assert {cell for cell in first_cells(language) if cell.isupper() and "_" in cell} == known
