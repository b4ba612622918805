"""Whatever anybody pastes, ``--explain`` ends, raises nothing, and prints nothing that a terminal obeys."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explained import explain, labelled
from sampan.doctor.explain.knowledge import knowledge
from sampan.doctor.explain.story import entry_words, remarks, said
from sampan.doctor.explain.text import TEXT_CHARACTERS_MAX
from sampan.doctor.explain.verdict import EXPLAINED_MAX

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
WORDS = st.sampled_from(
    [
        *(part for entry in knowledge().entries for pattern in entry.patterns for part in pattern.parts),
        "https://m.example/v2/library/alpine/manifests/3?ns=docker.io",
        "https://[2001:db8::7]:5000/v2/",
        "http://%zz@[/v2/",
        "(Mirrors also failed: [",
        "]): ",
        'error="',
        '\\\\\\"',
        "\\u001b",
        "\\n",
        "\n",
        "\x1b[31m",
        "\x9b",
        "\u202e",
        "{host}",
        "{0.__class__}",
        "sha256:",
        "dial tcp [::1",
        "cannot serve ",
        "  a.example: dns",
        '"outcome":"dns"',
    ]
)  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=300), st.lists(WORDS, max_size=20).map("".join), st.lists(WORDS).map(" ".join)
)
LONG = {
    "one letter": "a",
    "blanks": " ",
    "lines": "\n",
    "short lines": "x\n",
    "quotes": '"',
    "backslashes": "\\",
    "escapes": "\x1b[",
    "brackets": "(Mirrors also failed: [",
    "schemes": "https://",
    "lookups": "lookup: ",
    "addresses": "dial tcp 1.1.1.1:1: ",
    "attempts": "a: dns\n",
    "digests": f"sha256:{'a' * 64}",
    "wrappings": 'failed to pull and unpack image "x": rpc error: code = Unknown desc = ',
    "everything": "".join(f"{part} " for entry in knowledge().entries for part in entry.patterns[0].parts),
    "escaped": 'error=\\"msg=\\\\\\"',
    "names": "registry-1.docker.io/library/alpine:3 ",
}


def everything_said(text: str) -> str:
    found = explain(text)
    assert len(found.explained) <= EXPLAINED_MAX
    parts = []
    for one in found.explained:
        for words in (entry_words(one, "en"), entry_words(one, "zh")):
            parts += [words.what, words.cause, *words.do]
        parts += [said(one), *remarks(one)]
    return "".join(parts)


@given(TEXTS)
def test_whatever_is_pasted_is_explained_or_not_and_harmless(text: str) -> None:
    assert not CONTROL.search(everything_said(text))


@given(st.sampled_from(labelled("public_issues")), st.data())
def test_a_text_with_a_piece_cut_out_is_harmless_too(one: object, data: st.DataObject) -> None:
    text = one.text  # type: ignore[attr-defined]  # a Labelled
    start = data.draw(st.integers(0, len(text)))
    assert not CONTROL.search(everything_said(text[:start] + text[start + data.draw(st.integers(0, 80)) :]))


@pytest.mark.parametrize("unit", LONG.values(), ids=LONG)
def test_a_megabyte_of_anything_ends(unit: str) -> None:
    everything_said(unit * (TEXT_CHARACTERS_MAX // len(unit)))
