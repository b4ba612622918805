"""URLs that may be dialled have one spelling."""

from __future__ import annotations

import pytest

from sampan.upstream.url import follow, parse_url, registrable_domain


@pytest.mark.parametrize(
    ("text", "netloc", "target"),
    [
        ("https://docker.m.daocloud.io", "docker.m.daocloud.io", "/"),
        ("https://EXAMPLE.com:443/A?b=C%2f#d", "example.com", "/A?b=C%2f"),
        ("http://127.0.0.1:5000/x", "127.0.0.1:5000", "/x"),
        ("https://[2001:DB8:0::1]:8443/", "[2001:db8::1]:8443", "/"),
        ("https://example.com?x=1", "example.com", "/?x=1"),
        ("https://my_host.lan/", "my_host.lan", "/"),
    ],
)
def test_a_url_is_taken_apart_once(text: str, netloc: str, target: str) -> None:
    url = parse_url(text)
    assert (url.netloc, url.target) == (netloc, target)
    assert parse_url(str(url)) == url


@pytest.mark.row("14")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com",
        "//example.com/x",
        "ftp://example.com/",
        "file:///etc/passwd",
        "data:text/plain,x",
        "gopher://example.com:70/",
        "https://user:password@example.com/",
        "https://user@example.com/",
        "https://",
        "https:///path",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://example.com:٣/",
        "https://example.com:22/",
        "https://example.com:25/",
        "https://example.com./",
        "https://exa mple.com/",
        "https://example.com/a\r\nX: y",
        "https://example.com\\@evil.com/",
        "https://exämple.com/",
        "https://-a.com/",
        "https://a..b/",
        "https://[::1/",
        "https://[::1]x/",
        "https://[fe80::1%25eth0]/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://0177.0.0.1/",
        "https://1.2.3.4.5/",
        "https://999.1.1.1/",
        "https://" + "a" * 64 + ".com/",
        "https://" + ".".join(["a" * 50] * 6) + "/",
        "https://example.com/" + "a" * 10_000,
    ],
)
def test_a_url_that_nobody_should_dial_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_url(text)


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        ("/data?x=1", "https://a.io/data?x=1"),
        ("elsewhere", "https://a.io/v2/x/blobs/elsewhere"),
        ("//cdn.io/y", "https://cdn.io/y"),
        ("https://cdn.io/y?sig=a%2Fb%3D", "https://cdn.io/y?sig=a%2Fb%3D"),
    ],
)
def test_a_redirect_is_followed_to_where_it_leads(location: str, leads_to: str) -> None:
    assert str(follow(parse_url("https://a.io/v2/x/blobs/y"), location)) == leads_to


@pytest.mark.row("14")
@pytest.mark.parametrize(
    "location", ["http://a.io/x", "ftp://a.io/", "https://u:p@a.io/", "https://[::1", "data:,x"]
)
def test_a_redirect_to_where_nobody_may_go_is_refused(location: str) -> None:
    with pytest.raises(ValueError):
        follow(parse_url("https://a.io/v2/"), location)


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("registry-1.docker.io", "docker.io"),
        ("auth.docker.io", "docker.io"),
        ("docker.m.daocloud.io", "daocloud.io"),
        ("a.b.example.co.uk", "example.co.uk"),
        ("a.example.com.cn", "example.com.cn"),
        ("one.azurecr.io", "one.azurecr.io"),
        ("one.workers.dev", "one.workers.dev"),
        ("harbor", "harbor"),
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_the_operator_of_a_name_is_who_registered_it(host: str, domain: str) -> None:
    assert registrable_domain(host) == domain
