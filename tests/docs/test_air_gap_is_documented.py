"""Every option of the far side's commands is on its page, in both languages."""

from __future__ import annotations

import click
import pytest

from docs_pages import LANGUAGES, codes, page
from sampan.bundle.tar import HEADERS_MAX
from sampan.cli import bundle_inventory, bundle_load, serve


def first_cells(language: str) -> set[str]:
    return {code for row in page("air-gap", language).rows for code in codes(row[0])}


def options(command: click.Command) -> set[str]:
    ours = [param for param in command.params if isinstance(param, click.Option)]
    return {param.opts[-1] for param in ours} - {"--config", "--debug"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_option_has_a_row(language: str) -> None:
    wanted = options(bundle_load.command) | options(bundle_inventory.command) | {"--bundle", "--key"}
    assert {"--bundle", "--key"} <= options(serve.command)
    assert {cell for cell in first_cells(language) if cell.startswith("--")} == wanted


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_place_of_an_inventory_has_a_row(language: str) -> None:
    assert set(bundle_inventory.FORMS.split(", ")) <= first_cells(language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_limits_are_those_of_the_code(language: str) -> None:
    assert f"{HEADERS_MAX:,}" in page("air-gap", language).text
