"""Which hosts a registry has, and in which order."""

from __future__ import annotations

import pytest

from sampan.config import Config
from sampan.config.registries import EXPANDED_MAX
from sampan.config.tables import BUILT_IN
from sampan.errors import ConfigError


def names(text: str, registry: str = "docker.io", **environ: str) -> list[str] | None:
    hosts = Config.parse(text, environ=environ).hosts_for(registry)
    return None if hosts is None else [host.name for host in hosts]


def refused(text: str, **environ: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        Config.parse(text, environ=environ)
    return caught.value


def hub(body: str) -> str:
    return f'[registry."docker.io"]\n{body}\n'


def test_without_a_file_the_usual_registries_are_asked_themselves() -> None:
    config = Config.parse("", environ={})
    assert config.registries.named == frozenset(BUILT_IN)
    assert not config.registries.wildcard
    for registry in BUILT_IN:
        hosts = config.hosts_for(registry)
        assert hosts is not None
        assert [host.role for host in hosts] == ["origin"]
    assert config.hosts_for("evil.example") is None
    assert names("", "docker.io") == ["registry-1.docker.io"]


def test_a_file_with_tables_has_these_registries_and_no_others() -> None:
    config = Config.parse('[registry."ghcr.io"]\n', environ={})
    assert set(config.registry) == {"ghcr.io"}
    assert config.hosts_for("quay.io") is None


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("", ["a.example", "b.example", "registry-1.docker.io"]),
        ('origin = "last"', ["a.example", "b.example", "registry-1.docker.io"]),
        ('origin = "first"', ["registry-1.docker.io", "a.example", "b.example"]),
        ('origin = "never"', ["a.example", "b.example"]),
    ],
)
def test_the_origin_comes_where_the_table_says(origin: str, expected: list[str]) -> None:
    assert names(hub(f'mirrors = ["https://a.example", "https://b.example"]\n{origin}')) == expected


def test_the_origin_has_its_role_its_operator_and_maybe_another_url() -> None:
    config = Config.parse(hub('origin_url = "https://hub.lan:8443"'), environ={})
    hosts = config.hosts_for("docker.io")
    assert hosts is not None
    assert (hosts[0].url, hosts[0].role, hosts[0].group) == ("https://hub.lan:8443", "origin", "hub.lan")


@pytest.mark.parametrize("key", ["index.docker.io", "Docker.IO", "docker.io"])
def test_a_registry_is_known_by_its_canonical_name(key: str) -> None:
    assert names(f'[registry."{key}"]\n') == ["registry-1.docker.io"]


@pytest.mark.parametrize("key", ["https://docker.io", "docker.io/library", "user@docker.io", "", "127.1"])
def test_what_is_no_registry_is_refused(key: str) -> None:
    assert refused(f'[registry."{key}"]\n').message.startswith(f'sampan.toml:1: registry."{key}": ')


@pytest.mark.row("F3")
def test_nobody_to_ask_is_refused_unless_it_is_said_in_so_many_words() -> None:
    assert names(hub('origin = "never"')) == []
    assert names(hub('mirrors = []\norigin = "never"')) == []
    assert "nobody could be asked" in refused('[registry."*"]\n').message


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("https://a.example", "https://a.example"),
        ("https://a.example", "https://A.example:443/"),
        ("https://a.example/x", "https://a.example/x/"),
        ("https://a.example/docker.io", "https://a.example/{registry}"),
    ],
)
@pytest.mark.row("F2")
def test_a_mirror_given_twice_is_refused_at_the_second(first: str, second: str) -> None:
    error = refused(hub(f'mirrors = ["{first}",\n"{second}"]'))
    assert error.message.startswith('sampan.toml:3: registry."docker.io".mirrors[1]: expected each host once')


def test_one_operator_may_have_several_paths() -> None:
    assert names(hub('mirrors = ["https://a.example/x", "https://a.example/y"]\norigin = "never"')) == [
        "a.example/x", "a.example/y",
    ]  # fmt: skip


def test_a_mirror_that_is_the_origin_is_refused_unless_the_origin_is_not_asked_besides() -> None:
    error = refused(hub('mirrors = ["https://registry-1.docker.io"]'))
    assert "registry-1.docker.io twice" in error.message
    assert 'origin = "never"' in (error.hint or "")
    assert names(hub('mirrors = ["https://registry-1.docker.io"]\norigin = "never"')) == [
        "registry-1.docker.io"
    ]


@pytest.mark.parametrize(
    ("listen", "mirror"),
    [
        ("127.0.0.1:5050", "http://127.0.0.1:5050"),
        ("127.0.0.1:5050", "http://127.0.0.1:5050/docker.io"),
        ("127.0.0.1:5050", "http://localhost:5050"),
        ("localhost:5050", "http://[::1]:5050"),
        ("[::1]:5050", "http://localhost:5050"),
        ("0.0.0.0:5050", "http://127.0.0.1:5050"),
        (":443", "https://127.0.0.2"),
        ("mirror.lan:5050", "http://mirror.lan:5050"),
    ],
)
@pytest.mark.row("F2")
def test_a_mirror_that_is_this_very_server_is_refused(listen: str, mirror: str) -> None:
    error = refused(
        f'server = {{ listen = "{listen}", anonymous = true }}\n' + hub(f'mirrors = ["{mirror}"]')
    )
    assert "where this one listens itself" in error.message
    assert "mirrors[0]" in error.message


