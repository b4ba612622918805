"""Which reference becomes which: the one table, and what the rules promise for every text."""

from __future__ import annotations

import pytest

import rewrite_table
import sampan
from rewrite_table import Row
from sampan.config import Config
from sampan.errors import InvalidReference
from sampan.oci import Digest, Reference
from sampan.rewrite import Reason, Rules, Target

ROWS = rewrite_table.rows()


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_table_holds(row: Row) -> None:
    rewriting = rewrite_table.rules(row.group).judge(row.reference)
    assert (rewriting.after, rewriting.reason) == (row.result, row.reason)
    assert rewriting.changed == row.changes
    assert rewriting.before == row.reference


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_second_time_changes_nothing(row: Row) -> None:
    assert rewrite_table.rules(row.group).rewrite(row.result) == row.result


def test_the_table_has_every_reason_and_names_no_row_twice() -> None:
    assert len(ROWS) >= 80
    assert {row.reason for row in ROWS} == set(Reason)
    assert len({(row.group, row.reference) for row in ROWS}) == len(ROWS)


def test_what_was_parsed_already_is_rewritten_by_the_same_rules() -> None:
    rules = rewrite_table.rules("path-prefix")
    digest = Digest.of(b"")
    assert rules.apply(Reference("docker.io", "alpine", "3", digest)) == Reference(
        "m.daocloud.io", "docker.io/library/alpine", "3", digest
    )
    stays = Reference("ghcr.io", "owner/app")
    assert rules.apply(stays) is stays


def test_an_invalid_reference_is_told_with_what_is_wrong() -> None:
    rewriting = rewrite_table.rules("host-mirror").judge("docker/Docker")
    assert isinstance(rewriting.error, InvalidReference)
    assert "lowercase" in rewriting.error.message


def test_a_name_too_long_for_the_mirror_goes_to_the_next_and_stays_when_there_is_none() -> None:
    long = "a/" * 120 + "b"
    narrow, wide = Target("m.lan", "deep/" * 5), Target("n.lan")
    assert Rules({"docker.io": (narrow, wide)}).rewrite(long) == f"n.lan/{long}"
    assert Rules({"docker.io": (narrow,)}).judge(long).reason == "no-name"


def test_a_target_that_would_be_read_as_something_else_is_never_used() -> None:
    rules = Rules({"docker.io": (Target("mirror", "hub/"),)})
    assert rules.judge("alpine").reason == "no-name"


def test_rules_without_a_target_are_false() -> None:
    assert not rewrite_table.rules("nothing-configured")
    assert rewrite_table.rules("one-variable")


@pytest.mark.parametrize(
    ("group", "passes"),
    [("nothing-configured", 0), ("path-prefix", 1), ("mirrors-that-are-mirrored", 2), ("template", 1)],
)
def test_the_rules_say_how_many_passes_they_take(group: str, passes: int) -> None:
    assert rewrite_table.rules(group).passes == passes


def test_a_long_chain_of_mirrors_is_followed_to_its_end() -> None:
    chain = {f"r{i}.lan": (Target(f"r{i + 1}.lan"),) for i in range(300)}
    rules = Rules(chain)
    assert rules.rewrite("r0.lan/app:1") == "r300.lan/app:1"
    assert rules.passes == 300


def test_a_circle_of_three_is_taken_apart() -> None:
    rules = Rules({a: (Target(b),) for a, b in (("a.lan", "b.lan"), ("b.lan", "c.lan"), ("c.lan", "a.lan"))})
    assert rules.rewrite("a.lan/app") == "a.lan/app"


def test_a_way_into_a_circle_is_kept() -> None:
    rules = Rules(
        {"x.lan": (Target("a.lan"),), "a.lan": (Target("b.lan"),), "b.lan": (Target("a.lan", "p/"),)}
    )
    assert rules.rewrite("x.lan/app") == "a.lan/app"


def test_the_package_is_a_function_too() -> None:
    config = Config.parse("", environ={"SAMPAN_MIRRORS": "docker.io=https://m.daocloud.io/docker.io"})
    assert sampan.rewriter(config).rewrite("alpine:3") == "m.daocloud.io/docker.io/library/alpine:3"
    assert callable(sampan.rewrite)
