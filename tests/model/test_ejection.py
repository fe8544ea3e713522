"""Ejection: three faults in ten seconds, a second doubling to thirty, and never more than half."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.model.made import view
from uwsgirouter.balancers.wrr import WeightedRoundRobin
from uwsgirouter.model.changes import Change, Happening
from uwsgirouter.model.ejection import FORGIVEN, LONGEST_TIME, Ejections, room, surplus
from uwsgirouter.model.events import Event
from uwsgirouter.model.node import State
from uwsgirouter.model.registry import Registry
from uwsgirouter.model.table import STATIC_KEY, RouteTable
from uwsgirouter.protocol.subscription import Announce
from uwsgirouter.settings.address import parse_peer

UP, DOWN, DRAINING, EJECTED = State.UP, State.DOWN, State.DRAINING, State.EJECTED
KEY = b"k"


def address_of(id: int) -> str:
    return f"127.0.0.1:{3000 + id}"


class World:
    """A registry with nodes of one key, and a worker's table that gets its events. Numbers are as announced."""

    def __init__(self, nodes: int = 0) -> None:
        self.inflight: Counter[int] = Counter()
        self.table = RouteTable(WeightedRoundRobin)
        self.replica = RouteTable(WeightedRoundRobin)
        self.registry = Registry(self.table, lambda id: self.inflight[id], 1000.0, 30.0)
        self.events: list[Event] = []
        self.lines: list[str] = []
        for id in range(nodes):
            self.announce(id, 0.0)

    def seen(self, changes: list[Change]) -> list[Happening]:
        for change in changes:
            assert change.event is not None or change.happening in (Happening.NEW_POOL, Happening.ODD_ALGO)
            if change.event is not None:
                self.replica.apply(change.event)
        assert view(self.replica) == view(self.table)
        self.lines = [change.detail for change in changes if change.detail]
        return [change.happening for change in changes]

    def announce(self, id: int, now: float, leaving: bool = False, algo: str = "") -> list[Happening]:
        announce = Announce(KEY, parse_peer(address_of(id)), leaving=leaving, algo=algo)
        return self.seen(self.registry.announce(announce, now))

    def fault(self, id: int, now: float, count: int = 1) -> list[Happening]:
        return self.seen(self.registry.fault(id, now, count))

    def expire(self, now: float) -> list[Happening]:
        return self.seen(self.registry.expire(now))

    def states(self) -> list[State]:
        return [node.state for node in self.table.nodes.values()]


# -- the policy -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0, 1], False),
        ([0, 0, 0], True),
        ([0, 5, 10], True),
        ([0, 5, 10.1], False),
        ([0, 5, 11, 14.9], True),
        ([0, 9, 18, 27, 36], False),
    ],
)
def test_three_faults_in_ten_seconds(times: list[float], expected: bool) -> None:
    ejections = Ejections()
    assert [ejections.fault(1, now) for now in times][-1] is expected
    assert not ejections.fault(2, times[-1]), "each node has its own"


@pytest.mark.parametrize("count", [3, 4, 1000])
def test_faults_may_be_told_together(count: int) -> None:
    assert not Ejections().fault(1, 5.0, 2)
    assert Ejections().fault(1, 5.0, count)


def test_the_time_doubles_to_thirty_seconds_and_is_forgiven() -> None:
    ejections = Ejections()
    now, found = 100.0, []
    for _ in range(7):
        found.append(ejections.eject(1, now))
        assert ejections.due(now + found[-1] - 0.01) == []
        assert ejections.due(now + found[-1]) == [1]
        now += found[-1]
        ejections.end(1, now)
        assert ejections.out() == []
    assert found == [1, 2, 4, 8, 16, 30, LONGEST_TIME]
    assert ejections.eject(1, now + FORGIVEN) == LONGEST_TIME
    ejections.end(1, now + FORGIVEN + 1)
    assert ejections.eject(1, now + 2 * FORGIVEN + 1.1) == 1


def test_what_went_well_for_long_costs_nothing() -> None:
    ejections = Ejections()
    for id in range(100):
        ejections.fault(id, 10.0)
    ejections.eject(7, 10.0)
    ejections.tidy(10.0)
    ejections.tidy(80.0)
    assert list(ejections._records) == [7], "whoever is out is remembered"
    ejections.end(7, 90.0)
    ejections.tidy(1000.0)
    assert ejections._records == {}


@given(st.integers(0, 50), st.integers(0, 50))
def test_room_is_what_keeps_half(up: int, out: int) -> None:
    if up and room(up, out):
        assert surplus(up - 1, out + 1) == 0
    back = surplus(up, out)
    assert 2 * (out - back) <= up + out
    assert back == 0 or 2 * (out - back + 1) > up + out, "nobody comes back without need"


# -- the registry ---------------------------------------------------------------------------------------------------


def test_a_node_is_out_for_a_second_and_back() -> None:
    world = World(3)
    assert world.fault(0, 10) == world.fault(0, 11) == []
    assert world.fault(0, 12) == [Happening.EJECTED]
    assert world.lines == ["1"]
    assert world.states() == [EJECTED, UP, UP]
    assert world.table.nodes[0].since == 12
    assert world.fault(0, 12.5, 9) == [], "late news of it"
    assert world.expire(12.9) == []
    assert world.expire(13) == [Happening.BACK]
    assert world.fault(0, 13.5, 2) == []
    assert world.fault(0, 14) == [Happening.EJECTED]
    assert world.lines == ["2"]


def test_an_announcement_ends_it() -> None:
    world = World(2)
    world.fault(0, 10, 3)
    assert world.announce(0, 10.5) == [Happening.BACK]
    assert world.states() == [UP, UP]
    assert world.expire(20) == []
    assert world.fault(0, 21, 3) == [Happening.EJECTED]
    assert world.lines == ["2"], "it does not make good what was"


