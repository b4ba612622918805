"""Text in columns, where some characters take two and some none."""

from __future__ import annotations

import pytest

from sampan.cli.columns import cell, cut, row, width, wrap


@pytest.mark.parametrize(
    ("text", "columns"),
    [("", 0), ("abc", 3), ("镜像站", 6), ("a镜b", 4), ("e\N{COMBINING ACUTE ACCENT}", 1), ("ａ", 2)],
)
def test_the_width_is_what_a_terminal_takes(text: str, columns: int) -> None:
    assert width(text) == columns


@pytest.mark.parametrize("columns", range(12))
@pytest.mark.parametrize("text", ["", "mirror.example", "镜像站 mirror", "m镜像站"])
def test_a_cell_is_as_wide_as_its_column(text: str, columns: int) -> None:
    assert width(cell(text, columns)) == width(cell(text, columns, right=True)) == columns
    assert width(cut(text, columns)) <= columns


def test_what_is_cut_says_so() -> None:
    assert cut("mirror.example", 8) == "mirror.…"
    assert cut("镜像站", 4) == "镜…"
    assert cut("镜像站", 6) == "镜像站"


def test_a_row_ends_with_its_last_word() -> None:
    assert row([cell("a", 3), cell("", 5)]) == "a"
    assert row([cell("a", 3), "b"]) == "a    b"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("a few words of it", ["a few", "words of", "it"]),
        ("sha256:0123456789abcdef", ["sha256:0", "12345678", "9abcdef"]),
        ("a 0123456789", ["a", "01234567", "89"]),
        ("镜像站不存在", ["镜像站不", "存在"]),
        ("镜像站不，在", ["镜像站", "不，在"]),
        ("用 docker 拉", ["用", "docker", "拉"]),
    ],
)
def test_lines_break_at_blanks_and_within_chinese(text: str, lines: list[str]) -> None:
    assert wrap(text, 8) == lines


@pytest.mark.parametrize("columns", range(2, 30))
def test_nothing_is_lost_and_no_line_is_too_wide(columns: int) -> None:
    text = "它拒绝了：403: DENIED: this image is not in the allowlist (https://github.com/DaoCloud/issues/2328)，请换一个。"
    lines = wrap(text, columns)
    assert max(map(width, lines)) <= columns
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
