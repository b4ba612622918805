"""The catalogue of mirrors: the one that is built in, what an entry means, and what is wrong with another."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from sampan.config import Config
from sampan.config.candidates import candidates, configured, listed
from sampan.config.catalogue import built_in, parse_catalogue
from sampan.config.trying import parse_nameserver
from sampan.doctor.catalogue import Entry
from sampan.errors import ConfigError, RegistryUnknown, UsageError
from sampan.oci.reference import DOCKER_HUB, Reference

ALPINE = Reference.parse("alpine:3")
TODAY = date(2026, 8, 22)
GOOD = """\
updated = "2026-01-01"

[registry."docker.io"]
sample = "library/alpine:latest"

[[mirror]]
url = "https://mirror.example"
form = "host"
registries = ["docker.io"]
group = "example"
last_verified = "2026-01-01"
source = "https://list.example"
"""


def entry(more: str = "", *, url: str = "https://mirror.example") -> Entry:
    (found,) = parse_catalogue(f"{GOOD.replace('https://mirror.example', url)}{more}", "c.toml").entries
    return found


# -- the built-in one -----------------------------------------------------------------------------


def test_the_built_in_one_is_read_and_has_the_dead_ones_too() -> None:
    entries = built_in().entries
    assert {each.state for each in entries} == {"up", "unconfirmed", "dead"}
    assert sum(each.state == "dead" for each in entries) >= 20
    assert len(entries) >= 60


@pytest.mark.parametrize("each", built_in().entries, ids=lambda each: each.url)
def test_each_built_in_entry_is_a_host_for_each_of_its_registries(each: Entry) -> None:
    assert each.source.startswith("https://")
    assert each.last_verified <= built_in().updated
    for registry in each.registries:
        host = each.host_for(registry)
        assert (host is None) == ("account" in each.needs)
        if host is not None:
            assert host.base.scheme == "https"
            assert not host.private
            assert registry in host.prefix or each.form in ("host", "renamed")


def test_each_sample_is_an_image_of_its_registry_with_an_origin() -> None:
    samples = built_in().samples
    assert DOCKER_HUB in samples
    for registry, sample in samples.items():
        assert sample.reference.registry == registry
        assert sample.origin.role == "origin"


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("docker.m.daocloud.io", "up"),
        ("mirror.gcr.io", "up"),
        ("mirror.baidubce.com", "dead"),
        ("registry.docker-cn.com", "dead"),
        ("atomhub.openatom.cn", "dead"),
        ("hub-mirror.c.163.com", "dead"),
    ],
)
def test_what_is_known_of_well_known_names(name: str, state: str) -> None:
    assert [each.state for each in built_in().entries if each.url == f"https://{name}"] == [state]


def test_repositories_that_are_called_otherwise_are_renamed() -> None:
    (aliyun,) = [each for each in built_in().entries if each.url == "https://registry.aliyuncs.com"]
    host = aliyun.host_for("registry.k8s.io")
    assert host is not None
    assert host.repository_for("coredns/coredns") == "google_containers/coredns"
    assert host.repository_for("ingress-nginx/controller") is None


# -- what an entry means --------------------------------------------------------------------------


def test_an_entry_is_old_after_ninety_days() -> None:
    one = entry()
    assert one.age_days(TODAY) == 233
    assert one.is_old(TODAY)
    assert not one.is_old(date(2026, 4, 1))


def test_the_name_of_the_registry_goes_into_the_path() -> None:
    one = entry(url="https://mirror.example/{registry}")
    host = one.host_for(DOCKER_HUB)
    assert host is not None
    assert (host.prefix, host.name) == ("docker.io", "mirror.example/docker.io")
    assert one.host_for("quay.io") is None


def test_what_is_for_every_registry() -> None:
    (one,) = parse_catalogue(GOOD.replace('["docker.io"]', '["*"]', 1), "c.toml").entries
    assert one.host_for("quay.io") is not None


def test_an_entry_hands_on_its_limits_and_whether_its_tags_are_worth_anything() -> None:
    host = entry(
        'resolves = false\nrequests_per_minute = 20\nmax_connections = 3\nallow = ["library/*"]'
    ).host_for(DOCKER_HUB)
    assert host is not None
    assert host.capabilities == {"pull"}
    assert (host.requests_per_minute, host.max_connections, host.allow) == (20, 3, ("library/*",))
    assert host.operator == "example"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('updated = "2026-01-01"\n', "", "expected the key updated, got none"),
        (
            'updated = "2026-01-01"',
            'updated = "yesterday"',
            'c.toml:1: updated: expected a day, got "yesterday"',
        ),
        ('form = "host"', 'form = "tunnel"', "c.toml:8: mirror[0].form: expected "),
        ('group = "example"', 'groop = "example"', 'did you mean "group"?'),
        ('registries = ["docker.io"]', "registries = []", "expected some registries, got none"),
        ('["docker.io"]\ngroup', '["index.docker.io"]\ngroup', "expected a registry as references name it"),
        ('["docker.io"]\ngroup', '["docker.io/library"]\ngroup', "not a registry"),
        ("https://mirror.example", "mirror.example", "not a mirror's URL"),
        ("https://mirror.example", "https://me:secret@mirror.example", "not a mirror's URL"),
        ("https://mirror.example", "https://169.254.169.254", "metadata"),
        (
            "https://mirror.example",
            "https://{account}.mirror.example",
            '{account} in the URL together with "account"',
        ),
        ('source = "', 'needs = ["account"]\nsource = "', '{account} in the URL together with "account"'),
        (
            'last_verified = "2026-01-01"',
            'last_verified = "2026-01-01"\nfirst_seen = "2027-01-01"',
            "a day before",
        ),
        ('"library/alpine:latest"', '"Library:x"', "must be lowercase"),
        ('source = "https://list.example"\n', "source = 5\n", "source: expected a string, got a number"),
        ("updated", "updated = 1\nupdated", "expected each key and table once"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(old: str, new: str, said: str) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    with pytest.raises(ConfigError) as caught:
        parse_catalogue(text, "c.toml")
    assert said in f"{caught.value.message} {caught.value.hint}"
    assert "secret" not in caught.value.message


def test_each_url_stands_there_once() -> None:
    with pytest.raises(ConfigError, match="each URL once"):
        parse_catalogue(f"{GOOD}{GOOD[GOOD.index('[[mirror]]') :]}", "c.toml")


# -- who is tried ---------------------------------------------------------------------------------


def config(text: str, path: Path = Path()) -> Config:
    return Config.parse(text, name=str(path / "sampan.toml"), environ={})


def test_the_configured_come_first_and_each_host_once() -> None:
    known = parse_catalogue(
        f"{GOOD}[[mirror]]\n{GOOD.partition('[[mirror]]')[2].replace('mirror.', 'other.')}", "c.toml"
    )
    ours = config('[registry."docker.io"]\nmirrors = ["https://own.example", "https://mirror.example"]')
    found = candidates(ours, known, ALPINE, everything=True)
    assert [(each.host.base.host, each.configured, each.entry is not None) for each in found] == [
        ("own.example", True, False),
        ("mirror.example", True, True),
        ("registry-1.docker.io", True, False),
        ("other.example", False, True),
    ]
    assert candidates(ours, known, ALPINE, everything=False) == found[:3]
    assert len(configured(ours, DOCKER_HUB)) == 3


def test_a_registry_without_anybody_is_unknown() -> None:
    ours, known = config('[registry."quay.io"]'), parse_catalogue(GOOD, "c.toml")
    with pytest.raises(RegistryUnknown, match=r"no host of gcr\.io is configured"):
        candidates(ours, known, Reference.parse("gcr.io/a/b:1"), everything=True)


def test_a_host_that_is_not_to_be_asked_for_an_image_is_not_tried() -> None:
    mirrors = '[{ url = "https://own.example", allow = ["mycorp/*"] }]'
    ours = config(f'[registry."docker.io"]\nmirrors = {mirrors}\norigin = "never"')
    known = parse_catalogue(GOOD, "c.toml")
    (mycorp,) = candidates(ours, known, Reference.parse("mycorp/app:1"), everything=False)
    assert mycorp.host.name == "own.example"
    with pytest.raises(RegistryUnknown, match=r"no host may be asked for docker\.io/library/alpine"):
        candidates(ours, known, ALPINE, everything=False)


def test_the_dead_are_tried_last() -> None:
    entries = [each.entry for each in listed(built_in(), DOCKER_HUB) if each.entry is not None]
    states = [each.state == "dead" for each in entries]
    assert states == sorted(states)
    assert all(each.can_be_asked for each in entries)


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("10.0.0.53", "10.0.0.53", 53),
        ("127.0.0.1:5353", "127.0.0.1", 5353),
        ("fd00::53", "fd00::53", 53),
        ("[fd00::53]:5353", "fd00::53", 5353),
    ],
)
def test_a_nameserver_is_an_address(text: str, address: str, port: int) -> None:
    nameserver = parse_nameserver(text)
    assert (nameserver.address, nameserver.port) == (address, port)


@pytest.mark.parametrize(
    "text", ["", "dns.example", "10.0.0.53:0", "10.0.0.53:99999", "[fd00::53]:x", "10.0.0.53:٣"]
)
def test_anything_else_is_not(text: str) -> None:
    with pytest.raises(UsageError):
        parse_nameserver(text)
