"""Every error that a client, a log or a script can meet is explained in both languages, with its numbers."""

from __future__ import annotations

import re

import pytest

from docs_pages import LANGUAGES, codes, page
from sampan.errors import HostError, SampanError


def subclasses(kind: type[SampanError]) -> list[type[SampanError]]:
    return [kind] + [below for child in kind.__subclasses__() for below in subclasses(child)]


ERRORS = [kind for kind in subclasses(SampanError) if kind.__module__ == "sampan.errors"]
OF_A_HOST = [kind for kind in ERRORS if issubclass(kind, HostError) and kind is not HostError]


def row_of(kind: type[SampanError], language: str) -> list[str]:
    (row,) = [row for row in page("http", language).rows if row[0] == f"`{kind.__name__}`"]
    return row


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", [kind for kind in ERRORS if kind not in OF_A_HOST])
def test_each_error_has_its_status_its_code_and_its_exit_code(kind: type[SampanError], language: str) -> None:
    _, status, code, _, exit_code = row_of(kind, language)
    assert (int(status), code, int(exit_code)) == (kind.http_status, f"`{kind.oci_code}`", kind.exit_code)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", OF_A_HOST)
def test_each_failure_of_a_host_has_its_words_and_the_status_that_they_end_in(
    kind: type[HostError], language: str
) -> None:
    _, outcomes, _, status = row_of(kind, language)
    said = re.search(r"outcome: ([a-z, -]+)", kind.__doc__ or "")
    assert said is not None
    assert codes(outcomes) == said[1].split(", ")
    assert int(status) == kind.http_status


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_code_of_the_specification_that_is_used_is_named(language: str) -> None:
    named = set(codes(page("http", language).prose))
    assert {kind.oci_code for kind in ERRORS} | {"BLOB_UNKNOWN"} <= named


def test_both_languages_have_the_same_rows() -> None:
    first, second = ([codes(row[0]) for row in page("http", language).rows] for language in LANGUAGES)
    assert first == second