@pytest.mark.parametrize(("nodes", "most"), [(1, 0), (2, 1), (3, 1), (4, 2), (7, 3)])
def test_never_more_than_half(nodes: int, most: int) -> None:
    world = World(nodes)
    for id in range(nodes):
        world.fault(id, 10, 5)
    assert world.states().count(EJECTED) == most
    assert len(world.expire(11)) == most


def test_what_serves_nobody_does_not_count_for_the_half() -> None:
    world = World(4)
    world.seen(world.registry.fail(0, 5))
    world.inflight[1] = 1
    world.announce(1, 5, leaving=True)
    assert world.states() == [DOWN, DRAINING, UP, UP]
    assert world.fault(2, 10, 3) == [Happening.EJECTED]
    assert world.fault(3, 10, 3) == []


def test_when_others_fail_the_ejected_ones_come_back_before_their_time() -> None:
    world = World(4)
    world.fault(0, 10, 3)
    world.fault(1, 10.2, 3)
    assert world.states() == [EJECTED, EJECTED, UP, UP]
    world.seen(world.registry.fail(2, 10.3))
    assert world.expire(10.5) == [Happening.BACK]
    assert world.states() == [UP, EJECTED, DOWN, UP], "the one that would be back first"


def test_one_that_refuses_meanwhile_is_down_and_stays_so() -> None:
    world = World(2)
    world.fault(0, 10, 3)
    assert world.seen(world.registry.fail(0, 10.5)) == [Happening.FAILED]
    assert world.expire(12) == []
    assert world.states() == [DOWN, UP]
    assert world.fault(0, 13, 3) == []
    assert world.announce(0, 14) == [Happening.BACK]


def test_one_that_leaves_or_expires_is_forgotten() -> None:
    world = World(4)
    world.fault(0, 10, 3)
    world.fault(1, 10, 3)
    world.inflight[1] = 1
    assert world.announce(0, 10.1, leaving=True) == [Happening.LEFT]
    assert world.announce(1, 10.1, leaving=True) == [Happening.LEAVING]
    assert world.expire(11) == []
    assert world.states() == [DRAINING, UP, UP]
    world.fault(2, 12, 3)
    assert world.states() == [DRAINING, EJECTED, UP]
    assert world.expire(5000) == [Happening.EXPIRED] * 2
    assert world.fault(0, 5001, 3) == world.fault(77, 5001, 3) == []


def test_static_nodes_are_ejected_and_come_back_by_time_alone() -> None:
    world = World()
    static = [parse_peer(address_of(id)) for id in range(2)]
    world.seen(world.registry.configure(static, 1.0))
    assert sorted(world.table.slots) == [STATIC_KEY]
    assert world.fault(1, 10, 3) == [Happening.EJECTED]
    assert world.expire(11) == [Happening.BACK]


@given(
    st.integers(1, 6),
    st.lists(
        st.tuples(
            st.sampled_from(["fault", "announce", "leave", "fail", "pass"]), st.integers(0, 5), st.floats(0.0, 8.0)
        ),
        max_size=60,
    ),
)
def test_whatever_happens_half_of_those_that_serve_are_up(nodes: int, steps: list[tuple[str, int, float]]) -> None:
    """And whoever is out comes back; the worker's table agrees all the time."""
    world = World(nodes)
    now = 100.0
    for what, id, seconds in steps:
        now += seconds
        number = next((n.id for n in world.table.nodes.values() if n.address.text == address_of(id)), -1)
        if what == "fault":
            world.fault(number, now, 2)
        elif what == "fail":
            world.seen(world.registry.fail(number, now))
        elif what != "pass":
            world.announce(id, now, leaving=what == "leave")
        if what in ("fault", "pass"):
            world.expire(now)
            states = world.states()
            assert states.count(EJECTED) <= states.count(UP)
    world.expire(now + LONGEST_TIME)
    assert EJECTED not in world.states()


# -- wishes of algorithms -------------------------------------------------------------------------------------------


def wish(world: World, id: int) -> tuple[str, float]:
    return world.table.nodes[id].algo, world.table.nodes[id].algo_since


def test_a_wish_has_the_time_when_it_was_first_announced() -> None:
    world = World()
    assert world.announce(0, 10, algo="lrc") == [Happening.NEW_POOL, Happening.NEW]
    assert wish(world, 0) == ("lrc", 10)
    assert world.announce(0, 20, algo="lrc") == [], "nothing to tell the workers"
    assert world.announce(0, 25) == [], "one that names none lets it be"
    assert wish(world, 0) == ("lrc", 10)
    assert world.announce(0, 30, algo="p2c") == [Happening.UPDATED]
    assert wish(world, 0) == ("p2c", 30)


def test_an_algorithm_that_does_not_exist_is_told_once_and_the_node_serves() -> None:
    world = World()
    assert world.announce(0, 10, algo="rr") == [Happening.NEW_POOL, Happening.NEW, Happening.ODD_ALGO]
    assert world.lines == ["rr"]
    assert world.states() == [UP]
    assert world.announce(0, 20, algo="rr") == []
    assert world.table.slots[KEY].algo == ""
    assert world.announce(0, 30, algo="") == []
    assert world.announce(0, 40, algo="best") == [Happening.UPDATED, Happening.ODD_ALGO]


def test_the_backup_level_is_that_of_the_latest_announcement() -> None:
    world = World()
    for level, expected in ((2, [Happening.NEW_POOL, Happening.NEW]), (2, []), (1, [Happening.UPDATED])):
        announce = Announce(KEY, parse_peer(address_of(0)), backup=level)
        assert world.seen(world.registry.announce(announce, 10.0)) == expected
        assert world.table.nodes[0].backup == level
