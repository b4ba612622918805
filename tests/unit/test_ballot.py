"""Operators' voices on a tag, counted."""

from __future__ import annotations

import pytest

from disks import image
from sampan.errors import AllHostsFailed, Attempt, NotFound
from sampan.mirror.ballot import Ballot, Voice

ONE, TWO = image(b"one"), image(b"two")
MISSING = NotFound("x", [Attempt("a", "missing", 0.1, 404)])
SILENT = AllHostsFailed("x", [Attempt("b", "stalled", 9.0)], retry_after_seconds=7.0)


def ballot(needed: int, said: str) -> Ballot:
    """``said``: a letter for each operator, 1 and 2 for the digest that it names."""
    made = Ballot(needed)
    for number, letter in enumerate(said):
        made.count(Voice(ONE if letter == "1" else TWO, f"host{number}", f"operator{number}"), ())
    return made


@pytest.mark.parametrize(
    ("needed", "said", "wins"),
    [
        (2, "", None),
        (2, "1", None),
        (2, "12", None),
        (2, "11", "host0"),
        (2, "211", "host1"),
        (2, "1122", None),
        (2, "11222", "host2"),
        (3, "1122", None),
        (1, "12", None),
        (1, "1", "host0"),
    ],
)
def test_enough_voices_win_unless_another_digest_has_as_many(
    needed: int, said: str, wins: str | None
) -> None:
    winner = ballot(needed, said).winner()
    assert (winner.host if winner else None) == wins


def test_who_only_repeats_another_operator_is_no_voice() -> None:
    made = ballot(2, "1")
    made.count(Voice(ONE, "leads-there", "operator0"), ())
    assert made.winner() is None
    made.count(Voice(ONE, "host1", "operator1"), ())
    assert made.winner() is not None


@pytest.mark.parametrize(
    ("said", "to_come", "decided"),
    [
        ("1", 2, False),
        ("11", 0, True),
        ("11", 1, True),
        ("11", 2, False),
        ("112", 1, False),
        ("112", 0, True),
    ],
)
def test_it_is_decided_when_those_to_come_cannot_make_a_tie(said: str, to_come: int, decided: bool) -> None:
    assert ballot(2, said).is_decided(to_come) == decided


def test_only_when_all_deny_it_is_it_not_found() -> None:
    denied = ballot(2, "")
    denied.abstain(MISSING)
    denied.abstain(MISSING)
    assert isinstance(denied.failure("x"), NotFound)
    denied.abstain(SILENT)
    failure = denied.failure("x")
    assert not isinstance(failure, NotFound)
    assert (failure.status, failure.retry_after_seconds) == (503, 7.0)
    assert [attempt.outcome for attempt in failure.attempts] == ["missing", "missing", "stalled"]


def test_whom_nobody_may_ask_has_denied_nothing() -> None:
    assert not isinstance(ballot(2, "").failure("x"), NotFound)


def test_who_names_something_else_than_those_who_agree_is_known() -> None:
    split = ballot(2, "112")
    winner = split.winner()
    assert winner is not None
    assert split.is_split
    assert [(a.host, a.outcome) for a in split.disagreeing(winner)] == [("host2", "disagrees")]
    assert not ballot(2, "11").is_split


def test_a_failure_says_who_named_what() -> None:
    split = ballot(2, "12")
    split.abstain(MISSING)
    failure = split.failure("x")
    assert not isinstance(failure, NotFound)
    assert [(a.host, a.outcome) for a in failure.attempts] == [
        ("a", "missing"),
        ("host0", "disagrees"),
        ("host1", "disagrees"),
    ]
