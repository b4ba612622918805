"""``[pull]``: a mirror that everything is pulled through, and what it changes for a pull alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from disks import as_nobody
from sampan.config import Config
from sampan.config.build import destination_host
from sampan.config.environment import SYSTEM_PULL_STORE, pull_store
from sampan.errors import ConfigError
from sampan.secret import Secret

VIA = '[pull]\nvia = "http://127.0.0.1:5050"\n'
HUB = '[registry."docker.io"]\nmirrors = ["https://mirror.example"]\n'


def load(
    directory: Path, text: str, *, pulls: bool = True, via: str | None = None, store: str | None = None
) -> Config:
    (directory / "sampan.toml").write_text(text)
    environ = {"XDG_CACHE_HOME": str(directory / "cache")}
    return Config.load(directory / "sampan.toml", environ, pulls=pulls, via=via, store=store)


def refused(directory: Path, text: str, *, via: str | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(directory, text, via=via)
    return caught.value.message


def test_the_mirror_is_then_the_only_host_of_every_registry(tmp_path: Path) -> None:
    config = load(tmp_path, VIA + HUB)
    for registry in ("docker.io", "harbor.lan:8443"):
        (host,) = config.hosts_for(registry) or ()
        assert (host.url, host.prefix, host.namespace) == ("http://127.0.0.1:5050", "", registry)
        assert (host.name, host.private) == ("127.0.0.1:5050", True)


def test_without_it_and_for_anything_but_a_pull_nothing_changes(tmp_path: Path) -> None:
    plain = load(tmp_path, HUB)
    assert plain.via is None
    served = load(tmp_path, VIA + HUB, pulls=False)
    assert (served.via, served.store, served.tags) == (None, plain.store, plain.tags)
    assert served.hosts_for("docker.io") == plain.hosts_for("docker.io")


def test_what_is_known_of_a_registry_to_push_to_stays_known(tmp_path: Path) -> None:
    table = '[registry."docker.io"]\nmirrors = [{ url = "https://h.lan", username = "me", password = "x" }]\n'
    assert destination_host(load(tmp_path, VIA + table), "h.lan").username == "me"


def test_the_command_line_stands_above_the_file(tmp_path: Path) -> None:
    config = load(tmp_path, VIA, via="https://sampan.lan:5050")
    assert config.via is not None
    assert config.via.url == "https://sampan.lan:5050"
    assert load(tmp_path, "", via="https://sampan.lan:5050").via == config.via


def test_what_a_tag_means_is_left_to_the_mirror(tmp_path: Path) -> None:
    config = load(tmp_path, VIA + '[tags]\nagree = 3\nfresh_for = "1h"\nstale_for = "2h"\n')
    assert (config.tags.agree, config.tags.fresh_for_seconds) == (1, 0.0)
    assert config.tags.stale_for_seconds == 7200.0


def test_what_comes_is_kept_in_a_store_of_its_own(tmp_path: Path) -> None:
    served = '[store]\npath = "/var/lib/sampan"\nmax_size = "1GiB"\n'
    config = load(tmp_path, VIA + served)
    assert config.store.path not in (Path("/var/lib/sampan"), load(tmp_path, served).store.path)
    assert config.store.max_size_bytes == 1024**3
    assert load(tmp_path, f'{VIA}store = "mine"\n').store.path == tmp_path / "mine"
    assert load(tmp_path, f'{VIA}store = "mine"\n', store="other").store.path == Path("other")
    assert load(tmp_path, 'pull = { store = "mine" }\n' + served).store.path == Path("/var/lib/sampan")


def test_that_store_is_in_the_users_cache_and_roots_in_the_systems() -> None:
    environ = {"HOME": "/home/me", "XDG_CACHE_HOME": "/home/me/c"}
    if os.geteuid() == 0:
        assert pull_store(environ) == SYSTEM_PULL_STORE
    with as_nobody():
        assert pull_store(environ) == Path("/home/me/c/sampan")
        assert pull_store({"HOME": "/home/me"}) == Path("/home/me/.cache/sampan")


def test_its_login_is_read_for_a_pull_alone(tmp_path: Path) -> None:
    text = '[pull]\nvia = { url = "https://sampan.lan", username = "me", password_env = "MY_PASSWORD" }\n'
    assert load(tmp_path, text, pulls=False).via is None
    assert "expected the environment variable MY_PASSWORD to be set" in refused(tmp_path, text)
    (tmp_path / "secret").write_text("x\n")
    via = load(tmp_path, text.replace('password_env = "MY_PASSWORD"', 'password_file = "secret"')).via
    assert via is not None
    assert (via.username, via.password) == ("me", Secret("x"))


@pytest.mark.parametrize(
    ("via", "said"),
    [
        ('"sampan.lan:5050"', "pull.via: expected a URL that begins with https:// or http://"),
        ('"https://me:secret@sampan.lan"', "a user or password in the URL"),
        ('"https://sampan.lan/docker.io"', "expected the URL of a mirror without a path"),
        ('"https://sampan.lan/{registry}"', "expected the URL of a mirror without a path"),
        ('{ url = "https://sampan.lan", allow = ["a/*"] }', "pull.via.allow: expected no such key here"),
        ('{ url = "https://sampan.lan", group = "us" }', "pull.via.group: expected no such key here"),
        ('{ url = "http://sampan.lan", ca = "ca.pem" }', "pull.via.ca: expected a readable file"),
        ("5050", "pull.via: expected"),
    ],
)
def test_what_cannot_be_a_mirror_to_pull_through_is_told_with_its_place(
    tmp_path: Path, via: str, said: str
) -> None:
    message = refused(tmp_path, f"[pull]\nvia = {via}\n")
    assert said in message
    assert "secret" not in message


def test_the_option_is_named_when_it_is_wrong(tmp_path: Path) -> None:
    assert "--via: expected a URL" in refused(tmp_path, "", via="sampan.lan:5050")
