"""What ``sampan node`` says, in the language of whoever reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_cases import Case, cases
from sampan.cli import main
from sampan.errors import NodeError
from sampan.words import in_language
from scenes import lay

Captured = pytest.CaptureFixture[str]
CHINESE = re.compile(r"[\u4e00-\u9fff]")
# Hints that are a line to write or to run, the same in every language.
VERBATIM = re.compile(r"journalctl -u \S+|imports = \[.*\]|[a-z-]+ = \[.*\]")


def said(case: Case, root: Path) -> Iterator[str]:
    """Every sentence about a case."""
    for finding in case.status(root).findings:
        yield finding.message
        yield from [finding.hint] if finding.hint else []
    try:
        plan = case.plan(root)
    except NodeError as error:
        yield error.message
        yield from [error.hint] if error.hint else []
        return
    for each in plan.plans:
        yield from each.notes
        yield from (step.effect for step in each.steps)
        yield from (advice.title for advice in each.advice)


@pytest.mark.parametrize("path", cases(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_all_that_is_said_of_a_golden_case_exists_in_chinese(path: Path, tmp_path: Path) -> None:
    case = Case.read(path)
    root = tmp_path / "root"
    root.mkdir()
    case.lay(root)
    english = [text for text in said(case, root) if not CHINESE.search(in_language(text, "zh"))]
    assert [text for text in english if not VERBATIM.fullmatch(text)] == []


@pytest.fixture
def root(tmp_path: Path) -> Path:
    lay(tmp_path, {"sampan.toml": '[registry."docker.io"]\nmirrors = ["https://mirror.example"]\n'})
    return lay(tmp_path / "root", {"etc/docker/daemon.json": '{\n  "registry-mirror": ["x"]\n}\n'})


def run(root: Path, *words: str) -> int:
    return main(["node", *words, "--root", str(root), "--config", str(root.parent / "sampan.toml")])


def test_people_are_told_in_their_language(
    root: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMPAN_LANG", "zh")
    assert run(root, "status") == 0
    shown = capsys.readouterr().out
    assert "docker: 版本未知" in shown
    assert "dead: /etc/docker/daemon.json:2: registry-mirror 被悄悄忽略" in shown
    assert run(root, "plan") == 0
    assert "要改动 1 个文件" in capsys.readouterr().err
    assert run(root, "revert") == 0
    assert "没有可撤销的" in capsys.readouterr().err


def test_so_is_a_refusal_and_an_error(root: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    monkeypatch.delenv("LC_ALL", raising=False)
    lay(root, {"etc/docker/daemon.json": "{"})
    assert run(root, "plan") == 7
    assert "refused: docker: /etc/docker/daemon.json:1：" in capsys.readouterr().err
    assert main(["node", "plan", "--via", "https://a", "--direct"]) == 2
    assert "不能同时使用" in capsys.readouterr().err


def test_programs_are_told_the_same_in_english(
    root: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(root, "status", "--json") == 0
    english = json.loads(capsys.readouterr().out)
    monkeypatch.setenv("SAMPAN_LANG", "zh")
    assert run(root, "status", "--json") == 0
    assert json.loads(capsys.readouterr().out) == english
