"""Every option, kind and reason of ``sampan rewrite`` is on its page, in both languages, with examples."""

from __future__ import annotations

import ast
import re

import click
import pytest

from docs_pages import LANGUAGES, codes, page
from sampan.cli.rewrite import command
from sampan.config import Config
from sampan.config.rewrite import rewriter
from sampan.rewrite.documents import Kind
from sampan.rewrite.rules import Reason

OF_ALL_COMMANDS = {"--config", "--debug"}


def first_cells(language: str) -> list[str]:
    return [codes(row[0])[0] for row in page("rewrite", language).rows if codes(row[0])]


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_option_has_a_row(language: str) -> None:
    options = {opt for param in command.params if isinstance(param, click.Option) for opt in param.opts}
    cells = [cell for cell in first_cells(language) if cell.startswith("--") and cell != "--json"]
    assert sorted([*cells, "--json"]) == sorted(options - OF_ALL_COMMANDS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_kind_and_each_reason_has_a_row(language: str) -> None:
    cells = first_cells(language)
    assert set(Kind) <= set(cells)
    assert set(Reason) <= set(cells)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_fields_of_the_example_can_be_configured(language: str) -> None:
    (example,) = [code for kind, code in page("rewrite", language).code_blocks if kind == "toml"]
    assert len(Config.parse(example, environ={}).rewrite.fields.more) == 2


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_first_example_is_what_the_command_says(language: str) -> None:
    text = page("rewrite", language).text
    match = re.search(r'SAMPAN_MIRRORS="(.*)"\n\$ sampan rewrite ([^\n]*)\n([^$]*)', text)
    assert match is not None
    rules = rewriter(Config.parse("", environ={"SAMPAN_MIRRORS": match[1]}))
    assert [rules.rewrite(word) for word in match[2].split()] == match[3].split()


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_table_of_mirrors_says_what_rules_do(language: str) -> None:
    found = []
    for row in page("rewrite", language).rows:
        mirrors = [code for code in codes(row[0]) if "://" in code]
        for mirror, name in zip(mirrors, codes(row[1]), strict=False):
            registry = "*" if "{registry}" in mirror else "docker.io"
            reference = "quay.io/org/app:1" if registry == "*" else "alpine:3"
            rules = rewriter(Config.parse("", environ={"SAMPAN_MIRRORS": f"{registry}={mirror}"}))
            found.append((rules.rewrite(reference), name))
    assert len(found) >= 5
    assert [result for result, _ in found] == [name for _, name in found]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_python_of_the_page_names_what_there_is(language: str) -> None:
    (example,) = [code for kind, code in page("rewrite", language).code_blocks if kind == "python"]
    for node in ast.walk(ast.parse(example)):
        if isinstance(node, ast.ImportFrom):
            module = __import__(node.module or "", fromlist=["x"])
            assert all(hasattr(module, alias.name) for alias in node.names)
