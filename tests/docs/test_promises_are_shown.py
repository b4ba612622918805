"""Every promise of the mirror names tests that exist, the same in both languages."""

from __future__ import annotations

import re

import pytest

from docs_pages import LANGUAGES, ROOT, page

PROMISES = [f"I{number}" for number in range(1, 11)]


def promises(language: str) -> dict[str, list[str]]:
    """The files of tests that each promise names."""
    rows = [row for row in page("promises", language).rows if re.fullmatch(r"I\d+", row[0])]
    return {row[0]: re.findall(r"`(tests/[^`]+)`", row[3]) for row in rows}


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_promise_is_shown_by_tests_that_exist(language: str) -> None:
    shown = promises(language)
    assert list(shown) == PROMISES
    for promise, files in shown.items():
        assert files, promise
        for file in files:
            assert (ROOT / file).is_file(), (promise, file)


def test_both_languages_name_the_same_tests() -> None:
    english, chinese = (promises(language) for language in LANGUAGES)
    assert english == chinese
