"""Who gave which bytes: each byte has one giver at most, the last that was told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sampan.mirror.ledger import Ledger
from sampan.upstream.host import Host

A, B, C = (Host.from_url(f"https://{name}.test") for name in "abc")
END = 40
steps = st.lists(
    st.tuples(st.sampled_from([None, A, B, C]), st.integers(0, END), st.integers(0, END)), max_size=20
)


def told(plan: list[tuple[Host | None, int, int]]) -> tuple[Ledger, dict[int, Host | None]]:
    ledger, model = Ledger(), dict[int, Host | None]()
    for host, start, stop in plan:
        ledger.gave(host, start, stop)
        model |= dict.fromkeys(range(start, stop), host)
    return ledger, model


@given(steps)
def test_each_byte_is_of_the_last_that_was_told(plan: list[tuple[Host | None, int, int]]) -> None:
    ledger, model = told(plan)
    assert ledger.givers == set(model.values())
    for host in (None, A, B, C):
        mine = [position for start, stop in ledger.of(host) for position in range(start, stop)]
        assert mine == sorted(position for position, giver in model.items() if giver == host)


@given(steps, st.sets(st.sampled_from([A, B, C])))
def test_the_believed_prefix_ends_at_the_first_byte_of_anybody_else(
    plan: list[tuple[Host | None, int, int]], believed: set[Host]
) -> None:
    ledger, model = told(plan)
    assert ledger.prefix_of(believed.__contains__) == next(
        position for position in range(END + 1) if model.get(position) not in believed
    )


def test_what_an_earlier_run_left_is_never_believed() -> None:
    ledger = Ledger()
    ledger.gave(None, 0, 10)
    ledger.gave(A, 10, 20)
    assert ledger.prefix_of(lambda _: True) == 0
    assert Ledger().prefix_of(lambda _: True) == 0
