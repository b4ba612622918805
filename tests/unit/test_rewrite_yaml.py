"""Where a value stands in YAML, whatever way it is written, and which line is wrong."""

from __future__ import annotations

import pytest

from sampan.errors import InvalidDocument
from sampan.rewrite import Rules, Target
from sampan.rewrite.documents import find_images, rewrite_text
from sampan.rewrite.nodes import mapping, sequence, value
from sampan.rewrite.place import Place
from sampan.rewrite.yaml_text import documents

RULES = Rules({"docker.io": (Target("m.lan"),)})
IPV6 = Rules({"docker.io": (Target("[fd00::1]:5000"),)})
POD = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - "


def rewritten(text: str, rules: Rules = RULES) -> str:
    return rewrite_text(text, rules).text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("image: a", "image: m.lan/library/a"),
        ("image:   a   # b", "image:   m.lan/library/a   # b"),
        ("image: 'a'", "image: 'm.lan/library/a'"),
        ('image: "a"', 'image: "m.lan/library/a"'),
        ('image: "\\x61"', 'image: "m.lan/library/a"'),
        ('image: "a:\\\n    1"', 'image: "m.lan/library/a:1"'),
        ("image: !!str a", "image: !!str m.lan/library/a"),
        ("image: !!str 27", "image: !!str m.lan/library/27"),
        ("image: '27'", "image: 'm.lan/library/27'"),
        ("image: 27a", "image: m.lan/library/27a"),
        ("image: a\n    image: b", "image: a\n    image: m.lan/library/b"),
        ("image: &x a", "image: &x m.lan/library/a"),
        ("image: &x !!str 'a'", "image: &x !!str 'm.lan/library/a'"),
        ("image:\n      a", "image:\n      m.lan/library/a"),
        ("image: |-\n      a", "image: |-\n      m.lan/library/a"),
        ("image: |\n      a\n", "image: |\n      m.lan/library/a\n"),
        ("image: >-   # a\n      a", "image: >-   # a\n      m.lan/library/a"),
        ("image: >+\n      a\n\n", "image: >+\n      m.lan/library/a\n\n"),
        ("? image\n    : a", "? image\n    : m.lan/library/a"),
        ("{image: a}", "{image: m.lan/library/a}"),
        ('{"image":"a"}', '{"image":"m.lan/library/a"}'),
        ("image:\ta\t# b", "image:\tm.lan/library/a\t# b"),
    ],
)
def test_only_the_value_changes(before: str, after: str) -> None:
    assert rewritten(POD + before) == POD + after


@pytest.mark.parametrize(
    "text",
    [
        "image:",
        "image: ~",
        "image: null",
        "image: true",
        "image: 1.10",
        "image: 27",
        "image: 1_000",
        "image: 1e3",
        "image: 0x7f",
        'image: ""',
        "image: []",
        "image: {a: b}",
        "image: a\n      b",
        "image: |\n      a\n      b",
        "image: >-\n\n",
        "image: 'a b'",
        "image2: a",
        "'image ': a",
    ],
)
def test_what_is_no_single_name_stays(text: str) -> None:
    assert rewritten(POD + text) == POD + text


def test_a_registry_in_brackets_is_quoted_where_the_scalar_was_plain() -> None:
    assert rewritten(POD + "image: a", IPV6) == POD + 'image: "[fd00::1]:5000/library/a"'
    assert rewritten(POD + "image: 'a'", IPV6) == POD + "image: '[fd00::1]:5000/library/a'"
    assert rewritten(POD + "image: |-\n      a", IPV6) == POD + "image: |-\n      [fd00::1]:5000/library/a"


def test_an_anchor_that_is_an_image_is_changed_and_its_aliases_follow() -> None:
    text = POD + "image: &x a\n  - image: *x"
    assert rewritten(text) == POD + "image: &x m.lan/library/a\n  - image: *x"


def test_an_alias_of_something_else_is_replaced_and_the_other_stays() -> None:
    text = f"metadata: {{labels: {{a: &x a}}}}\n{POD}image: *x"
    assert rewritten(text) == f'metadata: {{labels: {{a: &x a}}}}\n{POD}image: "m.lan/library/a"'


