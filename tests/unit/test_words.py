"""Sentences that exist in English and in Chinese."""

from __future__ import annotations

import ast
import pickle
import tomllib
from functools import cache
from pathlib import Path
from string import Formatter

import pytest

import sampan
from sampan.words import in_language, sentence

SOURCE = Path(sampan.__file__).parent
PAGES = sorted((SOURCE / "data/zh").glob("*.toml"))


@cache
def patterns() -> list[tuple[str, str]]:
    """Every pattern that is said anywhere, with its place."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "sentence":
                place = f"{path.relative_to(SOURCE)}:{node.lineno}"
                pattern = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
                assert isinstance(pattern, str), f"{place}: a pattern is a literal"
                found.append((place, pattern))
    return found


def names(pattern: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(pattern) if name is not None}


def translations() -> dict[str, str]:
    return {en: zh for page in PAGES for en, zh in tomllib.loads(page.read_text("utf-8")).items()}


def test_every_sentence_exists_in_chinese_with_the_same_facts() -> None:
    known = translations()
    missing = [f"{place}: {pattern}" for place, pattern in patterns() if pattern not in known]
    assert not missing
    other = [en for en, zh in known.items() if names(en) != names(zh)]
    assert not other


def test_no_translation_is_of_a_sentence_that_nobody_says() -> None:
    said = {pattern for _, pattern in patterns()}
    assert not sorted(set(translations()) - said)


def test_a_sentence_is_a_string_and_keeps_what_it_was_made_of() -> None:
    text = sentence("asked {host} twice", host="mirror.lan")
    assert text == "asked mirror.lan twice"
    assert (text.pattern, dict(text.facts)) == ("asked {host} twice", {"host": "mirror.lan"})
    assert pickle.loads(pickle.dumps(text)).pattern == text.pattern


@pytest.mark.parametrize("text", ["plain", sentence("nobody has translated {this}", this="one")])
def test_what_has_no_translation_is_said_in_english(text: str) -> None:
    assert in_language(text, "zh") == str(text)
