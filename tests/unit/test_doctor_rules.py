"""Every rule of the lint of runtimes, on a real tree: said with its file and its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from doctor_rules import RULES, Rule
from node_cases import GOLDEN, Case
from sampan.config.catalogue import built_in
from sampan.doctor.contract import Finding
from scenes import found, lay, scene


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
async def test_a_rule_is_said_with_its_place(rule: Rule, tmp_path: Path) -> None:
    runtime = rule.runtime
    if rule.case:
        case = Case.read(GOLDEN / rule.case)
        case.lay(tmp_path)
        runtime = case.runtime
    lay(tmp_path, dict(rule.files))
    said = await found(rule.check, scene(tmp_path, rule.image, runtimes=[runtime], catalogue=built_in()))
    places = [_place(each) for each in said if isinstance(each, Finding) and each.code == rule.code]
    assert rule.place in places, [each for each in said if isinstance(each, Finding)]


def _place(finding: Finding) -> str:
    file = (finding.file or "").lstrip("/")
    return file if finding.line is None else f"{file}:{finding.line}"
