"""Errors in the words of those who print them: each is explained as what it is, or not at all."""

from __future__ import annotations

import pytest

from explained import Labelled, codes, explain, labelled
from sampan.doctor.explain.knowledge import knowledge

PAGES = ("programs", "sources", "public_issues", "public_issues_later")
EXPLAINED = [one for page in PAGES for one in labelled(page)]
ELSEWHERE = labelled("elsewhere")
ROWS = range(1, 56)  # of the table of errors that the knowledge base began with


def name(one: Labelled) -> str:
    return one.name


@pytest.mark.parametrize("one", EXPLAINED, ids=name)
def test_a_text_is_explained_with_its_root_cause_first(one: Labelled) -> None:
    found = explain(one.text)
    told = [each.entry.code for each in found.explained]
    assert told[:1] == [one.first]
    assert set(one.also) <= set(told)
    if one.hop is not None:
        assert found.explained[0].role == one.hop


@pytest.mark.parametrize("one", ELSEWHERE, ids=name)
def test_a_text_about_something_else_is_not_explained(one: Labelled) -> None:
    assert codes(one.text) == []


def test_each_error_that_is_known_is_there_in_the_words_of_who_prints_it() -> None:
    told = {code for one in EXPLAINED for code in codes(one.text)}
    assert {entry.code for entry in knowledge().entries} <= told


def test_each_row_of_the_first_table_has_an_entry() -> None:
    assert {row for entry in knowledge().entries for row in entry.rows} == set(ROWS)


@pytest.mark.parametrize("page", PAGES)
def test_the_texts_are_many(page: str) -> None:
    assert len(labelled(page)) >= 30


def test_a_log_of_everything_tells_each_error_once_files_before_hosts_before_what_comes_of_them() -> None:
    found = explain("\n".join(one.text for one in labelled("public_issues")))
    kinds = [one.entry.kind for one in found.explained]
    assert kinds == sorted(kinds, key=["files", "machine", "host", "circumstance"].index)
    keys = [(one.entry.code, one.facts.host) for one in found.explained]
    assert len(keys) == len(set(keys))
    assert {one.first for one in labelled("public_issues")} <= {code for code, _ in keys}
