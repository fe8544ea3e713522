"""A slot: whose turn it is, and who is next after a failure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.model.made import put, table
from uwsgirouter.model.node import SERVING, Node, State
from uwsgirouter.model.slot import Slot

UP, DOWN, DRAINING, EJECTED = State.UP, State.DOWN, State.DRAINING, State.EJECTED


def slot_of(*states: State, weights: list[int] | None = None) -> Slot:
    weights = weights or [1] * len(states)
    events = [put(id, state=state, weight=weights[id]) for id, state in enumerate(states)]
    return table(*events).slots[b"foo.com"]


def test_only_nodes_that_are_up_get_requests() -> None:
    slot = slot_of(DOWN, UP, DRAINING, UP)
    assert [node.id for node in (slot.next() for _ in range(4)) if node] == [1, 3, 1, 3]
    assert slot.turns == 4


@pytest.mark.parametrize("states", [(DOWN,), (DRAINING,), (DOWN, DRAINING, DOWN)])
def test_nobody_up_nobody_next(states: tuple[State, ...]) -> None:
    slot = slot_of(*states)
    assert slot.next() is None
    assert slot.turns == 0, "a turn that nobody had does not count"


def test_a_change_is_seen_at_the_next_request() -> None:
    routes = table(put(0), put(1))
    slot = routes.slots[b"foo.com"]
    assert slot.next() is routes.nodes[0]
    routes.apply(put(0, state=DOWN))
    assert [slot.next() for _ in range(3)] == [routes.nodes[1]] * 3
    routes.apply(put(0))
    assert {slot.next(), slot.next()} == set(slot.nodes)


def test_after_a_failure_those_that_are_up_share_the_load() -> None:
    slot = slot_of(UP, UP, UP, UP)
    broken = slot.nodes[0]
    counts = dict.fromkeys(range(4), 0)
    for _ in range(400):
        node = slot.next()
        if node is broken:
            node = slot.next_except([broken])
        assert node is not None
        counts[node.id] += 1
    assert counts[0] == 0
    assert max(counts.values()) - min(counts[id] for id in (1, 2, 3)) <= 1


def test_failover_visits_those_up_then_those_down_each_once() -> None:
    slot = slot_of(DOWN, UP, DRAINING, UP, DOWN, EJECTED)
    tried: list[Node] = []
    while (node := slot.next_except(tried) or slot.last_resort(tried)) is not None:
        tried.append(node)
    assert [node.state for node in tried] == [UP, UP, EJECTED, DOWN, DOWN]
    assert sorted(node.id for node in tried) == [0, 1, 3, 4, 5]


def test_a_node_of_small_weight_is_found_behind_one_of_great_weight() -> None:
    slot = slot_of(DOWN, UP, UP, weights=[1, 1_000_000, 1])
    for _ in range(5):
        assert slot.next_except([slot.nodes[1]]) is slot.nodes[2]


@given(
    st.lists(st.tuples(st.sampled_from(State), st.integers(1, 9), st.booleans()), min_size=1, max_size=7),
    st.integers(0, 9),
)
def test_next_except(rows: list[tuple[State, int, bool]], before: int) -> None:
    """Never a tried or a draining one, the better state first, and one whenever there is one."""
    slot = slot_of(*(row[0] for row in rows), weights=[row[1] for row in rows])
    for _ in range(before):
        slot.next()
    tried = {node for node, row in zip(slot.nodes, rows, strict=True) if row[2]}
    left = [node for node in slot.nodes if node not in tried]
    node = slot.next_except(tried) or slot.last_resort(tried)
    for states in (SERVING, (EJECTED,), (DOWN,)):
        if any(one.state in states for one in left):
            assert node in left and node.state in states
            break
    else:
        assert node is None
