"""Every command, option, field and exit code of ``sampan store`` is on its page, in both languages."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import click
import pytest

from disks import image, put_image
from docs_pages import LANGUAGES, codes, page
from sampan.cli import store_words as words
from sampan.cli.store import command
from sampan.oci import Digest
from sampan.store import DiskStore, Stock, TagStore, evict, remove, scrub

COMMON = {"--config", "--debug"}
NAMES = re.compile(r"`[a-z]+`(?:(?:, |、)`[a-z]+`)*")
EXIT_CODES = {"0", "2", "3", "4", "6"}


def rows(language: str, columns: int) -> list[list[str]]:
    return [row for row in page("store", language).rows if len(row) == columns]


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_command_has_a_row(language: str) -> None:
    cells = [row[0] for row in rows(language, 2) if NAMES.fullmatch(row[0])]
    named = [code for cell in cells for code in codes(cell) if code in command.commands]
    assert sorted(named) == sorted(command.commands)


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_option_has_a_row_that_names_its_commands(language: str) -> None:
    options: dict[str, set[str]] = {}
    for name, each in command.commands.items():
        for param in each.params:
            if isinstance(param, click.Option) and param.opts[-1] not in COMMON:
                options.setdefault(param.opts[-1], set()).add(name)
    written = {codes(row[0])[0]: set(codes(row[1])) for row in rows(language, 3) if row[0].startswith("`--")}
    everywhere = set(command.commands)
    assert written == {option: names if names != everywhere else set() for option, names in options.items()}


def keys(value: Any) -> set[str]:
    """Of all objects in it."""
    if isinstance(value, dict):
        return set(value) | {key for each in value.values() for key in keys(each)}
    return {key for each in value for key in keys(each)} if isinstance(value, list | tuple) else set()


def documents(path: Path) -> list[dict[str, Any]]:
    """Each with at least one of everything."""
    store, tags = DiskStore(path), TagStore(path / "tags")
    made = put_image(store, b"layer")
    tags.put("r.example", "app", "1", made.descriptor, host="h", now=time.time())
    ingest = store.ingest(Digest.of(b"partial"), 7)
    ingest.write(b"par")
    ingest.suspend()
    (path / "quarantine" / "x").write_bytes(b"x")
    listed = words.stock_json(Stock(store, tags), path, None, blobs=True)
    swept = words.sweep_json(evict(store, tags, 0, dry_run=True), dry_run=True)
    _, (outcome,) = remove(store, tags, [(made.digest, None)])
    report = scrub(store)
    store.close()
    tags.close()
    return [
        listed,
        {**swept, "outcomes": [words.outcome_json(outcome)]},
        words.scrub_json(report, {image(b"a").digest: ["a"]}),
        {"pinned": [], "unpinned": []},
    ]


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_field_of_the_json_is_named_and_no_other(language: str, tmp_path: Path) -> None:
    table = rows(language, 2)
    start = next(n for n, row in enumerate(table) if "`max_size_bytes`" in row[1])
    stop = next(n for n, row in enumerate(table) if "`checked`" in row[1])
    named = {code for row in table[start : stop + 1] for code in codes(row[1])}
    values = {"index", "manifest", "config", "layer", "blob", "partial", "quarantined", "--blobs", "remove"}
    assert named - values == {key for each in documents(tmp_path) for key in keys(each)} - values
    assert values <= named


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_exit_code_has_a_row(language: str) -> None:
    assert {row[0] for row in rows(language, 2) if row[0].isdigit()} == EXIT_CODES


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_directory_of_the_store_has_a_row(language: str, tmp_path: Path) -> None:
    documents(tmp_path)
    named = {code.rstrip("/") for row in rows(language, 2) for code in codes(row[0])}
    assert {path.name for path in tmp_path.iterdir()} <= named


def test_both_languages_have_the_same_rows() -> None:
    first, second = ([codes(row[0]) for row in page("store", language).rows] for language in LANGUAGES)
    assert first == second
