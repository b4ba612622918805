"""Which mirrors a request has come through."""

from __future__ import annotations

import pytest

from effort import GROWTH_MAX, growth
from sampan.oci.passage import PASSED, PASSED_MAX, is_circle, parse_passed, render_passed


@pytest.mark.parametrize(
    ("header", "passed"),
    [
        (None, ()),
        ("", ()),
        ("one", ("one",)),
        ("one, two,three", ("one", "two", "three")),
        (" one ,, two ", ("one", "two")),
        ("one, t\x00wo, é, a b, x" + "x" * 64, ("one",)),
        ("one\r\nHost: evil", ()),
    ],
)
def test_names_are_read_and_what_is_none_is_left_out(header: str | None, passed: tuple[str, ...]) -> None:
    assert parse_passed(header) == passed


def test_who_finds_its_own_name_has_been_led_back() -> None:
    assert is_circle(("one", "two"), "one")
    assert not is_circle(("one", "two"), "on")
    assert not is_circle((), "one")


def test_more_mirrors_than_there_can_be_are_a_circle_too() -> None:
    names = [f"mirror-{number}" for number in range(1000)]
    assert not is_circle(parse_passed(",".join(names[:PASSED_MAX])), "one")
    passed = parse_passed(",".join(names))
    assert len(passed) == PASSED_MAX + 1
    assert is_circle(passed, "one")


def test_a_mirror_adds_its_name_behind_the_others() -> None:
    assert render_passed("three") == "three"
    token = PASSED.set(("one", "two"))
    try:
        assert parse_passed(render_passed("three")) == ("one", "two", "three")
    finally:
        PASSED.reset(token)


def test_a_header_costs_no_more_than_its_length() -> None:
    assert growth(lambda size: lambda: parse_passed("a,!" * size), 1000) < GROWTH_MAX
