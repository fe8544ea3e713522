"""Weighted round robin: exact turns, fair rounds, and nobody starves while a slot changes."""

from __future__ import annotations

from collections import Counter
from math import lcm

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.balancers.made import KEY, nodes_of
from uwsgirouter.balancers.wrr import WeightedRoundRobin
from uwsgirouter.model.events import Gone, Put
from uwsgirouter.model.node import State
from uwsgirouter.model.slot import NOBODY, Slot
from uwsgirouter.model.table import RouteTable
from uwsgirouter.settings.address import parse_peer


def turns(weights: list[int], count: int, turn: int = 0) -> str:
    """The names of the nodes in the order of their turns: A is the first one."""
    balancer = WeightedRoundRobin(nodes_of(weights), turn)
    return "".join(chr(65 + balancer.next(NOBODY).id) for _ in range(count))


class Churning:
    """A slot whose nodes come, go and change between requests, as they do in a worker."""

    def __init__(self, weights: list[int]) -> None:
        self.table = RouteTable(WeightedRoundRobin)
        self.waited: dict[int, int] = {}
        for id, weight in enumerate(weights):
            self.put(id, weight)

    @property
    def slot(self) -> Slot:
        return self.table.slots[KEY]

    def put(self, id: int, weight: int, state: State = State.UP, cores: int = 0) -> None:
        self.table.apply(Put(id, KEY, parse_peer(f"127.0.0.1:{3000 + id}"), (0, 0), weight, cores, 0, state, 0.0))
        self.waited.setdefault(id, 0)

    def remove(self, id: int) -> None:
        self.table.apply(Gone(id))
        self.waited.pop(id, None)

    def turn(self) -> int:
        """One request; counts for each node how many requests others got since its last one."""
        node = self.slot.next()
        assert node is not None
        for id in self.waited:
            self.waited[id] += 1
        self.waited[node.id] = 0
        return node.id

    def turns(self, count: int) -> list[int]:
        return [self.turn() for _ in range(count)]


# -- exact turns ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([1], "AAAA"),
        ([7], "AAAA"),
        ([1, 1], "ABABAB"),
        ([1, 1, 1], "ABCABCABC"),
        ([5, 5, 5], "ABCABCABC"),
        ([3, 1], "AABAAABAAABA"),
        ([1, 3], "BABBBABB"),
        ([3, 2], "ABABAABABA"),
        ([2, 1, 1], "ABCAABCA"),
        ([5, 1, 1], "AABACAAAABACAA"),
        ([1, 1_000_000], "BBBBBB"),
    ],
)
def test_exact_turns(weights: list[int], expected: str) -> None:
    assert turns(weights, len(expected)) == expected


@pytest.mark.parametrize("turn", range(9))
def test_a_rotation_goes_on_where_it_was(turn: int) -> None:
    assert turns([4, 4, 4], 6, turn) == ("ABC" * 6)[turn : turn + 6]


# -- fair rounds ----------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(0, 20), st.integers(0, 40))
def test_one_round_gives_every_node_exactly_its_weight(weights: list[int], turn: int, skipped: int) -> None:
    """A round is as many turns as the sum of the weights, wherever it starts."""
    balancer = WeightedRoundRobin(nodes_of(weights), turn)
    equal = len(set(weights)) == 1
    start = [balancer.next(NOBODY) for _ in range(skipped)]
    round = [balancer.next(NOBODY) for _ in range(sum(weights))]
    assert len(start) == skipped
    if not equal:
        assert Counter(node.id for node in round) == dict(enumerate(weights))
    else:
        assert Counter(node.id for node in round[: len(weights)]) == dict.fromkeys(range(len(weights)), 1)
        assert Counter(node.id for node in round) == dict(enumerate(weights))


@given(st.lists(st.integers(1, 12), min_size=2, max_size=5), st.integers(1, 60))
def test_turns_are_spread_over_the_round(weights: list[int], count: int) -> None:
    """After any number of turns nobody is a whole round's share ahead or behind."""
    got = Counter(turns(weights, count))
    for id, weight in enumerate(weights):
        due = count * weight / sum(weights)
        assert abs(got[chr(65 + id)] - due) < len(weights), (weights, count)


# -- changes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [[1, 1, 1], [3, 1], [3, 2], [5, 1, 2]])
def test_a_node_that_is_announced_before_every_request_changes_nothing(weights: list[int]) -> None:
    """Each announcement with another number of cores has the order made anew."""
    churning = Churning(weights)
    found = []
    for number in range(3 * sum(weights)):
        churning.put(number % len(weights), weights[number % len(weights)], cores=number)
        found.append(churning.turn())
    assert Counter(found) == {id: 3 * weight for id, weight in enumerate(weights)}
    assert "".join(chr(65 + id) for id in found) == turns(weights, len(found))


@pytest.mark.parametrize("flapping", [1, 2, 3])
def test_the_last_of_a_rotation_does_not_starve_when_others_flap(flapping: int) -> None:
    churning = Churning([1] * (3 + flapping))
    bound = lcm(*range(3, 4 + flapping))
    for number in range(400):
        for id in range(3, 3 + flapping):
            churning.put(id, 1, State.DOWN if (number + id) % 2 else State.UP)
        churning.turn()
        assert max(churning.waited[id] for id in range(3)) <= bound


def test_what_a_node_owes_from_days_of_great_weights_does_not_starve_it() -> None:
    churning = Churning([1_000_000, 1])
    assert Counter(churning.turns(500_001))[1] == 1
    churning.remove(0)
    churning.put(2, 2)
    assert Counter(churning.turns(30))[1] >= 5
    assert Counter(churning.turns(30)) == {1: 10, 2: 20}


def test_a_weight_that_falls_does_not_starve_its_node() -> None:
    churning = Churning([1000, 999])
    churning.turns(999)
    churning.put(0, 1)
    churning.put(1, 2)
    found = churning.turns(60)
    assert min(Counter(found).values()) >= 15


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["up", "down", "draining", "gone"]), st.integers(1, 50)),
        max_size=60,
    ),
)
def test_nobody_starves_while_others_come_go_and_change(stable: list[int], changes: list[tuple[int, str, int]]) -> None:
    """Nodes that stay as they are wait a bounded number of requests, whatever four others do between them."""
    churning = Churning(stable)
    greatest = sum(stable) + 4 * 50
    for which, what, weight in changes:
        id = 10 + which
        if what == "gone":
            churning.remove(id)
        else:
            churning.put(id, weight, State(what))
        churning.turns(2)
        assert max(churning.waited[id] for id in range(len(stable))) <= 3 * greatest
    for which in range(4):
        churning.remove(10 + which)
    churning.turns(4 * sum(stable) + 4)
    assert max(churning.waited[id] for id in range(len(stable))) <= 3 * sum(stable)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=5), st.data())
def test_after_a_removal_the_rest_are_served_by_their_weights(weights: list[int], data: st.DataObject) -> None:
    churning = Churning(weights)
    churning.turns(data.draw(st.integers(0, 40)))
    gone = data.draw(st.integers(0, len(weights) - 1))
    churning.remove(gone)
    rest = {id: weight for id, weight in enumerate(weights) if id != gone}
    total = sum(rest.values())
    rounds = 20
    found = Counter(churning.turns(rounds * total))
    for id, weight in rest.items():
        assert abs(found[id] - rounds * weight) <= 2 * sum(weights), "the debts of one round at most"
    assert Counter(churning.turns(total)) == rest
