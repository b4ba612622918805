"""How the time for one question is counted."""

from __future__ import annotations

from sampan.mirror.patience import Budget, Patience
from sampan.testing import ManualClock


def test_the_budget_runs_while_somebody_is_asked() -> None:
    clock = ManualClock()
    budget = Budget(clock, Patience(budget_seconds=36, turn_seconds=240))
    assert budget.left_seconds(turn_only=False) == 36
    clock.advance(30)
    assert budget.left_seconds(turn_only=False) == 6


def test_it_stands_still_while_we_wait_for_our_own_connections_but_not_for_ever() -> None:
    clock = ManualClock()
    budget = Budget(clock, Patience(budget_seconds=36, turn_seconds=240))
    clock.advance(6)
    assert budget.left_seconds(turn_only=True) == 30 + 240
    clock.advance(200)
    assert budget.left_seconds(turn_only=False) == 30
    clock.advance(10)
    assert budget.left_seconds(turn_only=True) == 20 + 40
    clock.advance(60)
    assert budget.left_seconds(turn_only=False) == 0
