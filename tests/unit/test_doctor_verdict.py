"""What was found, in the order in which it is to be mended."""

from __future__ import annotations

import ast
from itertools import permutations
from pathlib import Path

import pytest

import sampan
from sampan.doctor.contract import Finding
from sampan.doctor.hosts.kinds import KINDS
from sampan.doctor.order import ORDER, RULES
from sampan.doctor.verdict import judge
from sampan.runtimes.contract import Level

SOURCE = Path(sampan.__file__).parent
MAKERS = ("Finding", "_finding")
MIRROR, ORIGIN = "mirror.lan", "registry-1.docker.io"


def made() -> dict[str, str]:
    """Code -> where a finding with it is made, in the doctor or in a runtime."""
    found = {}
    for path in [*SOURCE.glob("doctor/**/*.py"), *SOURCE.glob("runtimes/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or getattr(node.func, "id", None) not in MAKERS:
                continue
            if node.args and isinstance(node.args[0], ast.Constant):
                found[str(node.args[0].value)] = f"{path.relative_to(SOURCE)}:{node.lineno}"
    return found


def finding(
    code: str, level: Level = "error", subject: str = "containerd", about: tuple[str, ...] = ()
) -> Finding:
    return Finding(code, subject, f"{code} of {subject}", level, about=about)


def first(*found: Finding) -> str:
    """The code that the verdict names, in whatever order findings come."""
    named = {
        verdict.first.code
        for each in permutations(found)
        if (verdict := judge(each, {ORIGIN})).first is not None
    }
    (code,) = named
    return code


def test_every_code_has_its_place_in_the_order_once() -> None:
    known = {**made(), **dict.fromkeys(KINDS, "doctor/hosts/kinds.py")}
    assert not {code: place for code, place in known.items() if code not in ORDER}
    assert len(set(ORDER)) == len(ORDER)


def test_every_rule_is_of_codes_that_there_are_and_no_cause_comes_after_its_effects() -> None:
    for rule in RULES:
        assert rule.causes | rule.effects <= set(ORDER), rule
        if rule.relation in ("host", "origin"):
            continue  # a code of hosts may be behind those of runtimes, and before
        assert all(any(ORDER.index(c) < ORDER.index(e) for c in rule.causes) for e in rule.effects), rule


def test_a_consequence_stands_below_its_cause() -> None:
    verdict = judge([finding("CRI_NOT_LOADED"), finding("MIRRORS_AND_CONFIG_PATH")])
    (cause,) = verdict.causes
    assert cause.finding.code == "MIRRORS_AND_CONFIG_PATH"
    assert [effect.code for effect in cause.effects] == ["CRI_NOT_LOADED"]
    assert verdict.first == cause.finding
    assert verdict.others == 0


def test_so_does_what_follows_from_a_consequence() -> None:
    dead = finding("HOST_NAME_DEAD", subject=ORIGIN)
    fails = finding("CHAIN_FAILS", about=(ORIGIN,))
    (cause,) = judge([fails, dead, finding("DNS_DEAD", subject="dns")], {ORIGIN}).causes
    assert cause.finding.code == "DNS_DEAD"
    assert [effect.code for effect in cause.effects] == ["HOST_NAME_DEAD", "CHAIN_FAILS"]


def test_what_fails_comes_before_what_has_no_effect_and_notes_last() -> None:
    found = [
        finding("NOBODY_KNOWS_IT"),
        finding("MIRROR_NEVER_READ", "dead"),
        finding("CONFIG_PARSE", "note"),
        finding("CONFIG_FORMAT"),
    ]
    verdict = judge(found)
    codes = [cause.finding.code for cause in verdict.causes]
    assert codes == ["CONFIG_FORMAT", "NOBODY_KNOWS_IT", "MIRROR_NEVER_READ", "CONFIG_PARSE"]
    assert verdict.others == 2


def test_notes_make_nobody_ill() -> None:
    assert judge([]).is_healthy
    assert judge([finding("MIRROR_NEVER_READ", "note")]).is_healthy
    assert not judge([finding("MIRROR_NEVER_READ", "warning")]).is_healthy


def test_a_note_explains_nothing() -> None:
    verdict = judge([finding("HOSTS_TOML_DROPPED", "note"), finding("CHAIN_FAILS", about=(ORIGIN,))])
    assert [cause.finding.code for cause in verdict.causes] == ["CHAIN_FAILS", "HOSTS_TOML_DROPPED"]


def test_a_file_that_nobody_reads_is_the_cause_where_the_origin_alone_was_asked_and_failed() -> None:
    dropped = finding("HOSTS_TOML_DROPPED", "dead")
    fails = finding("CHAIN_FAILS", about=(ORIGIN,))
    assert first(dropped, fails, finding("HOST_BLACK_HOLED", subject=ORIGIN)) == "HOSTS_TOML_DROPPED"
    assert first(dropped, fails, finding("HOST_BLACK_HOLED", "note", ORIGIN)) == "HOSTS_TOML_DROPPED"


def test_a_mirror_that_fails_is_the_cause_beside_a_key_that_nobody_reads() -> None:
    dead = finding("MIRROR_NEVER_READ", "dead")
    fails = finding("CHAIN_FAILS", about=(MIRROR,))
    mirror, origin = finding("HOST_FAILS", subject=MIRROR), finding("HOST_BLACK_HOLED", subject=ORIGIN)
    assert first(dead, fails, mirror, origin) == "HOST_FAILS"


def test_a_mirror_that_is_asked_wrongly_and_is_well_is_not_the_cause() -> None:
    wrong = finding("MIRROR_PATH", "warning")
    assert first(wrong, finding("CHAIN_FAILS", about=(MIRROR,))) == "MIRROR_PATH"


def test_another_runtime_s_file_explains_nothing() -> None:
    dropped = finding("HOSTS_TOML_DROPPED", "dead", "nerdctl")
    fails = finding("CHAIN_FAILS", about=(ORIGIN,))
    assert first(dropped, fails, finding("HOST_BLACK_HOLED", subject=ORIGIN)) == "HOST_BLACK_HOLED"


def test_mirrors_that_may_not_resolve_are_no_matter_until_the_origin_fails() -> None:
    strict, origin = finding("NO_RESOLVER", "note"), finding("HOST_BLACK_HOLED", subject=ORIGIN)
    assert judge([strict]).is_healthy
    assert first(strict, origin, finding("CHAIN_FAILS", about=(ORIGIN,))) == "NO_RESOLVER"


@pytest.mark.row("K2")
def test_a_wrong_clock_is_behind_the_certificates_that_it_makes_invalid() -> None:
    expired = [finding("HOST_CERTIFICATE_EARLY", subject=name) for name in (MIRROR, ORIGIN)]
    fails = finding("CHAIN_FAILS", about=(MIRROR, ORIGIN))
    assert first(*expired, fails, finding("CLOCK_OFF", "warning", "clock")) == "CLOCK_OFF"


def test_a_proxy_that_is_dead_is_behind_what_its_users_do_not_get() -> None:
    dead = finding("PROXY_DEAD", subject="containerd, docker", about=("containerd", "docker"))
    fails = finding("CHAIN_FAILS", about=(MIRROR,))
    assert [len(cause.effects) for cause in judge([fails, dead]).causes] == [1]


def test_a_misread_name_is_behind_an_image_that_nobody_has() -> None:
    misread = finding("NAME_MISREAD", "warning", "10.0.0.1:5000", ("docker.io/library/10.0.0.1:5000",))
    assert (
        first(misread, finding("IMAGE_NOWHERE", subject="docker.io/library/10.0.0.1:5000")) == "NAME_MISREAD"
    )
    assert first(misread, finding("IMAGE_NOWHERE", subject="docker.io/library/alpine:3")) == "IMAGE_NOWHERE"
