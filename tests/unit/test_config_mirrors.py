"""One mirror: a URL, or a table of what the host is and may be asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.config import Config
from sampan.errors import ConfigError
from sampan.upstream.host import Host


def host_of(mirror: str, name: str = "sampan.toml", **environ: str) -> Host:
    text = f'[registry."docker.io"]\nmirrors = [{mirror}]\norigin = "never"\n'
    hosts = Config.parse(text, name=name, environ=environ).hosts_for("docker.io")
    assert hosts is not None
    assert len(hosts) == 1
    return hosts[0]


def refused(mirror: str, name: str = "sampan.toml", **environ: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        host_of(mirror, name, **environ)
    return caught.value


def test_a_url_alone_is_a_host_that_may_do_everything() -> None:
    host = host_of('"https://m.daocloud.io/docker.io"')
    assert (host.name, host.url, host.prefix) == (
        "m.daocloud.io/docker.io",
        "https://m.daocloud.io",
        "docker.io",
    )
    assert (host.role, host.capabilities) == ("mirror", frozenset({"pull", "resolve"}))
    assert (host.username, host.password, host.verify, host.private, host.insecure) == (
        None,
        None,
        None,
        False,
        False,
    )


def test_every_key_of_a_table_reaches_the_host(tmp_path: Path) -> None:
    for file in ("ca.pem", "c.pem", "k.pem"):
        (tmp_path / file).write_text("x")
    host = host_of(
        """{ url = "https://harbor.lan/hub", capabilities = ["pull"], allow = ["library/*", "mycorp/**"],
             repositories = { "library/a" = "b/a" }, username = "robot", password = "271828",
             ca = "ca.pem", client_cert = "c.pem", client_key = "k.pem", insecure = true,
             proxy = "socks5://proxy.lan:1080", headers = { X-Account = "7" }, group = "us",
             verify = "before", requests_per_minute = 90, max_connections = 3, private = true }""".replace(
            "\n", " "
        ),
        name=str(tmp_path / "sampan.toml"),
    )
    assert (host.capabilities, host.allow) == (frozenset({"pull"}), ("library/*", "mycorp/**"))
    assert dict(host.repositories) == {"library/a": "b/a"}
    assert host.password is not None
    assert (host.username, host.password.reveal()) == ("robot", "271828")
    assert (host.ca, host.client_cert, host.client_key) == tuple(
        str(tmp_path / name) for name in ("ca.pem", "c.pem", "k.pem")
    )
    assert (host.insecure, host.proxy, dict(host.headers)) == (
        True,
        "socks5://proxy.lan:1080",
        {"X-Account": "7"},
    )
    assert (host.group, host.verify, host.private) == ("us", "before", True)
    assert (host.requests_per_minute, host.max_connections) == (90, 3)
    assert "271828" not in repr(host)


@pytest.mark.parametrize(
    ("url", "group"),
    [
        ("https://docker.m.daocloud.io", "daocloud.io"),
        ("https://mirror.example.com.cn", "example.com.cn"),
        ("https://127.0.0.1:5000", "127.0.0.1"),
        ("https://harbor", "harbor"),
    ],
)
def test_the_operator_is_the_registered_domain_unless_told(url: str, group: str) -> None:
    assert host_of(f'"{url}"').group == group


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:5000", "https://10.1.2.3", "http://localhost:5000", "https://[fd00::1]"]
)
def test_a_url_that_names_a_private_address_means_it(url: str) -> None:
    assert host_of(f'"{url}"').private


def test_a_named_host_is_public_unless_told() -> None:
    assert not host_of('"https://harbor.lan"').private


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("docker.m.daocloud.io", "expected a URL that begins with https:// or http://"),
        ("", "expected a URL that begins with https:// or http://"),
        ("ftp://mirror.example", "http"),
        ("https://", "host"),
        ("https://mirror.example:99999", "port"),
        ("https://mirror.example/v2/docker.io", "/v2"),
        ("https://mirror.example/Upper", "repository"),
        ("https://mirror.example/a?b=c", "query"),
        ("https://{registry}/x", "expected {registry} in the path only"),
        ("https://{registry}.mirror.example", "expected {registry} in the path only"),
        ("https://169.254.169.254", "metadata"),
        ("https://2130706433", "odd spelling"),
    ],
)  # fmt: skip
@pytest.mark.row("F3")
def test_a_wrong_url_is_refused_with_a_hint(url: str, message: str) -> None:
    error = refused(f'"{url}"')
    assert error.message.startswith('sampan.toml:2: registry."docker.io".mirrors[0]: ')
    assert message in error.message
    assert error.hint


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    error = refused('"https://robot:271828@harbor.lan"')
    assert "user or password" in error.message
    assert "271828" not in f"{error.message} {error.hint}"


def test_the_registry_in_a_path_is_put_in() -> None:
    assert host_of('"https://m.daocloud.io/x/{registry}"').prefix == "x/docker.io"


@pytest.mark.parametrize(
    ("keys", "place", "message"),
    [
        ("capabilities = []", ".capabilities", 'expected "pull", "resolve" or both'),
        ('capabilities = ["push"]', ".capabilities[0]", 'expected "pull" or "resolve", got "push"'),
        ("allow = []", ".allow", "expected at least one pattern"),
        ('allow = ["Upper/*"]', "", "not a repository pattern"),
        ("repositories = {}", ".repositories", "expected at least one name"),
        ('repositories = { "a:b" = "c" }', ".repositories", "not a repository"),
        ('username = "a:b", password = "x"', ".username", "without colons"),
        ('proxy = "ftp://x"', ".proxy", "scheme"),
        ('headers = { Host = "x" }', "", "cannot be configured"),
        ('headers = { X = "a\\nb" }', "", "not a header"),
        ('group = ""', ".group", "expected the operator's name"),
        ("requests_per_minute = 0", ".requests_per_minute", "expected a number from 1 to 1000000, got 0"),
        ("max_connections = -1", ".max_connections", "expected a number from 1 to 1000, got -1"),
        ("max_connections = 0x" + "f" * 2000, ".max_connections", "got one far outside"),
        ('verify = "never"', ".verify", 'expected "before" or "stream"'),
        ('ca = "no.pem"', ".ca", "expected a readable file, got no.pem: no such file or directory"),
        ('ca = ""', ".ca", "expected the path of a file"),
        ('client_key = "/dev/null"', "", "client_key without client_cert"),
    ],
)  # fmt: skip
@pytest.mark.row("F3")
def test_a_wrong_value_is_refused_at_its_key(keys: str, place: str, message: str) -> None:
    error = refused(f'{{ url = "https://m.example", {keys} }}')
    assert error.message.startswith(f'sampan.toml:2: registry."docker.io".mirrors[0]{place}: ')
    assert message in error.message


def test_a_password_may_come_from_the_environment_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("271828\n")
    for key, environ in (('password_env = "P"', {"P": "271828"}), ('password_file = "secret"', {})):
        host = host_of(
            f'{{ url = "https://h.lan", username = "u", {key} }}', str(tmp_path / "sampan.toml"), **environ
        )
        assert host.password is not None
        assert host.password.reveal() == "271828"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ('username = "u"', "got username"),
        ('password = "271828"', "got password"),
        (
            'username = "u", password = "271828", password_env = "P"',
            "got username and password and password_env",
        ),
        ('username = "u", password = ""', "expected a password, got nothing: it is empty"),
        ('username = "u", password_env = "NO"', "expected the environment variable NO to be set, got none"),
        ('username = "u", password_env = "EMPTY"', "the environment variable EMPTY is empty"),
        ('username = "u", password_env = "LINES"', "control characters in the environment variable LINES"),
        ('username = "u", password_file = "nofile"', "expected a readable file, got nofile: no such file"),
        ('username = "u", password_file = "/dev/zero"', "expected a file of at most 65536 bytes"),
        ('username = "u", password_file = "/"', "is a directory"),
    ],
)
def test_a_password_that_cannot_be_had_is_told_without_showing_any(keys: str, message: str) -> None:
    error = refused(f'{{ url = "https://h.lan", {keys} }}', EMPTY="", LINES="271828\nx")
    assert message in error.message
    assert "271828" not in f"{error.message} {error.hint}"


def test_a_password_file_that_is_not_text_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"271828\xff")
    error = refused(
        '{ url = "https://h.lan", username = "u", password_file = "secret" }', str(tmp_path / "sampan.toml")
    )
    assert f"expected text, got a binary file: {tmp_path}/secret" in error.message
    assert error.__cause__ is None
    assert error.__context__ is None


def test_a_password_in_clear_text_is_for_private_hosts_only() -> None:
    keys = 'username = "u", password = "p"'
    assert "expected https" in refused(f'{{ url = "http://h.example", {keys} }}').message
    assert "expected https" in refused('{ url = "http://h.example", headers = { X = "1" } }').message
    assert host_of(f'{{ url = "http://127.0.0.1:1", {keys} }}').username == "u"
    assert host_of(f'{{ url = "http://h.example", private = true, {keys} }}').username == "u"
