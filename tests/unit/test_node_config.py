"""What runtimes are told, out of a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.config import Config
from sampan.config.node import wanted
from sampan.errors import ConfigError, UsageError
from sampan.runtimes.wanted import Gateway, Hop, Wanted

MIRRORS = """
[registry."docker.io"]
mirrors = ["https://a.example", "https://b.example/docker.io"]
[registry."*"]
mirrors = ["https://b.example/{registry}"]
"""


def told(text: str = MIRRORS, *, via: str | None = None, direct: bool = False) -> Wanted:
    return wanted(Config.parse(text, environ={}), via=via, direct=direct)


def urls(found: Wanted, registry: str) -> list[str]:
    route = found.route(registry)
    assert route is not None
    return [str(hop) for hop in route.hops]


def test_this_machines_sampan_comes_first_then_the_mirrors_then_the_origin() -> None:
    found = told()
    assert urls(found, "docker.io") == [
        "http://127.0.0.1:5050",
        "https://a.example",
        "https://b.example/docker.io",
        "https://registry-1.docker.io",
    ]
    assert urls(found, "*") == ["http://127.0.0.1:5050", "https://b.example/{registry}"]
    assert [route.registry for route in found.routes] == ["docker.io", "*"]
    route = found.route("docker.io")
    assert route is not None
    assert route.hops[0].gateway == Gateway("docker.io")
    assert route.origin is route.hops[-1]
    assert len(route.mirrors) == 3


def test_direct_is_without_sampan_and_via_is_another_one() -> None:
    assert urls(told(direct=True), "docker.io")[0] == "https://a.example"
    assert urls(told(via="http://sampan.lan:5050"), "docker.io")[0] == "http://sampan.lan:5050"
    found = told(via="https://all.example/{registry}")
    assert urls(found, "docker.io")[0] == "https://all.example/docker.io"
    assert urls(found, "*")[0] == "https://all.example/{registry}"


@pytest.mark.parametrize("via", ["sampan.lan", "http://", "https://hub.example/docker.io", "ftp://x"])
def test_a_via_that_cannot_be_meant_is_refused(via: str) -> None:
    with pytest.raises(UsageError, match="--via"):
        told(via=via)
    with pytest.raises(UsageError, match="exclude"):
        told(via="http://sampan.lan:5050", direct=True)


def test_the_origin_stands_where_the_table_says_or_nowhere() -> None:
    text = MIRRORS.replace('[registry."*"]', "origin = 'first'\n[registry.\"*\"]")
    assert urls(told(text, direct=True), "docker.io")[0] == "https://registry-1.docker.io"
    route = told(text.replace("first", "never")).route("docker.io")
    assert route is not None
    assert route.origin is None


def test_a_mirror_whose_limits_a_runtime_cannot_keep_is_left_out_with_the_reason() -> None:
    route = told("""
[registry."docker.io"]
mirrors = [
  { url = "https://a.example", allow = ["library/*"] },
  { url = "https://b.example", repositories = { "library/a" = "b/a" } },
  { url = "https://c.example", proxy = "http://proxy.example:3128" },
  "https://d.example",
]
""").route("docker.io")
    assert route is not None
    assert [hop.netloc for hop in route.mirrors] == ["127.0.0.1:5050", "d.example"]
    assert [text.partition(" (")[2] for text in (line.rpartition(":")[2] for line in route.left_out)] == [
        "allow)",
        "repositories)",
        "proxy)",
    ]


def test_where_several_must_agree_hosts_behind_sampan_are_for_content_alone() -> None:
    found = told(MIRRORS + "[tags]\nagree = 2\n")
    route = found.route("docker.io")
    assert route is not None
    assert [hop.resolves for hop in route.hops] == [True, False, False, False]
    assert "content by digest" in found.notes[0]
    assert all(hop.resolves for hop in told(MIRRORS + "[tags]\nagree = 2\n", direct=True).routes[0].hops)


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:6000", "http://127.0.0.1:6000"),
        (":6000", "http://127.0.0.1:6000"),
        ("[::1]:7", "http://[::1]:7"),
    ],
)
def test_the_address_is_one_that_this_machine_can_dial(listen: str, url: str) -> None:
    text = f'[server]\nlisten = "{listen}"\nanonymous = true\ndefault_registry = "ghcr.io"\n'
    hop = told(text + '[registry."ghcr.io"]\n').routes[0].hops[0]
    assert hop.base == url
    assert hop.prefix_for("ghcr.io", sends_ns=False) == ""
    assert hop.prefix_for("docker.io", sends_ns=False) == "docker.io"
    assert hop.prefix_for("docker.io", sends_ns=True) == ""


def test_a_port_that_changes_cannot_be_told() -> None:
    with pytest.raises(ConfigError, match="a port that stays"):
        told('[server]\nlisten = "127.0.0.1:0"\n')


def test_certificates_are_read_and_secrets_do_not_show(tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / f"{name}.pem").write_text(f"the {name}")
    text = """
[server]
tls_cert = "cert.pem"
tls_key = "key.pem"
[registry."docker.io"]
[[registry."docker.io".mirrors]]
url = "https://a.example"
ca = "ca.pem"
client_cert = "cert.pem"
client_key = "key.pem"
username = "robot"
password = "hunter2"
headers = { X-Token = "hunter3" }
"""
    config = Config.parse(text, name=str(tmp_path / "sampan.toml"), environ={})
    local, mirror, _ = wanted(config).routes[0].hops
    assert (local.base, local.ca) == ("https://127.0.0.1:5050", "the cert")
    assert (mirror.ca, mirror.client_cert) == ("the ca", "the cert")
    assert mirror.client_key is not None
    assert mirror.client_key.reveal() == "the key"
    assert mirror.has_secrets
    assert "hunter" not in repr(mirror)
    assert "the key" not in repr(mirror)


def test_no_registry_has_two_routes_and_a_hop_has_one_spelling() -> None:
    assert len({route.registry for route in told("").routes}) == len(told("").routes) > 5
    assert str(Hop("https://a.example", "x/y")) == "https://a.example/x/y"


def test_a_command_that_cannot_be_split_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"node\.commands\.docker: expected a command, got a quote"):
        Config.parse('[node.commands]\ndocker = "kill \'x"\n', environ={})
