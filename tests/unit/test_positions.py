"""Where keys stand, in all the ways in which TOML can write them."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.config.problems import dotted
from sampan.positions import KeyPath, header_lines, key_lines

TEXT = """
title = "not # a comment" # a comment

[server]   # line 4
listen = "a"
"quoted key" = 1
'lit.eral'=2
a.b . "c d" = 3

[registry."docker.io"]
mirrors = [ # line 11
  "one",

  # between [ ] { } , =
  { url = "two", headers = { "X-A" = "]", b = [1, 2] } }, "three",
  QQQmany
  lines with "quotes" ]
  QQQ,
  'last'
]
origin = '''literal
" ]''' # line 22

[[registry."docker.io".extra]]
x = 1
[[registry."docker.io".extra]]
x = 2
[registry."docker.io".extra.inner]
y = 1979-05-27T07:32:00Z
""".replace("QQQ", 3 * '"')


def test_every_key_table_and_item_has_its_line() -> None:
    tomllib.loads(TEXT)
    lines = key_lines(TEXT)
    docker: KeyPath = ("registry", "docker.io")
    expected: dict[KeyPath, int] = {
        ("title",): 2, ("server",): 4, ("server", "listen"): 5, ("server", "quoted key"): 6,
        ("server", "lit.eral"): 7, ("server", "a", "b", "c d"): 8, docker: 10, (*docker, "mirrors"): 11,
        (*docker, "mirrors", 0): 12, (*docker, "mirrors", 1): 15, (*docker, "mirrors", 1, "url"): 15,
        (*docker, "mirrors", 1, "headers", "b", 1): 15, (*docker, "mirrors", 2): 15,
        (*docker, "mirrors", 3): 16, (*docker, "mirrors", 4): 19, (*docker, "origin"): 21,
        (*docker, "extra"): 24, (*docker, "extra", 0): 24, (*docker, "extra", 0, "x"): 25,
        (*docker, "extra", 1): 26, (*docker, "extra", 1, "x"): 27, (*docker, "extra", 1, "inner", "y"): 29,
    }  # fmt: skip
    assert {path: lines.get(path) for path in expected} == expected


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("server", "listen"), "server.listen"),
        (("registry", "docker.io", "mirrors", 0, "url"), 'registry."docker.io".mirrors[0].url'),
        (("registry", "*", "origin"), "registry.*.origin"),
        (("$SAMPAN_MIRRORS", "ghcr.io", 1), '$SAMPAN_MIRRORS."ghcr.io"[1]'),
        (("--listen",), "--listen"),
    ],
)
def test_a_path_is_shown_as_it_would_be_written(path: KeyPath, text: str) -> None:
    assert dotted(path) == text


_KEYS = st.text(st.sampled_from("ab-_.\"'#=[]é \\"), min_size=1, max_size=5)
_LEAVES = st.one_of(
    st.integers(-9, 9), st.booleans(), st.text(st.sampled_from("ab\"'#=[]{},\\ "), max_size=8)
)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=8,
)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _written(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return _quoted(value)
        case list():
            return "[ # an array\n" + ",\n".join(_written(item) for item in value) + "\n]"
        case _:
            return "{" + ", ".join(f"{_quoted(key)} = {_written(item)}" for key, item in value.items()) + "}"


def _paths(value: Any, path: KeyPath) -> list[KeyPath]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [p for key, item in items for p in [(*path, key), *_paths(item, (*path, key))]]


@settings(max_examples=60)
@given(st.dictionaries(_KEYS, _VALUES, max_size=4))
def test_every_path_of_any_document_has_a_line(document: dict[str, Any]) -> None:
    text = "".join(f"{_quoted(key)} = {_written(value)}\n" for key, value in document.items())
    assert tomllib.loads(text) == document
    lines = key_lines(text)
    assert set(lines) == set(_paths(document, ()))
    assert all(1 <= line <= text.count("\n") for line in lines.values())


def test_headers_are_found_by_their_lines_also_of_a_table_that_one_below_it_made_before() -> None:
    text = '[a."b.c".d]\nx = [\n  [1],\n]\n[a]\ny = """\n[no]\n"""\n[[list]]\n[list.z]\n'
    found = {1: ("a", "b.c", "d"), 5: ("a",), 9: ("list", 0), 10: ("list", 0, "z")}
    assert header_lines(text) == found
