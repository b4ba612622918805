"""What the environment says: the file, the mirrors, the language, the place of the store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sampan.config import Config, environment
from sampan.errors import ConfigError


def write(path: Path, fresh_for: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'[tags]\nfresh_for = "{fresh_for}"\n')
    return path


def refused(text: str = "", **environ: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        Config.parse(text, environ=environ)
    return caught.value


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A file in each of the usual places, and the working directory beside the third."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(environment, "SYSTEM_FILE", tmp_path / "etc/sampan.toml")
    return {
        "option": write(tmp_path / "option.toml", "1s"),
        "variable": write(tmp_path / "variable.toml", "2s"),
        "here": write(tmp_path / "sampan.toml", "3s"),
        "user": write(tmp_path / "xdg/sampan/sampan.toml", "4s"),
        "system": write(tmp_path / "etc/sampan.toml", "5s"),
    }


def test_the_first_file_found_is_used_alone(places: dict[str, Path], tmp_path: Path) -> None:
    environ = {"SAMPAN_CONFIG": str(places["variable"]), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    assert Config.load(places["option"], environ).tags.fresh_for_seconds == 1
    assert Config.load(None, environ).tags.fresh_for_seconds == 2
    del environ["SAMPAN_CONFIG"]
    for place, seconds in (("here", 3), ("user", 4), ("system", 5)):
        config = Config.load(None, environ)
        assert config.tags.fresh_for_seconds == seconds
        assert config.path is not None
        assert config.path.samefile(places[place])
        places[place].unlink()
    assert Config.load(None, environ).tags.fresh_for_seconds == 300
    assert Config.load(None, environ).path is None


def test_the_users_file_is_beneath_home_when_xdg_says_nothing_useful(
    places: dict[str, Path], tmp_path: Path
) -> None:
    places["here"].unlink()
    write(tmp_path / ".config/sampan/sampan.toml", "6s")
    for environ in ({}, {"XDG_CONFIG_HOME": ""}, {"XDG_CONFIG_HOME": "xdg"}):
        config = Config.load(None, {"HOME": str(tmp_path), **environ})
        assert config.tags.fresh_for_seconds == 6


def test_a_file_that_is_named_must_be_there(places: dict[str, Path], tmp_path: Path) -> None:
    for path, environ in (("no.toml", {}), (None, {"SAMPAN_CONFIG": "no.toml"})):
        with pytest.raises(ConfigError, match=r"cannot read the configuration no\.toml"):
            Config.load(path, environ)


def test_a_file_in_a_usual_place_that_cannot_be_read_is_not_passed_over(places: dict[str, Path]) -> None:
    places["here"].unlink()
    places["here"].mkdir()
    with pytest.raises(ConfigError, match="is a directory"):
        Config.load(None, {})


def test_errors_name_the_file_as_it_was_found(places: dict[str, Path]) -> None:
    places["here"].write_text("\n[tags]\nagree = 0\n")
    with pytest.raises(ConfigError) as caught:
        Config.load(None, {})
    assert caught.value.message == "sampan.toml:3: tags.agree: expected a number from 1 to 10, got 0"


def test_mirrors_of_the_environment_replace_those_of_the_registries_named() -> None:
    text = '[registry."docker.io"]\nmirrors = ["https://x.example"]\norigin = "first"\n[registry."quay.io"]\n'
    environ = {
        "SAMPAN_MIRRORS": " docker.io = https://a.example , https://b.example ;; ghcr.io=https://c.example; "
    }
    config = Config.parse(text, environ=environ)
    found = {name: [host.name for host in table.hosts] for name, table in config.registry.items()}
    assert found == {
        "docker.io": ["registry-1.docker.io", "a.example", "b.example"],
        "quay.io": ["quay.io"],
        "ghcr.io": ["c.example", "ghcr.io"],
    }


def test_mirrors_of_the_environment_stand_above_a_profile() -> None:
    text = '[profile.p.registry."docker.io"]\nmirrors = ["https://p.example"]\norigin = "never"\n'
    config = Config.parse(
        text, environ={"SAMPAN_PROFILE": "p", "SAMPAN_MIRRORS": "docker.io=https://a.example"}
    )
    hosts = config.hosts_for("docker.io")
    assert hosts is not None
    assert [host.name for host in hosts] == ["a.example"]


def test_mirrors_of_the_environment_are_enough_without_a_file() -> None:
    config = Config.parse("", environ={"SAMPAN_MIRRORS": "*=https://m.example/{registry}"})
    hosts = config.hosts_for("some.example")
    assert hosts is not None
    assert [host.name for host in hosts] == ["m.example/some.example"]
    assert config.hosts_for("quay.io") is not None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("https://a.example", "$SAMPAN_MIRRORS: expected REGISTRY=URL,URL;…, got"),
        ("docker.io=", "$SAMPAN_MIRRORS: expected REGISTRY=URL,URL;…, got"),
        ("=https://a.example", "$SAMPAN_MIRRORS: expected REGISTRY=URL,URL;…, got"),
        ("docker.io/x=https://a.example", "$SAMPAN_MIRRORS: expected REGISTRY=URL,URL;…, got"),
        ("docker.io=https://a.example;docker.io=https://b.example", "docker.io twice"),
        ("docker.io=a.example", '$SAMPAN_MIRRORS."docker.io"[0]: expected a URL that begins with https://'),
        ("docker.io=https://a.example,https://a.example", '$SAMPAN_MIRRORS."docker.io"[1]: expected each'),
        ("docker.io=http://127.0.0.1:5050", '$SAMPAN_MIRRORS."docker.io"[0]: expected another server'),
        ("127.1=https://a.example", '$SAMPAN_MIRRORS."127.1": '),
    ],
)  # fmt: skip
def test_wrong_mirrors_in_the_environment_are_told_by_the_variables_name(value: str, message: str) -> None:
    error = refused(SAMPAN_MIRRORS=value)
    assert error.message.startswith("$SAMPAN_MIRRORS")
    assert message in error.message


def test_a_password_in_the_mirrors_of_the_environment_is_not_shown() -> None:
    for value in ("docker.io=https://u:271828@a.example", "https://u:271828@a.example"):
        error = refused(SAMPAN_MIRRORS=value)
        assert "271828" not in f"{error.message} {error.hint}"


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LC_MESSAGES": "zh_TW"}, "zh"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "SAMPAN_LANG": "en"}, "en"),
        ({"SAMPAN_LANG": "zh"}, "zh"),
    ],
)
def test_the_language_is_the_variables_else_the_locales(environ: dict[str, str], language: str) -> None:
    assert Config.parse("", environ=environ).language == language


def test_an_unknown_language_is_refused() -> None:
    assert refused(SAMPAN_LANG="fr").message == '$SAMPAN_LANG: expected "en" or "zh", got "fr"'


def test_the_store_of_root_is_the_systems_and_that_of_others_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert Config.parse("", environ={}).store.path == Path("/var/lib/sampan")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert Config.parse("", environ={"HOME": "/h"}).store.path == Path("/h/.local/share/sampan")
    assert Config.parse("", environ={"XDG_DATA_HOME": "/d"}).store.path == Path("/d/sampan")
