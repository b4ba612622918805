"""The whole: the documented example, the server's rules, defaults, and what the command line overrides."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.config import Address, Config
from sampan.config.check import check
from sampan.config.problems import Problems
from sampan.config.schema import File
from sampan.errors import ConfigError


def refused(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        Config.parse(text, environ={})
    return caught.value


def test_the_defaults_are_those_of_the_documentation() -> None:
    config = Config.parse("", environ={})
    assert config.server.listen == Address("127.0.0.1", 5050)
    assert (config.server.anonymous, config.server.htpasswd, config.server.tls_cert) == (False, None, None)
    assert config.store.max_size_bytes == 50 * 1024**3
    assert (config.tags.fresh_for_seconds, config.tags.stale_for_seconds, config.tags.agree) == (
        300,
        math.inf,
        1,
    )
    assert (config.rewrite.to, config.rewrite.exceptions, dict(config.node_commands)) == ("mirror", (), {})


def test_every_value_of_a_file_is_read() -> None:
    config = Config.parse(
        """
        [server]
        listen = "[::1]:80"
        [store]
        path = "/srv/images"
        max_size = "1TiB"
        [tags]
        fresh_for = "1h"
        stale_for = "7d"
        agree = 2
        [rewrite]
        to = "sampan.lan:5050/{registry}/{repository}"
        except = ["docker.io/mycorp/*"]
        [node.commands]
        containerd = "service containerd restart"
        """,
        environ={},
    )
    assert config.server.listen == Address("::1", 80)
    assert (config.store.path, config.store.max_size_bytes) == (Path("/srv/images"), 1024**4)
    assert (config.tags.fresh_for_seconds, config.tags.stale_for_seconds, config.tags.agree) == (
        3600,
        604_800,
        2,
    )
    assert config.rewrite.to == "sampan.lan:5050/{registry}/{repository}"
    assert config.rewrite.exceptions == ("docker.io/mycorp/*",)
    assert config.node_commands == {"containerd": "service containerd restart"}


@pytest.mark.parametrize("listen", [":5050", "0.0.0.0:5050", "[::]:5050", "10.0.0.1:5050", "mirror.lan:5050"])
def test_a_server_open_to_other_machines_must_say_who_may_ask(listen: str) -> None:
    error = refused(f'[server]\nlisten = "{listen}"\n')
    assert error.message.startswith("sampan.toml:2: server.listen: expected an address of this machine alone")
    assert "server.anonymous = true" in (error.hint or "")
    assert Config.parse(f'[server]\nlisten = "{listen}"\nanonymous = true\n', environ={}).server.anonymous


def test_a_login_opens_the_server_too(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("")
    text = '[server]\nlisten = ":5050"\nhtpasswd = "users"\n'
    config = Config.parse(text, name=str(tmp_path / "sampan.toml"), environ={})
    assert config.server.htpasswd == tmp_path / "users"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('htpasswd = "/no/such"', "server.htpasswd: expected a readable file, got /no/such: no such file"),
        ('tls_cert = "/dev/null"', "server.tls_cert: expected tls_key beside it, got none"),
        ('tls_key = "/dev/null"', "server.tls_key: expected tls_cert beside it, got none"),
        ('tls_cert = "/no"\ntls_key = "/dev/null"', "server.tls_cert: expected a readable file, got /no"),
        ('htpasswd = "/dev/null"\nanonymous = true', "server.anonymous: expected false beside htpasswd"),
        ('listen = "5050"', "server.listen: expected HOST:PORT"),
        ('default_registry = "*"', "server.default_registry: expected a configured registry"),
        ('default_registry = "a b"', "server.default_registry: not a registry"),
    ],
)  # fmt: skip
def test_a_server_that_could_not_start_is_refused(lines: str, message: str) -> None:
    assert message in refused(f"[server]\n{lines}\n").message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[store]\nmax_size = "5"', "sampan.toml:2: store.max_size: expected a size"),
        ('[store]\npath = ""', "sampan.toml:2: store.path: expected the path of a file"),
        ('[tags]\nfresh_for = "x"', "sampan.toml:2: tags.fresh_for: expected a duration"),
        ('[tags]\nstale_for = "x"', "sampan.toml:2: tags.stale_for: expected a duration"),
        ("[tags]\nagree = 0", "sampan.toml:2: tags.agree: expected a number from 1 to 10, got 0"),
        ('[rewrite]\nto = "x.lan"', 'sampan.toml:2: rewrite.to: expected "mirror" or a template'),
        ('[node.commands]\ndocker = " "', "sampan.toml:2: node.commands.docker: expected a command"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_its_line(text: str, message: str) -> None:
    assert refused(text).message.startswith(message)


def test_paths_start_at_the_files_directory(tmp_path: Path) -> None:
    file = tmp_path / "deep/sampan.toml"
    file.parent.mkdir()
    file.write_text('[store]\npath = "content"\n')
    assert Config.load(file, {}).store.path == tmp_path / "deep/content"


def test_the_command_line_stands_above_the_file_and_is_checked_like_it(tmp_path: Path) -> None:
    file = tmp_path / "sampan.toml"
    file.write_text('[server]\nlisten = "nonsense"\n[store]\npath = "content"\n')
    config = Config.load(file, {}, listen="127.0.0.1:0", store="elsewhere")
    assert (config.server.listen, config.store.path) == (Address("127.0.0.1", 0), Path("elsewhere"))
    with pytest.raises(ConfigError, match=r"^--listen: expected HOST:PORT"):
        Config.load(file, {}, listen="x")
    with pytest.raises(ConfigError, match=r"^--listen: expected an address of this machine alone"):
        Config.load(file, {}, listen=":5050")
    with pytest.raises(ConfigError, match=r"^--store: expected the path"):
        Config.load(file, {}, listen="127.0.0.1:0", store="")


def test_a_configuration_does_not_show_its_secrets() -> None:
    mirror = '{ url = "https://h.lan", username = "u", password = "271828", proxy = "http://u:314159@p.lan" }'
    config = Config.parse(f'[registry."a.b"]\nmirrors = [{mirror}]\n', environ={"TOKEN": "161803"})
    for secret in ("271828", "314159", "161803"):
        assert secret not in repr(config)


_KEYS = st.sampled_from(
    [
        "server",
        "store",
        "tags",
        "registry",
        "profile",
        "when",
        "rewrite",
        "node",
        "commands",
        "listen",
        "agree",
        "mirrors",
        "origin",
        "url",
        "env",
        "set",
        "capabilities",
        "except",
        "docker.io",
        "repositories",
        "private",
    ]
)
_VALUES = st.recursive(
    st.integers() | st.booleans() | st.floats(allow_nan=False) | st.sampled_from(["", "x", "first", "pull"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=60)
@given(st.dictionaries(_KEYS, _VALUES, max_size=4))
def test_a_document_without_problems_converts_to_the_schema(document: dict[str, object]) -> None:
    problems = Problems("x")
    check(document, problems)
    if not problems.found:
        msgspec.convert(document, File)
    else:
        with pytest.raises(ConfigError):
            problems.raise_any()
