"""YAML that is changed key by key: whatever it is, it keeps its meaning and its comments, or is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.runtimes.toml_text import Edit
from sampan.runtimes.yaml_text import YAML_BYTES_MAX, NotYamlError, edited, parse

EDITS = [
    Edit(("mirrors", "docker.io", "endpoint"), ["http://127.0.0.1:5050", "https://m.example"]),
    Edit(("mirrors", "docker.io", "rewrite"), remove=True),
    Edit(("configs", "h:5", "tls", "ca_file"), "/x"),
]


def text_of(before: str, *edits: Edit) -> str:
    return edited(before.encode(), edits or EDITS).decode()


def test_a_comment_behind_a_section_stays_behind_what_is_added_to_it() -> None:
    before = "a:\n  b: 1  # one\n\n# the next\nc: 2\n"
    assert text_of(before, Edit(("a", "d"), 3)) == "a:\n  b: 1  # one\n  d: 3\n\n# the next\nc: 2\n"
    assert text_of("a:\n  - x\n# end\n", Edit(("b",), "y")) == "a:\n  - x\nb: y\n# end\n"


def test_a_comment_of_an_item_goes_with_it_or_stays_with_it() -> None:
    before = "a:\n  - x # of x\n  - y # of y\n  # of all\nb: 1\n"
    assert text_of(before, Edit(("a",), ["y", "x", "z"])) == (
        "a:\n  - y\n  - x # of x\n  - z # of y\n  # of all\nb: 1\n"
    )


def test_a_comment_that_would_be_lost_is_a_refusal() -> None:
    with pytest.raises(NotYamlError, match="without losing a comment: # why"):
        text_of("a:\n  b:\n    # why\n    c: 1\nd: 2\n", Edit(("a", "b"), remove=True))


def test_a_text_that_is_too_large_or_nested_without_end_is_refused() -> None:
    with pytest.raises(NotYamlError, match="at most 128 KiB"):
        parse(b"#" * (YAML_BYTES_MAX + 1))
    with pytest.raises(NotYamlError):
        parse(b"a: " + b"[" * 5000)


def test_lines_of_keys_are_known() -> None:
    found = parse(b"# x\na:\n  b:\n    c: 1\n")
    assert (found.line("a"), found.line("a", "b", "c"), found.line("a", "z")) == (2, 4, None)
    assert found.section("a", "z") == {}
    with pytest.raises(NotYamlError, match="line 4: c: expected keys below it"):
        found.section("a", "b", "c")


LINES = st.lists(
    st.sampled_from(
        [
            "mirrors:",
            "  docker.io:",
            "    endpoint:",
            "      - https://old.example",
            "    endpoint: [a, 'b']",
            "    rewrite: {a: b}",
            "  # note",
            "# top",
            "configs: {}",
            '  "*": &x',
            "  quay.io: *x",
            "",
            "---",
            "other: |",
            "  text # no comment",
            "    - x   # eol",
        ]
    ),
    max_size=12,
)


@settings(max_examples=60)  # the parser is slow
@given(lines=LINES, line_end=st.sampled_from(["\n", "\r\n"]))
def test_what_is_changed_means_the_same_but_for_that_and_is_changed_once(
    lines: list[str], line_end: str
) -> None:
    before = line_end.join(lines).encode()
    try:
        after = edited(before, EDITS)
    except NotYamlError:
        return
    assert parse(after).section("mirrors", "docker.io")["endpoint"] == EDITS[0].value
    assert edited(after, EDITS) == after


@settings(max_examples=60)
@given(data=st.binary(max_size=200) | st.text(alphabet="a:-#'\"[]{}&*!|>%\n \t", max_size=80).map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(NotYamlError):
        assert isinstance(parse(data).table, dict)
