"""Profiles: which one holds, and what it replaces."""

from __future__ import annotations

import pytest

from sampan.config import Config
from sampan.errors import ConfigError

BASE = """
[registry."docker.io"]
mirrors = ["https://base.example"]
origin = "never"
[registry."ghcr.io"]
"""
CHINA = """
[profile.china]
when = {when}
  [profile.china.registry."docker.io"]
  mirrors = ["https://china.example"]
"""


def config(when: str, **environ: str) -> Config:
    return Config.parse(BASE + CHINA.replace("{when}", when), environ=environ)


def names(config: Config, registry: str = "docker.io") -> list[str]:
    hosts = config.hosts_for(registry)
    assert hosts is not None
    return [host.name for host in hosts]


def refused(text: str, **environ: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        Config.parse(text, environ=environ)
    return caught.value


@pytest.mark.parametrize(
    ("when", "environ", "holds"),
    [
        ('{ env = "REGION", equals = "cn" }', {"REGION": "cn"}, True),
        ('{ env = "REGION", equals = "cn" }', {"REGION": "CN"}, False),
        ('{ env = "REGION", equals = "cn" }', {}, False),
        ('{ env = "REGION", equals = "" }', {}, True),
        ('{ env = "X", set = true }', {"X": "1"}, True),
        ('{ env = "X", set = true }', {"X": ""}, False),
        ('{ env = "X", set = true }', {}, False),
        ('{ env = "X", set = false }', {}, True),
        ('{ env = "X", set = false }', {"X": "1"}, False),
        ('{ env = "X", matches = "^cn-" }', {"X": "cn-north"}, True),
        ('{ env = "X", matches = "^cn-" }', {"X": "us-cn-1"}, False),
        ('{ env = "X", matches = "north" }', {"X": "cn-north-1"}, True),
        ('[{ env = "X", set = true }, { env = "Y", equals = "1" }]', {"Y": "1"}, True),
        ('[{ env = "X", set = true }, { env = "Y", equals = "1" }]', {"Y": "2"}, False),
    ],
)
def test_a_profile_holds_when_its_condition_or_any_of_them_is_true(
    when: str, environ: dict[str, str], holds: bool
) -> None:
    parsed = config(when, **environ)
    assert parsed.profile == ("china" if holds else None)
    assert names(parsed)[0] == ("china.example" if holds else "base.example")


def test_a_profile_replaces_the_tables_that_it_names_and_no_others() -> None:
    parsed = config('{ env = "X", set = false }')
    assert names(parsed) == ["china.example", "registry-1.docker.io"]  # its origin is not inherited
    assert names(parsed, "ghcr.io") == ["ghcr.io"]


def test_a_profile_may_add_a_registry() -> None:
    text = BASE + '[profile.x]\nwhen = { env = "A", set = false }\n[profile.x.registry."quay.io"]\n'
    assert names(Config.parse(text, environ={}), "quay.io") == ["quay.io"]


def test_a_profile_without_tables_beside_it_changes_the_built_in_ones() -> None:
    parsed = Config.parse(CHINA.replace("{when}", '{ env = "A", set = false }'), environ={})
    assert names(parsed)[0] == "china.example"
    assert names(parsed, "quay.io") == ["quay.io"]


TWO = (
    BASE
    + """
[profile.b]
when = { env = "B", set = true }
[profile.b.registry."docker.io"]
mirrors = ["https://b.example"]
[profile.a]
when = { env = "A", set = true }
[profile.a.registry."docker.io"]
mirrors = ["https://a.example"]
[profile.never]
[profile.never.registry."docker.io"]
mirrors = ["https://never.example"]
"""
)


def test_the_first_profile_of_the_file_whose_condition_is_true_holds() -> None:
    assert Config.parse(TWO, environ={"A": "1", "B": "1"}).profile == "b"
    assert Config.parse(TWO, environ={"A": "1"}).profile == "a"
    assert Config.parse(TWO, environ={}).profile is None


def test_the_environment_chooses_a_profile_by_name_or_none() -> None:
    assert Config.parse(TWO, environ={"B": "1", "SAMPAN_PROFILE": "a"}).profile == "a"
    assert Config.parse(TWO, environ={"SAMPAN_PROFILE": "never"}).profile == "never"
    assert Config.parse(TWO, environ={"B": "1", "SAMPAN_PROFILE": "none"}).profile is None
    assert Config.parse(TWO, environ={"B": "1", "SAMPAN_PROFILE": ""}).profile == "b"


def test_a_profile_that_is_not_there_is_told_with_those_that_are() -> None:
    error = refused(TWO, SAMPAN_PROFILE="nevr")
    assert error.message == (
        '$SAMPAN_PROFILE: expected "none" or a profile of the file (b, a, never), got "nevr"'
    )
    assert error.hint == 'did you mean "never"?'


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ('{ env = "X" }', "expected one of equals, set, matches beside env, got none of them"),
        ('{ env = "X", equals = "1", set = true }', "got equals and set"),
        ('{ equals = "1" }', "expected the key env, got none"),
        ('{ env = "", set = true }', "expected the name of a variable"),
        ('{ env = "A=B", set = true }', "expected the name of a variable"),
        ('{ env = "X", matches = "(" }', "expected a regular expression in matches"),
        ('{ env = "X", matches = "' + "a" * 201 + '" }', "at most 200 characters"),
        ("[]", "got an empty list"),
        ('{ env = "X", equal = "1" }', "expected a key of [profile.china.when], got an unknown one"),
    ],
)
def test_a_wrong_condition_is_refused_whether_its_profile_is_asked_for_or_not(
    when: str, message: str
) -> None:
    error = refused(BASE + CHINA.replace("{when}", when), SAMPAN_PROFILE="none")
    assert error.message.startswith("sampan.toml:8: profile.china.when")
    assert message in error.message


def test_a_wrong_condition_in_a_list_is_told_by_its_place() -> None:
    error = refused(CHINA.replace("{when}", '[{ env = "X", set = true },\n{ env = "Y" }]'))
    assert error.message.startswith("sampan.toml:4: profile.china.when[1]: ")


def test_a_profile_may_not_be_called_none() -> None:
    assert 'SAMPAN_PROFILE="none" means no profile' in refused("[profile.none]\n").message


def test_tables_that_are_not_in_force_are_checked_but_nothing_is_opened_for_them() -> None:
    idle = '{ url = "https://x.example", username = "u", password_env = "NOT_SET", ca = "/no/such/file" }'
    text = BASE + f'[profile.x.registry."docker.io"]\nmirrors = [{idle}]\n'
    assert names(Config.parse(text, environ={})) == ["base.example"]
    error = refused(text, SAMPAN_PROFILE="x")
    assert "NOT_SET" in error.message
    assert "/no/such/file" in error.message
    assert error.message.startswith('sampan.toml:7: profile.x.registry."docker.io".mirrors[0].')
    assert "mirrors[0]" in refused(BASE + '[profile.x.registry."a.b"]\nmirrors = ["ftp://x"]\n').message
