"""Links lead somewhere, and a page says the same in both languages as far as a program can tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs_pages import DOCS, ROOT, Page

PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])
TRANSLATED = [path for path in PAGES if path.with_suffix(".zh-CN.md").exists()]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_each_relative_link_leads_to_a_file_and_a_heading_of_it(path: Path) -> None:
    broken = []
    for link in Page.of(path).links:
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        file = path.parent / target if target else path
        if not file.exists() or (anchor and anchor not in Page.of(file).anchors):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("path", TRANSLATED, ids=name)
def test_both_languages_have_the_same_headings_and_code(path: Path) -> None:
    english, chinese = Page.of(path), Page.of(path.with_suffix(".zh-CN.md"))
    assert [level for level, _ in english.headings] == [level for level, _ in chinese.headings]
    assert english.code_blocks == chinese.code_blocks


@pytest.mark.parametrize("path", TRANSLATED, ids=name)
def test_both_languages_name_each_other_at_the_top(path: Path) -> None:
    chinese = path.with_suffix(".zh-CN.md")
    assert f"[中文]({chinese.name})" in Page.of(path).text[:200]
    assert f"[English]({path.name})" in Page.of(chinese).text[:200]


@pytest.mark.parametrize("path", TRANSLATED, ids=name)
def test_a_chinese_page_leads_to_chinese_pages_where_there_are_any(path: Path) -> None:
    chinese = path.with_suffix(".zh-CN.md")
    english_only = [
        link
        for link in Page.of(chinese).links
        if link != path.name
        and "://" not in link
        and (chinese.parent / link.partition("#")[0]).with_suffix(".zh-CN.md").is_file()
    ]
    assert english_only == []


def test_the_index_names_every_page() -> None:
    linked = set(Page.of(DOCS / "README.md").links)
    assert {path.name for path in DOCS.glob("*") if path.name != "README.md"} <= linked
