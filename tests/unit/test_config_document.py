"""Bytes and the shape of the document: every mistake has its line, and no bytes take long."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.config import Config
from sampan.config.document import FILE_BYTES_MAX, decode
from sampan.errors import ConfigError


def refused(text: str, **environ: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        Config.parse(text, environ=environ)
    assert caught.value.exit_code == 2
    return caught.value


@pytest.mark.row("F1")
def test_an_unknown_key_is_told_with_its_line_and_the_nearest_known_one() -> None:
    error = refused('# a comment\n[server]\nlistn = "127.0.0.1:1"\n')
    assert error.message == "sampan.toml:3: server.listn: expected a key of [server], got an unknown one"
    assert error.hint == 'did you mean "listen"?'


def test_an_unknown_table_is_told_with_the_nearest_known_one() -> None:
    error = refused('[registries."docker.io"]\n')
    assert error.message.startswith("sampan.toml:1: registries: expected a key of the file")
    assert error.hint == 'did you mean "registry"?'


def test_a_key_in_the_wrong_table_is_told_where_it_belongs() -> None:
    assert refused('listen = "127.0.0.1:1"\n').hint == '"listen" belongs in [server]'


def test_a_key_like_no_other_is_answered_with_the_known_ones() -> None:
    assert refused("[store]\nzzz = 1\n").hint == "known here: path, max_size"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[server]\nanonymous = 1\n", "2: server.anonymous: expected true or false, got a number"),
        ("[server]\nlisten = true\n", "2: server.listen: expected a string, got true"),
        ('[tags]\nagree = "1"\n', "2: tags.agree: expected a whole number, got a string"),
        ("[tags]\nagree = 1.0\n", "2: tags.agree: expected a whole number, got a number"),
        ("[tags]\nagree = true\n", "2: tags.agree: expected a whole number, got true"),
        ("[tags]\nfresh_for = 2024-01-01\n", "2: tags.fresh_for: expected a string, got a date or time"),
        ("[tags]\nfresh_for = inf\n", "2: tags.fresh_for: expected a string, got a number"),
        ("server = 3\n", "1: server: expected a table, got a number"),
        ("[[server]]\n", "1: server: expected a table, got an array"),
        ('[rewrite]\nexcept = "a"\n', "2: rewrite.except: expected an array, got a string"),
        ("[rewrite]\nexcept = [\n 'a',\n 3]\n", "4: rewrite.except[1]: expected a string, got a number"),
        ('[registry."a.b"]\nmirrors = "x"\n', '2: registry."a.b".mirrors: expected an array, got a string'),
        ("[profile.x]\nwhen = 3\n", "2: profile.x.when: expected a table or an array, got a number"),
        ('[registry."a.b"]\nmirrors = [{}]', '2: registry."a.b".mirrors[0]: expected the key url, got none'),
        (
            '[node.commands]\ncontainerd = ["a"]',
            "2: node.commands.containerd: expected a string, got an array",
        ),
    ],
)
@pytest.mark.row("F1")
def test_a_wrong_type_is_told_with_its_line_and_what_was_expected(text: str, message: str) -> None:
    assert refused(text).message == f"sampan.toml:{message}"


def test_a_word_that_is_none_of_the_possible_ones_is_shown() -> None:
    error = refused('[registry."a.b"]\norigin = "frist"')
    expected = 'registry."a.b".origin: expected "first" or "last" or "never", got "frist"'
    assert error.message == f"sampan.toml:2: {expected}"


def test_a_value_of_a_wrong_type_is_not_shown_since_it_may_be_a_secret() -> None:
    error = refused(
        '[registry."a.b"]\nmirrors = [{ url = "https://m", username = "u", password = 271828 }]\n'
    )
    assert "271828" not in error.message


def test_several_mistakes_are_told_at_once_in_the_order_of_their_lines() -> None:
    error = refused(
        '[tags]\nagree = 99\nfresh_for = "soon"\n[server]\nlisten = "x"\n[store]\nmax_size = "1"\n'
    )
    assert [line.split(" ")[0] for line in error.message.splitlines()] == [
        "sampan.toml:2:", "sampan.toml:3:", "sampan.toml:5:", "sampan.toml:7:",
    ]  # fmt: skip
    assert error.hint is not None
    assert error.hint.splitlines()[0].startswith("line 3: write a number and a unit")


def test_more_mistakes_than_fit_a_screen_are_counted() -> None:
    error = refused("[server]\n" + "".join(f"x{i} = 1\n" for i in range(50)))
    assert len(error.message.splitlines()) == 21
    assert error.message.endswith("sampan.toml: and 30 more")


def test_a_file_full_of_mistakes_is_not_looked_at_to_its_end() -> None:
    error = refused("".join(f"[x{i}]\n" for i in range(20_000)))
    assert error.message.endswith("sampan.toml: and many more")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("".join(f'[registry."r{i}.example"]\n' for i in range(1001)), "at most 1000 registries, got 1001"),
        ("".join(f"[profile.p{i}]\n" for i in range(101)), "at most 100 profiles, got 101"),
    ],
    ids=["registries", "profiles"],
)
def test_there_is_a_limit_to_how_much_of_one_kind_there_may_be(text: str, message: str) -> None:
    assert message in refused(text).message


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a = 1\n\na = 3", "sampan.toml:3: a: "),
        ("[tags]\nagree = 1\nagree = 2\n", "sampan.toml:3:10: agree: "),
        ("[tags]\n[store]\n[tags]\n", "sampan.toml:3:6: [tags]: "),
        ('[registry."a.b"]\nmirrors = [{ url = "x", url = "y" }]\n', "sampan.toml:2:"),
    ],
)
@pytest.mark.row("F1")
def test_a_duplicate_is_told_with_its_line(text: str, place: str) -> None:
    error = refused(text)
    assert error.message.startswith(place)
    assert "got a duplicate" in error.message


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[server]\nlisten = \n", "sampan.toml:2:10: "),
        ("[server]\nlisten = 'x\n", "sampan.toml:2: "),
        ('[server\nlisten = "x"\n', "sampan.toml:1:8: "),
        ("a = [1,\n2\n\n", "sampan.toml:2: "),
        ("hello", "sampan.toml:1: "),
        ("\0", "sampan.toml:1:1: "),
    ],
)
@pytest.mark.row("F1")
def test_a_syntax_error_is_told_with_line_and_column(text: str, place: str) -> None:
    assert refused(text).message.startswith(place)


def test_two_names_of_one_registry_are_a_duplicate() -> None:
    error = refused('[registry."docker.io"]\n[registry."index.docker.io"]\n')
    assert error.message.startswith('sampan.toml:2: registry."index.docker.io": ')
    assert "duplicate" in error.message


@pytest.mark.row("52")
@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 100_000,
        "a = " + "[" * 2_000 + "]" * 2_000,
        "a = " + "{a = " * 50_000,
        "a = " + "9" * 100_000,
        "a = 0x" + "f" * 100_000,
        "[tags]\nagree = " + "9" * 4_000,
        "[tags]\nagree = 0x" + "f" * 50_000,
        "a." * 20_000 + "a = 1",
        '"a"  .' * 20_000 + "a = 1",
        "[" + "a." * 20_000 + "a]",
        "a" * 500_000,
        '"' * 500_000,
        "a-" * 250_000,
    ],
    ids=lambda text: f"{text[:12]}…{len(text)}",
)
def test_hostile_text_is_refused_at_once(text: str) -> None:
    assert len(refused(text).message) < 2_000


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xef\xbb\xbf[server]\n", "f:1: expected plain UTF-8, got a byte order mark"),
        (b"\xff\xfe[\0s\0", "f:1: expected UTF-8 text, got the byte 0xff"),
        (b"[server]\n# \xe4\xb8\n", "f:2: expected UTF-8 text, got the byte 0xe4"),
        (b"#" * (FILE_BYTES_MAX + 1), "f: expected at most 1048576 bytes, got more"),
    ],
)
def test_bytes_that_are_no_text_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        decode(data, "f")
    assert caught.value.message == message


@pytest.mark.row("52")
def test_a_huge_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "sampan.toml"
    with path.open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    with pytest.raises(ConfigError, match="expected at most 1048576 bytes"):
        Config.load(path, {})


def test_a_text_given_directly_has_the_same_limits() -> None:
    assert "expected at most" in refused("#" * (FILE_BYTES_MAX + 1)).message
    assert "byte order mark" in refused("\ufeff[server]").message


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.parent, "no such file or directory"),
        (lambda path: path.mkdir(), "is a directory"),
        (lambda path: path.symlink_to(path), "too many levels of symbolic links"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_by_name(tmp_path: Path, make: object, reason: str) -> None:
    assert callable(make)
    make(tmp_path / "c.toml")
    with pytest.raises(ConfigError) as caught:
        Config.load(tmp_path / "c.toml", {})
    assert caught.value.message == f"cannot read the configuration {tmp_path}/c.toml: {reason}"


def test_a_comment_in_chinese_and_windows_line_ends_are_fine() -> None:
    assert Config.parse("# 镜像\r\n[tags]\r\nagree = 2 # 两家\r\n", environ={}).tags.agree == 2


@pytest.mark.parametrize("key", ["gh\\rio", "gh\\u001b[31m", "gh\\u202e", "gh\\u061c"])
def test_a_key_is_shown_without_what_a_terminal_would_obey(key: str) -> None:
    """Found by fuzzing: the path of a key was shown as it was written."""
    error = refused(f'[profile.cn.registry."{key}"]\nmirors = []\n[tags]\n"{key}" = 1\n')
    assert error.message.replace("\n", "").isprintable()
