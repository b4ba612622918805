"""What docs/chain.md says that runtimes print is what was recorded of them, in both languages."""

from __future__ import annotations

import pytest

from docs_pages import LANGUAGES, codes, page
from lab.golden import read, text_of, versions
from lab.subjects import SUBJECTS

PREFIX = 'failed to pull and unpack image "docker.io/library/alpine:3": '
RECORDED = {name: read(text_of(name)) for name in SUBJECTS}
PROGRAMS = {"containerd": "containerd", "Docker": "docker", "podman": "podman"}


def printed(language: str) -> list[tuple[str, str, str, str]]:
    """Subject, case, version and words of each row that says what is printed."""
    found, subject = [], None
    for row in page("chain", language).rows:
        if len(row) == 3 and row[1] in PROGRAMS:
            subject = PROGRAMS[row[1]]
        elif len(row) == 3 and subject is not None:
            words = codes(row[2])[0].replace("\\|", "|")
            found += [(subject, row[0], version, words) for version in row[1].split(", ")]
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_said_to_be_printed_was_recorded(language: str) -> None:
    rows = printed(language)
    assert {subject for subject, *_ in rows} == set(SUBJECTS)
    for subject, case, version, words in rows:
        recorded = RECORDED[subject][case, version].said
        assert recorded is not None
        whole = f"{PREFIX}{words[1:]}" if words.startswith("…") else words
        assert " ".join(recorded.split()) == whole, f"{case}, {version}"


def test_both_pages_have_the_same_rows() -> None:
    assert printed("") == printed(".zh-CN")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_versions_that_were_recorded_are_named(language: str) -> None:
    text = page("chain", language).text
    for name in SUBJECTS:
        for full in versions(text_of(name)).values():
            assert full in text, f"{name} {full}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_as_many_configurations_as_are_said_were_recorded(language: str) -> None:
    assert sum(len(subject.cases) for subject in SUBJECTS.values()) >= 180
    assert "180" in page("chain", language).text
