"""``[rewrite]`` as it is written: what is refused, and what the rules are made of."""

from __future__ import annotations

import json

import pytest

from sampan.config import Config
from sampan.config.rewrite import rewriter
from sampan.errors import ConfigError
from sampan.rewrite import Target

AT_ITS_END = 'expected "mirror" or a template with {repository} at its end'
REFERENCES = "expected a template of references"
REGISTRY_FIRST = "expected a template that begins with a registry"
PATTERN = "expected a registry and a pattern of its repositories"


def refused(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        Config.parse(f"[rewrite]\n{text}\n", environ={})
    return caught.value


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("x.lan/{repository}:1", AT_ITS_END),
        ("x.lan/{repository}/{repository}", AT_ITS_END),
        ("x.lan/UP/{repository}", REFERENCES),
        ("x.lan/a:1/{repository}", REFERENCES),
        ("https://x.lan/{repository}", REFERENCES),
        ("{repository}", REGISTRY_FIRST),
        ("mirror/hub/{repository}", REGISTRY_FIRST),
        ("mycorp/{repository}", REGISTRY_FIRST),
    ],
)
def test_a_template_that_gives_no_names_at_a_registry_is_refused(template: str, message: str) -> None:
    error = refused(f'to = "{template}"')
    assert error.message.startswith(f"sampan.toml:2: rewrite.to: {message}, got")


@pytest.mark.parametrize("pattern", ["mycorp/*", "nginx", "x.lan/a:3", "x.lan", "", "x.lan/" + "*a" * 9])
def test_an_exception_that_names_no_registry_and_repositories_is_refused(pattern: str) -> None:
    error = refused(f'except = ["ghcr.io/**", "{pattern}"]')
    assert error.message.startswith(f"sampan.toml:2: rewrite.except[1]: {PATTERN}, got")
    assert "docker.io/mycorp/*" in (error.hint or "")


def test_a_thousand_exceptions_are_enough() -> None:
    patterns = ", ".join(['"ghcr.io/**"'] * 1001)
    assert "expected at most 1000 of them, got 1001" in refused(f"except = [{patterns}]").message


@pytest.mark.parametrize("name", ["", "Registry", "a_b", "-a", "a-", "a..b", "a b", "a" * 254, "a\n"])
def test_what_cannot_be_the_name_of_a_secret_is_refused(name: str) -> None:
    error = refused(f"pull_secrets = [{json.dumps(name)}]")
    assert "rewrite.pull_secrets[0]: expected the name of a Secret of Kubernetes" in error.message
    assert "kubectl create secret docker-registry" in (error.hint or "")


def test_pull_secrets_are_kept_in_order_each_once() -> None:
    config = Config.parse('[rewrite]\npull_secrets = ["b.c-1", "a", "b.c-1"]', environ={})
    assert config.rewrite.pull_secrets == ("b.c-1", "a")


def test_a_mirror_becomes_the_name_under_which_it_is_read_again() -> None:
    config = Config.parse(
        """
        [registry."docker.io"]
        mirrors = [
          { url = "https://a.lan/hub/", allow = ["library/*"], capabilities = ["pull"] },
          { url = "http://b:80", repositories = { "a" = "b/a" }, private = true },
          "http://[fd00::1]",
        ]
        origin_url = "https://origin.lan"
        """,
        environ={},
    )
    assert rewriter(config).targets["docker.io"] == (
        Target("a.lan", "hub/", ("library/*",), resolves=False),
        Target("b:80", repositories={"a": "b/a"}),
        Target("[fd00::1]:80"),
    )
