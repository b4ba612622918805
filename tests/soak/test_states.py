"""The state machines of the store, for longer."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from soak.settings import EXAMPLES
from state.test_images_state import ImagesMachine
from state.test_pieces_state import PiecesMachine
from state.test_store_state import StoreMachine

LONG = settings(StoreMachine.TestCase.settings, max_examples=EXAMPLES, stateful_step_count=80)


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("machine", [ImagesMachine, PiecesMachine, StoreMachine])
def test_a_store_in_any_order_of_operations(machine: type[RuleBasedStateMachine]) -> None:
    run_state_machine_as_test(machine, settings=LONG)
