"""Slow start: a tenth, growing to the whole, seen alike in all workers; and nobody else is touched."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.balancers.made import From, nodes_of
from tests.model.made import put
from uwsgirouter.balancers.choice import balancing
from uwsgirouter.model.node import FULL_SHARE
from uwsgirouter.model.slot import Slot
from uwsgirouter.model.slow_start import FIRST_PART, SlowStart, part
from uwsgirouter.model.table import RouteTable


@pytest.mark.parametrize(
    ("age", "expected"), [(-1, 10), (0, 10), (1, 10), (3, 15), (10, 50), (19.9, 99), (20, 100), (1e9, 100)]
)
def test_the_part_grows_with_age(age: float, expected: int) -> None:
    assert part(age, 20.0) == expected


def test_without_a_slow_start_everybody_has_all() -> None:
    assert part(0.0, 0.0) == FULL_SHARE


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0.1, 1000))
def test_it_never_shrinks(one: float, two: float, seconds: float) -> None:
    assert FIRST_PART <= part(min(one, two), seconds) <= part(max(one, two), seconds) <= FULL_SHARE


@given(st.lists(st.tuples(st.integers(1, 9), st.floats(0, 60)), min_size=1, max_size=5), st.floats(60, 200))
def test_shares_are_weights_times_parts(rows: list[tuple[int, float]], now: float) -> None:
    nodes = nodes_of([weight for weight, _ in rows])
    for node, (_, since) in zip(nodes, rows, strict=True):
        node.since = since
    growing = SlowStart(30.0, lambda: now)(nodes)
    assert [node.share for node in nodes] == [weight * part(now - since, 30.0) for weight, since in rows]
    assert growing == any(node.share < node.weight * FULL_SHARE for node in nodes)


class Clocked:
    """A slot with a slow start of 20 s, and its clock."""

    def __init__(self, algo: str) -> None:
        self.now = 1000.0
        self.inflight: Counter[int] = Counter()
        slow_start = SlowStart(20.0, lambda: self.now)
        self.table = RouteTable(balancing(algo, lambda id: self.inflight[id], slow_start))

    @property
    def slot(self) -> Slot:
        return self.table.slots[b"foo.com"]

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.table.balancing.grow()

    def shares(self, count: int) -> Counter[int]:
        found: Counter[int] = Counter()
        for number in range(count):
            node = self.slot.next(From(f"10.0.{number >> 8}.{number & 255}"))
            assert node is not None
            found[node.id] += 1
        return found


@pytest.mark.parametrize("algo", ["wrr", "lrc", "wlrc"])
def test_a_new_node_beside_three_old_ones(algo: str) -> None:
    world = Clocked(algo)
    for id in range(3):
        world.table.apply(put(id, since=0.0))
    assert world.shares(300) == {0: 100, 1: 100, 2: 100}
    world.table.apply(put(3, since=world.now))
    for seconds, tenths in ((0.0, 1), (10.0, 5), (4.0, 7), (6.0, 10)):
        world.pass_time(seconds)
        found = world.shares(300 + 10 * tenths)
        assert abs(found[3] - 10 * tenths) <= 1, (seconds, found)
        assert max(found.values()) - min(found[id] for id in range(3)) <= 1
    assert not world.table.balancing.growing
    world.pass_time(1.0)
    assert world.shares(400) == dict.fromkeys(range(4), 100)


def test_shares_are_set_again_only_when_the_clock_is_told() -> None:
    """No clock is read for a request: a balancer goes on until something changes, or for a second."""
    world = Clocked("wrr")
    world.table.apply(put(0, since=0.0))
    world.table.apply(put(1, since=world.now))
    world.shares(1)
    assert world.table.balancing.growing == {world.slot}
    world.now += 15.0
    world.shares(10)
    assert world.table.nodes[1].share == FIRST_PART
    world.pass_time(0.0)
    world.shares(1)
    assert world.table.nodes[1].share == 75


def test_nodes_of_one_age_share_as_ever() -> None:
    world = Clocked("wrr")
    for id, weight in enumerate([1, 2, 3]):
        world.table.apply(put(id, weight=weight, since=world.now))
    assert world.shares(60) == {0: 10, 1: 20, 2: 30}


def test_iphash_moves_clients_to_the_new_node_bit_by_bit_and_each_once() -> None:
    world = Clocked("iphash")
    clients = [From(f"192.0.2.{number}") for number in range(200)]
    for id in range(3):
        world.table.apply(put(id, since=0.0))

    def homes() -> list[int]:
        return [node.id for node in (world.slot.next(client) for client in clients) if node is not None]

    before = homes()
    world.table.apply(put(3, since=world.now))
    counts = []
    for _ in range(5):
        after = homes()
        assert all(new in (old, 3) for old, new in zip(before, after, strict=True))
        counts.append(after.count(3))
        before = after
        world.pass_time(5.0)
    assert counts == sorted(counts)
    assert counts[0] < 20
    assert 30 < counts[-1] < 70
