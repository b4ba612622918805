"""Lines for a terminal: as wide as they may be, Chinese twice as wide as it looks, commands whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.cli.paragraphs import WIDTH_MAX, WIDTH_MIN, columns, width, wrap


def test_english_breaks_between_words() -> None:
    assert wrap("one two three", 9, first="- ", rest="  ") == ["- one two", "  three"]


def test_chinese_breaks_beside_any_character_but_before_a_comma() -> None:
    assert wrap("仓库有回应，但令牌不行", 12) == ["仓库有回应，", "但令牌不行"]
    assert wrap("仓库有回应，但令牌不行", 11) == ["仓库有回", "应，但令牌不", "行"] or all(
        not line.startswith("，") for line in wrap("仓库有回应，但令牌不行", 11)
    )


def test_a_command_is_not_broken() -> None:
    lines = wrap("now run `sampan node apply` at once", 20)
    assert any("`sampan node apply`" in line for line in lines)


def test_a_word_that_is_too_long_stands_on_its_own_or_is_broken_as_asked() -> None:
    long = "x" * 30
    assert wrap(f"a {long} b", 10) == ["a", long, "b"]
    assert wrap(f"a {long} b", 10, breaks_words=True) == ["a xxxxxxxx", "xxxxxxxxxx", "xxxxxxxxxx", "xx b"]


@pytest.mark.parametrize(("text", "wide"), [("abc", 3), ("镜像", 4), ("a镜", 3), ("e\u0301", 1)])
def test_columns_are_counted_as_a_terminal_shows_them(text: str, wide: int) -> None:
    assert columns(text) == wide


def test_the_width_is_one_that_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for said, meant in (("20", WIDTH_MIN), ("80", 80), ("400", WIDTH_MAX)):
        monkeypatch.setenv("COLUMNS", said)
        assert width() == meant


@given(st.text(alphabet="ab 镜像，。（）`:.", max_size=80), st.integers(8, 40))
def test_nothing_is_lost_and_no_line_is_too_wide(text: str, room: int) -> None:
    lines = wrap(text, room, first="- ", rest="  ", breaks_words=True)
    assert all(columns(line) <= room for line in lines)
    kept = "".join(line[2:] for line in lines)
    assert kept.replace(" ", "") == text.replace(" ", "")
