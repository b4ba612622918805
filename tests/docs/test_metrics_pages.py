"""Every metric is explained, in both languages, and nothing is explained that does not exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sampan.server.metrics import Metrics
from sampan.testing import ManualClock
from serving.mirror import FakeMirror

DOCS = Path(__file__).parents[2] / "docs"
NAME = re.compile(r"`((?:sampan|process)_[a-z_]+)`")


def names() -> set[str]:
    metrics = Metrics(ManualClock())
    metrics.serving(FakeMirror())
    return {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in metrics.registry.collect()
    }


@pytest.mark.parametrize("page", ["metrics.md", "metrics.zh-CN.md"])
def test_each_metric_is_documented_once_and_no_other(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    documented = [name for cell in cells for name in NAME.findall(cell)]
    assert sorted(documented) == sorted(names())


def test_both_pages_have_the_same_rows() -> None:
    rows = []
    for page in ("metrics.md", "metrics.zh-CN.md"):
        text = (DOCS / page).read_text(encoding="utf-8")
        rows.append([NAME.findall(line) for line in text.splitlines() if line.startswith("| `")])
    assert rows[0] == rows[1]
