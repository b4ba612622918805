"""The page of the webhook names each option, metric and limit as it is, in both languages."""

from __future__ import annotations

import re

import click
import pytest

from docs_pages import LANGUAGES, codes, page
from sampan.cli.webhook import LISTEN, command
from sampan.cli.webhook_manifests import SKIPPED
from sampan.rewrite.admission import IMAGES_MAX, Outcome
from sampan.rewrite.manifests import OPT_OUT, TLS_SECRET
from sampan.rewrite.originals import ORIGINAL, ORIGINAL_OF_VOLUME
from sampan.rewrite.policy import POLICY_API
from sampan.server.webhook import BODY_BYTES_MAX, CONNECTIONS_MAX, PATH
from sampan.server.webhook_metrics import WebhookMetrics

COMMON = {"--config", "--debug"}


def options(name: str) -> set[str]:
    declared = [param for param in command.commands[name].params if isinstance(param, click.Option)]
    return {word for param in declared for word in param.opts} - COMMON


def metrics() -> set[str]:
    families = WebhookMetrics().registry.collect()
    names = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    return {name for name in names if not name.startswith("process_")}


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_option_has_its_row_and_there_is_no_other(language: str) -> None:
    rows = [name for row in page("webhook", language).rows for name in codes(row[0]) if name.startswith("--")]
    assert set(rows) == options("serve") | options("manifests")
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_metric_has_its_row_and_there_is_no_other(language: str) -> None:
    rows = [name for row in page("webhook", language).rows for name in codes(row[0]) if "sampan_" in name]
    assert sorted(rows) == sorted(metrics())


@pytest.mark.parametrize("language", LANGUAGES)
def test_names_and_limits_are_those_of_the_code(language: str) -> None:
    text = page("webhook", language).text
    words = {PATH, LISTEN, TLS_SECRET, *SKIPPED, *POLICY_API.values(), *(o.value for o in Outcome)}
    assert [word for word in words if f"`{word}`" not in text] == []
    assert f"`{OPT_OUT}: disabled`" in text
    assert f"`{ORIGINAL}" in text
    assert f"`{ORIGINAL_OF_VOLUME}" in text
    assert f" {BODY_BYTES_MAX // 1024**2} MiB" in text
    for number in (IMAGES_MAX, CONNECTIONS_MAX):
        assert re.search(rf" {number} ", text)
