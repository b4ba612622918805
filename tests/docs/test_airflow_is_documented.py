"""What the pages on Airflow show is what there is: examples, names, and lines of the log."""

from __future__ import annotations

import ast
import inspect
import re

import pytest

from docs_pages import LANGUAGES, page
from sampan.config import Config
from sampan.config.rewrite import rewriter
from sampan.rewrite import airflow
from sampan.rewrite.originals import ORIGINAL
from sampan.rewrite.rules import Rules


def blocks(kind: str, language: str) -> list[str]:
    return [code for name, code in page("airflow", language).code_blocks if name == kind]


def rules(text: str, **environ: str) -> Rules:
    return rewriter(Config.parse(text, environ=environ))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_variable_does_what_the_log_lines_say(language: str) -> None:
    variable = blocks("console", language)[0].split('SAMPAN_MIRRORS="')[1].split('"')[0]
    assert variable in blocks("yaml", language)[0]
    lines = blocks("", language)[0].splitlines()
    assert len(lines) == 2
    for line in lines:
        before, after = line.partition(": ")[2].split(" is pulled as ")
        assert rules("", SAMPAN_MIRRORS=variable).rewrite(before) == after


@pytest.mark.parametrize("language", LANGUAGES)
def test_one_rule_for_all_registries_is_as_said(language: str) -> None:
    (variable,) = re.findall(r'`SAMPAN_MIRRORS="(.*?)"`', page("airflow", language).prose)
    for_all = rules("", SAMPAN_MIRRORS=variable)
    assert for_all.rewrite("reg.company.example/a:1") == "m.daocloud.io/reg.company.example/a:1"
    assert for_all.rewrite("10.0.0.5:5000/a:1") == "10.0.0.5:5000/a:1"
    assert for_all.rewrite("m.daocloud.io/docker.io/library/a") == "m.daocloud.io/docker.io/library/a"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_files_do_what_is_said_of_them(language: str) -> None:
    template, profile = blocks("toml", language)
    assert rules(template).rewrite("ghcr.io/a/b:1") == "sampan.lan:5050/ghcr.io/a/b:1"
    assert rules(profile).rewrite("alpine") == "alpine"
    in_china = rules(profile, DEPLOY_REGION="cn")
    assert in_china.rewrite("alpine") == "m.daocloud.io/docker.io/library/alpine"
    assert in_china.rewrite("mycorp/app:1") == "mycorp/app:1"
    off = rules('[rewrite]\nexcept = ["*/**"]\n[registry."docker.io"]\nmirrors = ["https://m.lan"]')
    assert '`except = ["*/**"]`' in page("airflow", language).prose
    assert off.rewrite("alpine") == "alpine"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_classes_are_python_and_import_what_there_is(language: str) -> None:
    for code in blocks("python", language):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and node.module == airflow.__name__:
                assert all(hasattr(airflow, alias.name) for alias in node.names)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_annotation_and_the_message_are_named_as_they_are(language: str) -> None:
    text = page("airflow", language).text
    assert f"    {ORIGINAL}base: " in text
    for phrase in ("sampan leaves ", "the images of this pod", " is pulled as "):
        assert phrase in text
        assert phrase in inspect.getsource(airflow)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_public_name_is_on_the_page(language: str) -> None:
    for name in ("rewrite_pod", "RewritesImages"):
        assert f"`{name}`" in page("airflow", language).prose or name in "".join(blocks("python", language))
