"""TOML of others: one key changed, and nothing else of the text."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.runtimes.toml_text import Edit, NotTomlError, dotted, edited, parse, value_text

R = ("plugins", "io.containerd.grpc.v1.cri", "registry")
HEADER = '[plugins."io.containerd.grpc.v1.cri".registry'
LONG = "      endpoint = [\n        'a',\n      ]\n\n# of what follows\n[grpc]\n"
PATH = Edit((*R, "config_path"), "/certs")
NO_MIRRORS = Edit((*R, "mirrors"), remove=True)


@pytest.mark.parametrize(
    ("text", "edits", "expected"),
    [
        ("", [PATH], f'{HEADER}]\n  config_path = "/certs"\n'),
        ("# a note", [Edit(("version",), 2)], "# a note\nversion = 2\n"),
        ("# a note\n\n[grpc]\n", [Edit(("version",), 2)], "# a note\n\nversion = 2\n[grpc]\n"),
        ("version = 1 # old\n", [Edit(("version",), 2)], "version = 2 # old\n"),
        (f"{HEADER}]\n", [PATH], f'{HEADER}]\n  config_path = "/certs"\n'),
        (f"{HEADER}]\n\tx = 1\n", [PATH], f'{HEADER}]\n\tconfig_path = "/certs"\n\tx = 1\n'),
        (f"{HEADER}]\r\nx = 1\r\n", [PATH], f'{HEADER}]\r\nconfig_path = "/certs"\r\nx = 1\r\n'),
        (
            f"a = 1\n  {HEADER}.configs.h]\n    x = 1\n",
            [PATH],
            f'a = 1\n  {HEADER}]\n    config_path = "/certs"\n  {HEADER}.configs.h]\n    x = 1\n',
        ),
        (
            f"{HEADER}]\n  x = 1\n\n  {HEADER}.mirrors]\n    # inside\n    {HEADER}.mirrors.d]\n{LONG}",
            [NO_MIRRORS],
            f"{HEADER}]\n  x = 1\n\n# of what follows\n[grpc]\n",
        ),
        (f"{HEADER}.mirrors.d]\nx = 1\n{HEADER}]\ny = 1\n", [NO_MIRRORS], f"{HEADER}]\ny = 1\n"),
        ("[[list]]\nx = 1\n[[list]]\nx = 2\n", [Edit(("a", "b"), True)], None),
        ("a = { b = { c = 1 } }\n", [Edit(("a", "b", "c"), 2)], "a = { b = { c = 2 } }\n"),
        ("a.b.c = 1\na.d = 2\n", [Edit(("a", "b"), remove=True)], "a.d = 2\n"),
    ],
)
def test_only_what_was_asked_for_changes(text: str, edits: list[Edit], expected: str | None) -> None:
    found = edited(text.encode(), edits).decode()
    if expected is not None:
        assert found == expected
    else:
        assert found == text + "\n[a]\n  b = true\n"


def test_a_key_in_a_table_that_is_written_inline_cannot_be_added() -> None:
    with pytest.raises(NotTomlError, match=r"registry\.config_path cannot be changed as it is written"):
        edited(b'plugins = { "io.containerd.grpc.v1.cri" = { x = 1 } }\n', [PATH])


def test_what_looks_like_a_header_within_a_text_is_none() -> None:
    text = f'{HEADER}.mirrors]\nx = """\n[grpc]\n"""\n[grpc]\n'
    assert edited(text.encode(), [NO_MIRRORS]) == b"[grpc]\n"


def test_removing_what_is_not_there_changes_nothing() -> None:
    text = b"[a]\nb = 1\n"
    assert edited(text, [Edit(("a", "c"), remove=True), Edit(("x", "y"), remove=True)]) == text


@pytest.mark.parametrize(
    ("data", "line", "reason"),
    [
        (b"a = 1\nb = \n", 2, "invalid value"),
        (b"\n\na = [", 3, "invalid value"),
        (b"a = 1\n[t]\n[t]\n", 3, "cannot declare"),
        (b"# caf\xe9\n", 1, "it is not UTF-8"),
        (b"\xef\xbb\xbfa = 1\n", 1, "it begins with a byte order mark"),
        (b"x = 1\na" + b".a" * 40 + b" = 1\n", 2, "a key has more than 32 parts"),
        (b"a = " + b"[" * 5000, 1, "nested without end"),
        (b"a = " + b"9" * 5000, 1, "thousands of digits"),
    ],
)
def test_what_is_no_toml_is_told_with_its_line(data: bytes, line: int, reason: str) -> None:
    with pytest.raises(NotTomlError) as caught:
        parse(data)
    assert caught.value.line == line
    assert reason in caught.value.reason


def test_the_line_of_a_key_is_that_of_the_nearest_table_where_it_is_not_there() -> None:
    toml = parse(b'a = 1\n[b]\n  [b."c.d"]\n  x = 2\n')
    assert toml.line("b", "c.d", "x") == 4
    assert toml.line("b", "c.d", "y") == 3
    assert toml.line("z") is None


@given(st.dictionaries(st.text(max_size=8), st.one_of(st.text(), st.booleans(), st.lists(st.text()))))
def test_a_value_on_one_line_means_what_it_was(value: dict[str, object]) -> None:
    text = f"{dotted(['x y'])} = {value_text(value)}\n"
    assert tomllib.loads(text) == {"x y": value}
    assert text.count("\n") == 1


TABLES = st.permutations(
    [
        ("# one\n", f"{HEADER}]\n", "  x = 1\n"),
        ("\n", f"{HEADER}.configs.h.auth]\n", "  username = 'u'\n"),
        ("# three\n\n", f"{HEADER}.mirrors.a]\n", "  endpoint = ['e']  # theirs\n"),
        ("", f"{HEADER}.mirrors.b]\n", "  endpoint = ['f']\n"),
        ("\n# five\n", "[grpc]\n", "address = 'x'\n"),
    ]
)


@given(TABLES, st.booleans())
def test_comments_and_tables_of_others_stay_in_any_order_of_tables(
    tables: list[tuple[str, str, str]], removes: bool
) -> None:
    text = "version = 2\n" + "".join("".join(table) for table in tables)
    edits = [PATH, NO_MIRRORS] if removes else [PATH]
    data = edited(text.encode(), edits)
    found = data.decode().splitlines()
    for above, header, below in tables:
        if not removes or ".mirrors" not in header:
            kept = [*above.split("\n"), header[:-1], below[:-1]]
            assert all(line in found for line in kept if line)
    assert edited(data, edits) == data
