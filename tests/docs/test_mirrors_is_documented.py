"""Every option, key and code of ``sampan mirrors`` and ``sampan init`` is on the page, in both languages."""

from __future__ import annotations

import re
from typing import get_args

import click
import msgspec
import pytest

from docs_pages import LANGUAGES, codes, page
from sampan.cli import init, mirrors
from sampan.config.catalogue import CatalogueTable, EntryTable, SampleTable, parse_catalogue
from sampan.doctor.catalogue import OLD_DAYS, Form, Need, State
from sampan.doctor.hosts.image import RANGE_BYTES
from sampan.doctor.hosts.kinds import KINDS
from sampan.doctor.hosts.look import REQUESTS_MAX
from sampan.doctor.hosts.probe import LOOK_SECONDS
from sampan.words import Language, in_language

SPOKEN: dict[str, Language] = {"": "en", ".zh-CN": "zh"}
COMMON = {"--config", "--debug"}


def rows(language: str, columns: int) -> dict[str, list[str]]:
    """By the code in their first cell."""
    found = [row for row in page("mirrors", language).rows if len(row) == columns and codes(row[0])]
    return {codes(row[0])[0]: row for row in found}


def options() -> set[str]:
    commands = [*mirrors.command.commands.values(), init.command]
    declared = [param for each in commands for param in each.params if isinstance(param, click.Option)]
    return {param.opts[-1] for param in declared} - COMMON


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_option_has_a_row(language: str) -> None:
    assert {name for name in rows(language, 2) if name.startswith("--")} == options()


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_key_of_a_catalogue_has_a_row(language: str) -> None:
    tables = (CatalogueTable, EntryTable, SampleTable)
    keys = {field.encode_name for table in tables for field in msgspec.structs.fields(table)}
    told = {name for name in rows(language, 2) if not name.startswith("--")}
    assert told == keys - {"mirror", "registry"}  # which are tables, and in the example


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_word_that_a_key_may_have_is_told(language: str) -> None:
    told = rows(language, 2)
    for key, words in (("form", Form), ("state", State), ("needs", Need)):
        assert set(get_args(words)) <= set(codes(told[key][1]))


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_code_is_told_in_the_words_of_the_command(language: str) -> None:
    told = rows(language, 4)
    assert list(told) == list(KINDS)
    for code, kind in KINDS.items():
        said = [in_language(text, SPOKEN[language]) for text in (kind.what, kind.why, kind.hint)]
        assert told[code][1:] == said


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_example_is_a_catalogue(language: str) -> None:
    (example,) = [code for kind, code in page("mirrors", language).code_blocks if kind == "toml"]
    assert len(parse_catalogue(example, "example.toml").entries) == 2


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_numbers_are_those_of_the_code(language: str) -> None:
    text = page("mirrors", language).prose
    in_words = {"": ("eight", "twelve"), ".zh-CN": ("八", "十二")}[language]
    assert (REQUESTS_MAX, LOOK_SECONDS) == (8, 12.0)
    assert all(word in text for word in in_words)
    assert re.search(rf"\b{RANGE_BYTES // 1024 // 1024} MiB", text)
    assert re.search(rf"(?<!\d){OLD_DAYS}(?!\d)", text)
    assert mirrors.REFERENCE in text
