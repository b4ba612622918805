"""What was found, in the order in which it is to be mended."""

from __future__ import annotations

import ast
from pathlib import Path

import sampan
from sampan.doctor.contract import Finding
from sampan.doctor.order import EXPLAINS, ORDER
from sampan.doctor.verdict import judge

SOURCE = Path(sampan.__file__).parent


def made() -> dict[str, str]:
    """Code -> where a finding with it is made, in the doctor or in a runtime."""
    found = {}
    for path in [*SOURCE.glob("doctor/**/*.py"), *SOURCE.glob("runtimes/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or getattr(node.func, "id", None) != "Finding":
                continue
            first = node.args[0] if node.args else next(k.value for k in node.keywords if k.arg == "code")
            if isinstance(first, ast.Constant):
                found[str(first.value)] = f"{path.relative_to(SOURCE)}:{node.lineno}"
    return found


def finding(code: str, level: str = "error") -> Finding:
    return Finding(code, "it", f"{code} of it", level)  # type: ignore[arg-type]


def test_every_code_has_its_place_in_the_order_once() -> None:
    assert not {code: place for code, place in made().items() if code not in ORDER}
    assert len(set(ORDER)) == len(ORDER)


def test_nothing_is_explained_by_what_comes_after_it() -> None:
    for cause, effects in EXPLAINS.items():
        assert all(ORDER.index(cause) < ORDER.index(effect) for effect in effects), cause


def test_a_consequence_stands_below_its_cause() -> None:
    verdict = judge([finding("CRI_NOT_LOADED"), finding("MIRRORS_AND_CONFIG_PATH")])
    (cause,) = verdict.causes
    assert cause.finding.code == "MIRRORS_AND_CONFIG_PATH"
    assert [effect.code for effect in cause.effects] == ["CRI_NOT_LOADED"]
    assert verdict.first == cause.finding
    assert verdict.others == 0


def test_causes_come_in_the_order_of_the_table_and_notes_last() -> None:
    found = [
        finding("NOBODY_KNOWS_IT"),
        finding("MIRROR_NEVER_READ", "dead"),
        finding("CONFIG_PARSE", "note"),
        finding("CONFIG_FORMAT"),
    ]
    verdict = judge(found)
    codes = [cause.finding.code for cause in verdict.causes]
    assert codes == ["CONFIG_FORMAT", "MIRROR_NEVER_READ", "NOBODY_KNOWS_IT", "CONFIG_PARSE"]
    assert verdict.others == 2


def test_notes_make_nobody_ill() -> None:
    assert judge([]).is_healthy
    assert judge([finding("MIRROR_NEVER_READ", "note")]).is_healthy
    assert not judge([finding("MIRROR_NEVER_READ", "warning")]).is_healthy


def test_a_note_explains_nothing() -> None:
    verdict = judge([finding("CRI_DISABLED", "note"), finding("CRI_NOT_LOADED")])
    assert [cause.finding.code for cause in verdict.causes] == ["CRI_NOT_LOADED", "CRI_DISABLED"]
