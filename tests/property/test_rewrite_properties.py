"""What rewriting promises for any text and any rules: valid, settled, with the digest that went in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

import rewrite_table
from sampan.oci.digest import Digest
from sampan.oci.reference import Reference
from sampan.rewrite import Rules, Target

ANYTHING = st.text(st.characters(exclude_categories=()))  # lone surrogates too
NEARLY = st.text("abzAZ019._-/:@%[]${}? \n\0é" + "sha256:", max_size=80)

parts = st.from_regex(r"[a-z0-9]{1,8}(?:(?:\.|__?|--?)[a-z0-9]{1,8}){0,2}", fullmatch=True)
repositories = st.lists(parts, min_size=1, max_size=4).map("/".join)
registries = st.sampled_from(
    ["docker.io", "index.docker.io", "registry-1.docker.io", "a.lan", "b.lan", "c.lan:5000", "localhost"]
) | st.from_regex(r"[A-Za-z0-9]{1,8}\.[a-z]{2,4}(:[1-9][0-9]{0,3})?", fullmatch=True)
tags = st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
digests = st.none() | st.binary(max_size=4).map(Digest.of)
references = st.builds(Reference, registries, repositories, tags, digests)
targets = st.builds(
    Target,
    st.sampled_from(["a.lan", "b.lan", "c.lan:5000", "docker.io", "{registry}.lan"]),
    st.sampled_from(["", "hub/", "{registry}/", "p/{registry}-", "a/" * 120]),
    st.sampled_from([(), ("library/*",), ("a/**", "b*")]),
    st.sampled_from([{}, {"library/alpine": "alpine"}]),
    st.booleans(),
)
rules = st.builds(
    Rules,
    st.dictionaries(
        st.sampled_from(["docker.io", "a.lan", "b.lan", "c.lan:5000", "*"]),
        st.lists(targets, max_size=3).map(tuple),
    ),
    st.sampled_from([(), ("docker.io/library/*",), ("*/**",), ("a.lan/**",)]),
)
of_the_table = st.sampled_from([rewrite_table.rules(group) for group in rewrite_table.groups()])


@given(rules, references)
def test_a_second_time_changes_nothing(rules: Rules, reference: Reference) -> None:
    once = rules.apply(reference)
    assert rules.apply(once) == once
    text = rules.rewrite(str(reference))
    assert rules.rewrite(text) == text


@given(rules, references)
def test_the_result_parses_and_has_the_tag_and_digest_that_went_in(
    rules: Rules, reference: Reference
) -> None:
    result = Reference.parse(rules.rewrite(str(reference)), default_tag=None)
    assert (result.tag, result.digest) == (reference.tag, reference.digest)
    assert result == rules.apply(reference)


@given(of_the_table, ANYTHING | NEARLY)
def test_what_is_no_reference_comes_back_as_it_was(rules: Rules, text: str) -> None:
    rewriting = rules.judge(text)
    assert rules.rewrite(rewriting.after) == rewriting.after
    if not rewriting.changed:
        assert rewriting.after == text
    else:
        assert rewriting.after == str(rules.apply(Reference.parse(text, default_tag=None)))
