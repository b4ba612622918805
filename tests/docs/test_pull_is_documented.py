"""Every option, sink and event of ``sampan pull`` is on its page, in both languages."""

from __future__ import annotations

import dataclasses
from typing import get_args

import click
import pytest

from docs_pages import LANGUAGES, codes, page
from sampan.cli.pull import command
from sampan.pull import events
from sampan.pull.events import Event
from sampan.pull.sink import FORMS


def first_cells(language: str) -> set[str]:
    return {code for row in page("pull", language).rows for code in codes(row[0])}


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_option_has_a_row(language: str) -> None:
    options = {param.opts[-1] for param in command.params if isinstance(param, click.Option)}
    assert options <= first_cells(language)
    assert {cell for cell in first_cells(language) if cell.startswith("--")} == options


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_sink_has_a_row(language: str) -> None:
    assert set(FORMS.values()) <= first_cells(language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_event_has_a_row_with_its_fields(language: str) -> None:
    rows = {row[0].strip("`"): codes(row[2]) for row in page("pull", language).rows if len(row) == 3}
    for kind in get_args(Event):
        assert rows[events._NAMES[kind]] == [field.name for field in dataclasses.fields(kind)]
