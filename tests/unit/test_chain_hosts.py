"""Whom the runtimes' own files name, as hosts that can be looked at."""

from __future__ import annotations

from pathlib import Path

from sampan.doctor.chain.hosts import asked_hosts
from sampan.oci import Reference
from sampan.upstream.host import Host
from scenes import lay, scene

ALPINE = Reference.parse("alpine:3")
HUB = "https://registry-1.docker.io"
CONFIG = "etc/containerd/config.toml"
HOSTS = "etc/containerd/certs.d/docker.io/hosts.toml"
DAEMON = "etc/docker/daemon.json"
PODMAN = "etc/containers/registries.conf"
CERTS_D = """version = 2
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "/etc/containerd/certs.d"
"""


def asked(root: Path, *runtimes: str, typed: str = "alpine:3", **files: str) -> list[Host]:
    places = {"config": CONFIG, "hosts": HOSTS, "daemon": DAEMON, "podman": PODMAN}
    lay(root, {places[name]: text for name, text in files.items()})
    (hosts,) = asked_hosts(scene(root, typed, runtimes=runtimes)).values()
    return [each.host for each in hosts]


def shown(hosts: list[Host]) -> list[tuple[str, str, str]]:
    return [(host.url, host.prefix, host.role) for host in hosts]


def test_hosts_toml_gives_mirrors_their_paths_and_the_registry_itself(tmp_path: Path) -> None:
    hosts = """[host."https://a.lan"]
capabilities = ["pull", "resolve"]
skip_verify = true
[host."http://b.lan:5000/v2/hub"]
capabilities = ["pull", "resolve"]
override_path = true
header = {X-Meta = "a"}
[host."https://c.lan/elsewhere"]
override_path = true
"""
    found = asked(tmp_path, "containerd@1.7.27", config=CERTS_D, hosts=hosts)
    assert shown(found) == [
        ("https://a.lan", "", "mirror"),
        ("http://b.lan:5000", "hub", "mirror"),
        (HUB, "", "origin"),
    ]
    assert found[0].insecure
    assert found[1].headers == {"X-Meta": "a"}


def test_one_that_two_runtimes_name_is_looked_at_once(tmp_path: Path) -> None:
    found = asked(
        tmp_path,
        "containerd@1.7.27",
        "docker@20.10",
        config=CERTS_D,
        hosts='[host."https://a.lan"]\n',
        daemon='{"registry-mirrors": ["https://a.lan", "https://b.lan"]}',
    )
    assert [host.name for host in found] == ["a.lan", "registry-1.docker.io", "b.lan"]


def test_podmans_prefix_is_one_of_the_host(tmp_path: Path) -> None:
    text = '[[registry]]\nprefix = "docker.io"\nlocation = "docker.io"\n'
    text += '[[registry.mirror]]\nlocation = "a.lan/hub"\n'
    assert shown(asked(tmp_path, "podman@4.3.1", podman=text)) == [
        ("https://a.lan", "hub", "mirror"),
        (HUB, "", "mirror"),
    ]


def test_who_is_blocked_is_left_out(tmp_path: Path) -> None:
    text = '[[registry]]\nprefix = "docker.io"\nlocation = "docker.io"\nblocked = true\n'
    text += '[[registry.mirror]]\nlocation = "a.lan"\n'
    assert [host.name for host in asked(tmp_path, "podman@4.3.1", podman=text)] == ["a.lan"]


def test_who_may_be_asked_by_http_is_two(tmp_path: Path) -> None:
    text = '[[registry]]\nprefix = "docker.io"\nlocation = "docker.io"\n'
    text += '[[registry.mirror]]\nlocation = "a.lan"\ninsecure = true\n'
    lay(tmp_path, {PODMAN: text})
    ((either, origin),) = asked_hosts(scene(tmp_path, "alpine:3", runtimes=["podman@4.3.1"])).values()
    assert either.plain is not None
    assert (either.host.url, either.plain.url) == ("https://a.lan", "http://a.lan")
    assert either.host.insecure
    assert origin.plain is None


def test_what_has_no_program_is_none_where_another_has(tmp_path: Path) -> None:
    """/etc/docker/certs.d is podman's too."""
    files = {DAEMON: '{"registry-mirrors": ["https://a.lan"]}', PODMAN: ""}
    answers = {"podman": {"version": "podman version 4.3.1"}}
    lay(tmp_path, files)
    both = scene(tmp_path, "alpine:3", runtimes=["docker@28.5", "podman@4.3.1"], answers=answers)
    (hosts,) = asked_hosts(both).values()
    assert [each.host.name for each in hosts] == ["registry-1.docker.io"]


def test_who_is_asked_with_a_login_of_the_file_is_left_to_the_replay(tmp_path: Path) -> None:
    config = """version = 2
[plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]
endpoint = ["https://a.lan", "https://b.lan"]
[plugins."io.containerd.grpc.v1.cri".registry.configs."a.lan".auth]
username = "me"
password = "hidden-password"
"""
    found = asked(tmp_path, "containerd@1.7.27", config=config)
    assert [host.name for host in found] == ["b.lan", "registry-1.docker.io"]


def test_where_a_file_is_named_that_is_gone_nobody_is_asked(tmp_path: Path) -> None:
    hosts = '[host."https://a.lan"]\nclient = "/gone.pem"\n[host."https://b.lan"]\n'
    assert asked(tmp_path, "containerd@1.7.27", config=CERTS_D, hosts=hosts) == []


def test_a_host_that_is_passed_over_keeps_no_other_from_being_looked_at(tmp_path: Path) -> None:
    text = '[[registry]]\nprefix = "docker.io"\nlocation = "docker.io"\n'
    text += '[[registry.mirror]]\nlocation = "a.lan"\n'
    lay(tmp_path, {"etc/docker/certs.d/a.lan/mine.key": "KEY"})
    assert [h.name for h in asked(tmp_path, "podman@4.3.1", podman=text)] == ["registry-1.docker.io"]


def test_no_runtime_is_nobody(tmp_path: Path) -> None:
    assert asked(tmp_path) == []