@pytest.mark.parametrize(
    "mirror", ["http://127.0.0.1:5051", "http://127.0.0.2:5050", "https://other.lan:5050"]
)
def test_a_neighbour_is_not_taken_for_this_server(mirror: str) -> None:
    assert names(hub(f'mirrors = ["{mirror}"]\norigin = "never"')) is not None


@pytest.mark.row("F3")
def test_who_may_say_what_a_tag_means_is_asked_over_https_or_stands_in_ones_own_network() -> None:
    error = refused(hub('mirrors = ["http://mirror.example"]'))
    assert error.message.startswith(
        'sampan.toml:2: registry."docker.io".mirrors[0]: expected https of a host'
    )
    assert "private = true" in (error.hint or "")
    assert "expected https of a host" in refused(hub('origin_url = "http://origin.example"')).message
    for keys in ("private = true", 'capabilities = ["pull"]'):
        assert "mirror.example" in (
            names(hub(f'mirrors = [{{ url = "http://mirror.example", {keys} }}]')) or []
        )


def test_an_origin_that_is_this_very_server_is_refused() -> None:
    assert "listens itself" in refused(hub('origin_url = "http://127.0.0.1:5050"')).message


def test_a_hundred_mirrors_are_enough() -> None:
    urls = ", ".join(f'"https://m{i}.example"' for i in range(101))
    assert "at most 100 mirrors, got 101" in refused(hub(f"mirrors = [{urls}]")).message


WILD = '[registry."*"]\nmirrors = ["https://m.daocloud.io/{registry}"]\n'


def test_a_registry_without_a_table_is_served_by_the_wildcard() -> None:
    config = Config.parse(WILD + hub(""), environ={})
    assert config.registries.wildcard
    assert config.registries.named == frozenset({"docker.io"})
    hosts = config.hosts_for("ghcr.io")
    assert hosts is not None
    assert [(h.name, h.url, h.prefix) for h in hosts] == [
        ("m.daocloud.io/ghcr.io", "https://m.daocloud.io", "ghcr.io")
    ]
    assert hosts[0].repository_for("owner/app") == "ghcr.io/owner/app"
    assert config.hosts_for("ghcr.io") is hosts
    assert names(WILD + hub(""), "docker.io") == ["registry-1.docker.io"]


def test_a_wildcard_of_the_environment_means_the_built_in_registries_too() -> None:
    everything = {"SAMPAN_MIRRORS": "*=https://m.daocloud.io/{registry};quay.io=https://quay.example"}
    config = Config.parse("", environ=everything)
    assert set(config.registry) == {"*", "quay.io"}
    hosts = config.hosts_for("ghcr.io")
    assert hosts is not None
    assert [host.name for host in hosts] == ["m.daocloud.io/ghcr.io"]
    written = Config.parse('[registry."ghcr.io"]\n', environ=everything)
    assert [host.name for host in written.registry["ghcr.io"].hosts] == ["ghcr.io"]


def test_a_wildcard_of_a_profile_means_the_built_in_registries_too() -> None:
    text = '[profile.cn.registry."*"]\nmirrors = ["https://m.daocloud.io/{registry}"]\n'
    assert set(Config.parse(text, environ={"SAMPAN_PROFILE": "cn"}).registry) == {"*"}
    assert "docker.io" in Config.parse(text, environ={}).registry


def test_a_registry_of_the_wildcard_is_never_dialled_itself_unless_the_table_says_so() -> None:
    assert names(WILD, "ghcr.io") == ["m.daocloud.io/ghcr.io"]
    assert names(WILD + 'origin = "first"', "ghcr.io") == ["ghcr.io", "m.daocloud.io/ghcr.io"]
    assert names('[registry."*"]\norigin = "last"', "ghcr.io") == ["ghcr.io"]


@pytest.mark.parametrize(
    "registry",
    [
        "127.0.0.1:5000",
        "localhost",
        "localhost:5000",
        "10.0.0.8",
        "[::1]:5000",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
    ],
)
def test_a_registry_of_the_wildcard_that_names_a_private_address_is_not_dialled(registry: str) -> None:
    assert names('[registry."*"]\norigin = "last"', registry) == []


def test_an_origin_of_the_wildcard_is_not_trusted_with_private_addresses() -> None:
    hosts = Config.parse('[registry."*"]\norigin = "last"', environ={}).hosts_for("intranet.example")
    assert hosts is not None
    assert [host.private for host in hosts] == [False]


def test_the_wildcard_itself_is_no_registry() -> None:
    assert names(hub(""), "*") is None
    assert "expected no origin_url here" in refused(WILD + 'origin_url = "https://x.example"').message


def test_clients_that_invent_registries_do_not_fill_the_memory() -> None:
    config = Config.parse(WILD, environ={})
    kept = config.hosts_for("first.example")
    for number in range(EXPANDED_MAX):
        config.hosts_for(f"r{number}.example")
    assert config.hosts_for("first.example") == kept
    assert config.hosts_for("first.example") is not kept


def test_the_default_registry_must_be_one_that_is_served() -> None:
    text = 'server = { default_registry = "quay.io" }\n'
    assert Config.parse(text, environ={}).registries.default == "quay.io"
    assert Config.parse(text + WILD, environ={}).registries.default == "quay.io"
    error = refused(text + hub(""))
    assert (
        error.message
        == 'sampan.toml:1: server.default_registry: expected a configured registry (docker.io), got "quay.io"'
    )
    assert Config.parse("", environ={}).registries.default == "docker.io"
