"""A host is right when it is made, or it is not made."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.errors import ConfigError
from sampan.secret import Secret
from sampan.upstream.host import Host


@pytest.mark.parametrize(
    ("url", "name", "base", "upstream"),
    [
        (
            "https://docker.m.daocloud.io",
            "docker.m.daocloud.io",
            "https://docker.m.daocloud.io",
            "library/alpine",
        ),
        (
            "https://m.daocloud.io/docker.io/",
            "m.daocloud.io/docker.io",
            "https://m.daocloud.io",
            "docker.io/library/alpine",
        ),
        (
            "https://harbor.lan:8443/hub",
            "harbor.lan:8443/hub",
            "https://harbor.lan:8443",
            "hub/library/alpine",
        ),
        ("http://127.0.0.1:5000", "127.0.0.1:5000", "http://127.0.0.1:5000", "library/alpine"),
    ],
)
def test_a_mirror_is_a_host_with_or_without_a_prefix(url: str, name: str, base: str, upstream: str) -> None:
    host = Host.from_url(url)
    assert (host.name, host.url) == (name, base)
    assert host.repository_for("library/alpine") == upstream


def test_renamed_repositories_are_all_that_a_host_is_asked_for() -> None:
    names = {"coredns/coredns": "google_containers/coredns", "pause": "google_containers/pause"}
    host = Host.from_url("https://registry.aliyuncs.com", repositories=names)
    assert host.repository_for("coredns/coredns") == "google_containers/coredns"
    assert host.repository_for("etcd") is None


def test_a_prefix_is_put_before_renamed_repositories_too() -> None:
    host = Host.from_url("https://harbor.lan/hub", repositories={"a/b": "c/d"}, private=True)
    assert host.repository_for("a/b") == "hub/c/d"


@pytest.mark.parametrize(
    ("glob", "repository", "allowed"),
    [
        ("library/*", "library/alpine", True),
        ("library/*", "library/a/b", False),
        ("library/*", "mycorp/alpine", False),
        ("mycorp/**", "mycorp/a", True),
        ("mycorp/**", "mycorp/a/b/c", True),
        ("mycorp/**", "mycorp", False),
        ("**", "anything/at/all", True),
        ("library/ng*", "library/nginx", True),
        ("library/alpine", "library/alpine", True),
        ("library/alp.ne", "library/alpine", False),
    ],
)
def test_allow_bounds_what_a_host_is_asked_for(glob: str, repository: str, allowed: bool) -> None:
    host = Host.from_url("https://a.io", allow=(glob,))
    assert (host.repository_for(repository) is not None) is allowed


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@a.io",
        "ftp://a.io",
        "a.io",
        "https://a.io/v2/library",
        "https://a.io/v2",
        "https://a.io/UPPER",
        "https://a.io/x?y=1",
        "https://a.io/a//b",
        "https://a.io/../b",
        "https://127.1/",
        "https://169.254.169.254/",
        "https://[fd00:ec2::254]/",
        "https://0.0.0.0:5000",
        "https://224.0.0.1",
    ],
)
def test_a_url_that_cannot_be_a_mirror_is_a_configuration_error_with_a_hint(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Host.from_url(url, private=True)
    assert caught.value.hint
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"capabilities": frozenset()},
        {"capabilities": frozenset({"push"})},
        {"allow": ("a/[b]",)},
        {"allow": ("*" * 9,)},
        {"repositories": {"A": "b"}},
        {"repositories": {"a": "b/../c"}},
        {"headers": {"Host": "evil"}},
        {"headers": {"X": "a\r\nY: b"}},
        {"headers": {"bad name": "x"}},
        {"username": "u"},
        {"password": Secret("p")},
        {"client_key": "k.pem"},
        {"requests_per_minute": 0},
        {"max_connections": 0},
        {"verify": "never"},
        {"role": "peer"},
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        Host.from_url("https://a.io", **options)
    assert caught.value.hint


def test_tls_settings_on_a_plain_url_are_refused() -> None:
    with pytest.raises(ConfigError, match="TLS"):
        Host.from_url("http://a.io", ca="ca.pem")


@pytest.mark.parametrize(
    ("url", "private"),
    [
        ("https://10.0.0.1", True),
        ("http://127.0.0.1:1", True),
        ("http://[::1]:1", True),
        ("http://localhost:5000", True),
        ("http://registry.localhost", True),
        ("https://100.64.1.1", True),
        ("https://a.io", False),
        ("https://1.1.1.1", False),
        ("https://harbor.lan", False),
    ],
)
def test_only_a_url_that_names_a_private_place_makes_a_host_private(url: str, private: bool) -> None:
    assert Host.from_url(url).private is private
    assert Host.from_url(url, private=True).private


def test_the_operator_is_the_group_or_the_registered_name() -> None:
    assert Host.from_url("https://docker.m.daocloud.io").operator == "daocloud.io"
    assert Host.from_url("https://docker.m.daocloud.io", group="d").operator == "d"


def test_a_host_shows_no_secret() -> None:
    host = Host.from_url(
        "https://a.io",
        username="u",
        password=Secret("hunter2"),
        proxy="http://u:hunter2@p:1",
        headers={"X-Key": "hunter2"},
    )
    assert "hunter2" not in repr(host)
    assert "hunter2" not in str(Secret("hunter2"))
    assert Secret("hunter2").reveal() == "hunter2"


def test_a_host_is_a_value() -> None:
    one, two = (Host.from_url("https://a.io", repositories={"a": "b"}) for _ in range(2))
    assert one == two
    assert hash(one) == hash(two)
    with pytest.raises(TypeError):
        one.repositories["c"] = "d"  # type: ignore[index] # that it cannot be written is the point