def test_an_anchor_means_what_it_was_last_set_to_and_nothing_in_the_next_document() -> None:
    text = POD + "image: &x a\n  - image: &x b\n  - image: *x\n---\n" + POD + "image: *x"
    with pytest.raises(InvalidDocument, match="undefined alias x") as caught:
        find_images(text)
    assert caught.value.line == text.count("\n") + 1


def test_merge_keys_bring_entries_unless_they_are_there() -> None:
    (root,) = documents("a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc:\n  <<: [*a, *b]\n  x: 5\n")
    assert {key: value(node) for key, node in mapping(mapping(root)["c"]).items()} == {
        "x": "5",
        "y": "2",
        "z": "4",
    }


def test_a_document_that_merges_itself_or_holds_itself_is_read_to_its_end() -> None:
    text = "apiVersion: v1\nkind: List\nx: &x\n  <<: *x\n  items: [*x, {containers: [{image: a}]}]\n"
    assert [place.image for place in find_images(text)] == ["a"]


def test_merges_of_merges_do_not_multiply() -> None:
    lines = ["a0: &a0 {image: x}"]
    lines += [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 90)]
    (root,) = documents("\n".join(lines))
    assert mapping(mapping(root)["a89"]).keys() == {"image"}


def test_scalars_and_lists_have_no_entries_and_scalars_no_items() -> None:
    (root,) = documents("a: b\nc: [d]\n")
    entries = mapping(root)
    assert mapping(entries["a"]) == {}
    assert sequence(entries["a"]) == []
    assert value(entries["c"]) is None
    assert value(None) is None


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: [1,\n2\n\n", 1, "expected ',' or ']'"),
        ("a: b\n\nc: 'd\n\n\n", 3, "found unexpected end of stream"),
        ("a: b\nc: d: e\n", 2, "mapping values are not allowed here"),
        ("a: b\n---\nc: d\n---\n\ne: *f\n", 6, "undefined alias f"),
        ("a:\n\t- b\n", 2, "found character '\\t' that cannot start any token"),
        ("a: b\r\nc: \x1b\r\n", 2, "a character that YAML does not allow: U+001B"),
        ("a: b\rc: d\n\n@\n", 3, "found character '@' that cannot start any token"),
        ('\na: "\\UFFFFFFFF"\n', 1, "not YAML: "),
        ("%YAML 3.0\n---\na: b\n", 1, "found incompatible YAML document"),
        ("a: " + "[" * 300, 1, "nested more than 200 levels deep"),
    ],
)
def test_text_that_is_not_yaml_is_refused_with_its_line(text: str, line: int, problem: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        find_images(text)
    assert caught.value.message.startswith("not YAML: ")
    assert problem in caught.value.message
    assert caught.value.line == line


def test_a_template_that_is_not_rendered_is_told_to_be_one() -> None:
    with pytest.raises(InvalidDocument) as caught:
        find_images("a: b\n{{- if .Values.x }}\nc: d\n{{- end }}\n")
    assert caught.value.line == 2
    assert "after it is rendered" in (caught.value.hint or "")


def test_a_definition_of_a_resource_is_not_read_and_its_neighbours_are() -> None:
    text = f"{POD}image: a\n---\nkind: CustomResourceDefinition\nx: [\n---\n{POD}image: b\n"
    assert [place.image for place in find_images(text)] == ["a", "b"]
    assert [place.line for place in find_images(text)] == [5, 14]


def test_a_text_without_end_is_refused() -> None:
    with pytest.raises(InvalidDocument, match="expected at most"):
        find_images("#" * (32 * 1024 * 1024 + 1))


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "---\n---\n", "\ufeff", "just text\n"])
def test_a_text_without_images_has_none(text: str) -> None:
    assert find_images(text) == []


def test_a_place_says_what_is_written_and_where() -> None:
    text = POD + "image: &x 'a:1'\n"
    (place,) = find_images(text)
    assert place == Place("a:1", text.index("a:1"), text.index("a:1") + 3, 5)
    assert place.written("b") == "b"
