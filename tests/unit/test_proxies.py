"""Which proxy a request goes through."""

from __future__ import annotations

import pytest

from sampan.errors import ConfigError
from sampan.upstream.proxies import Proxy, ProxySettings
from sampan.upstream.url import parse_url

PROXY = "http://proxy.lan:3128"


@pytest.mark.parametrize(
    ("text", "scheme", "netloc"),
    [
        ("http://proxy:3128", "http", "proxy:3128"),
        ("proxy:3128", "http", "proxy:3128"),
        ("https://proxy", "https", "proxy:443"),
        ("socks5://10.0.0.1", "socks5", "10.0.0.1:1080"),
        ("socks5h://10.0.0.1:9050/", "socks5", "10.0.0.1:9050"),
        ("http://[::1]:80", "http", "[::1]:80"),
    ],
)
def test_a_proxy_is_a_url(text: str, scheme: str, netloc: str) -> None:
    proxy = Proxy.parse(text)
    assert (proxy.scheme, proxy.netloc) == (scheme, netloc)


def test_a_proxy_may_have_a_user_whose_password_is_not_shown() -> None:
    proxy = Proxy.parse("http://us%40er:hunter2@proxy:1")
    assert proxy.username == "us@er"
    assert proxy.authorization == "Basic dXNAZXI6aHVudGVyMg=="
    assert "hunter2" not in repr(proxy)


@pytest.mark.parametrize(
    "text", ["ftp://p:1", "http://u:hunter2@p:0", "http://p/x", "socks4://p", "http://", "a@b@c"]
)
def test_what_is_no_proxy_is_a_configuration_error_without_secrets(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Proxy.parse(text)
    assert "hunter2" not in str(caught.value)


def test_the_scheme_of_the_target_chooses_the_proxy() -> None:
    settings = ProxySettings.from_environment({"HTTP_PROXY": "http://a:1", "HTTPS_PROXY": "http://b:2"})
    assert settings.proxy_for(parse_url("http://x.io")) == Proxy("http", "a", 1)
    assert settings.proxy_for(parse_url("https://x.io")) == Proxy("http", "b", 2)


def test_all_proxy_stands_in_and_lower_case_wins() -> None:
    settings = ProxySettings.from_environment(
        {"ALL_PROXY": "socks5://s:1", "HTTPS_PROXY": "http://upper:1", "https_proxy": "http://lower:1"}
    )
    assert settings.proxy_for(parse_url("http://x.io")) == Proxy("socks5", "s", 1)
    assert settings.proxy_for(parse_url("https://x.io")) == Proxy("http", "lower", 1)


def test_in_a_cgi_program_http_proxy_is_what_a_client_sent() -> None:
    settings = ProxySettings.from_environment({"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"})
    assert settings.proxy_for(parse_url("http://x.io")) is None


def test_a_broken_proxy_variable_is_named() -> None:
    with pytest.raises(ConfigError, match="HTTPS_PROXY"):
        ProxySettings.from_environment({"HTTPS_PROXY": "nonsense://x"})


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("", "https://a.example.com", False),
        ("*", "https://a.example.com", True),
        ("example.com", "https://a.example.com", True),
        ("example.com", "https://example.com", True),
        (".example.com", "https://a.example.com", True),
        ("*.example.com", "https://a.example.com", True),
        ("example.com", "https://badexample.com", False),
        ("example.com:8443", "https://example.com:8443", True),
        ("example.com:8443", "https://example.com", False),
        ("10.0.0.0/8", "https://10.2.3.4", True),
        ("10.0.0.0/8", "https://11.2.3.4", False),
        ("10.2.3.4", "https://10.2.3.4", True),
        ("fd00::/8", "https://[fd00::1]", True),
        ("[fd00::1]:5000", "https://[fd00::1]:5000", True),
        ("[fd00::1]:5000", "https://[fd00::1]:5001", False),
        ("fd00::1", "https://[fd00::1]", True),
        (" foo , EXAMPLE.com ", "https://example.com", True),
        ("10.0.0.0/99,bogus/8", "https://10.2.3.4", False),
    ],
)
@pytest.mark.row("N19")
def test_no_proxy_names_who_is_dialled_directly(no_proxy: str, url: str, direct: bool) -> None:
    settings = ProxySettings.from_environment({"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy})
    assert (settings.proxy_for(parse_url(url)) is None) is direct


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1", "http://127.9.9.9", "http://[::1]", "http://localhost", "http://a.localhost"],
)
def test_loopback_never_goes_through_a_proxy(url: str) -> None:
    settings = ProxySettings.from_environment({"ALL_PROXY": PROXY})
    assert settings.proxy_for(parse_url(url)) is None
