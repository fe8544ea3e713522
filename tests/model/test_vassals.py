"""Nodes that an Emperor can start: what inactive announcements, the vassal's own words and time make of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from socket import AF_INET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.model.made import view
from uwsgirouter.balancers.wrr import WeightedRoundRobin
from uwsgirouter.model.changes import Change, Happening
from uwsgirouter.model.node import Node, State
from uwsgirouter.model.registry import Registry
from uwsgirouter.model.table import RouteTable
from uwsgirouter.model.vassals import STANDING_TOLERANCE
from uwsgirouter.protocol.subscription import Announce
from uwsgirouter.settings.address import NOWHERE, parse_peer

UP, DOWN, DRAINING, INACTIVE = State.UP, State.DOWN, State.DRAINING, State.INACTIVE
KEY = b"example.com"
TOLERANCE = 17.0


class World:
    """A registry of one key, and the table of a worker that hears of every change."""

    def __init__(self) -> None:
        self.busy: set[int] = set()
        self.table = RouteTable(WeightedRoundRobin)
        self.replica = RouteTable(WeightedRoundRobin)
        self.registry = Registry(self.table, lambda id: id in self.busy, TOLERANCE, 30.0)

    def seen(self, changes: list[Change]) -> list[Happening]:
        for change in changes:
            if change.event is not None:
                self.replica.apply(change.event)
        assert view(self.replica) == view(self.table)
        return [change.happening for change in changes if change.happening is not Happening.NEW_POOL]

    def stand_by(self, now: float, vassal: str = "one.ini", address: str = "/a", **values: int) -> list[Happening]:
        """Somebody announces a vassal that can be started."""
        where = parse_peer(address) if address else NOWHERE
        announce = Announce(KEY, where, vassal=vassal.encode(), inactive=True, **values)
        return self.seen(self.registry.announce(announce, now))

    def run(self, now: float, address: str = "/a", vassal: str = "", **values: int) -> list[Happening]:
        """A vassal announces itself."""
        return self.seen(
            self.registry.announce(Announce(KEY, parse_peer(address), vassal=vassal.encode(), **values), now)
        )

    def stop(self, now: float, address: str = "/a", vassal: str = "", cleared: bool = False) -> list[Happening]:
        """A vassal takes leave."""
        where = parse_peer(address)
        announce = Announce(KEY, where, vassal=vassal.encode(), leaving=not cleared, cleared=cleared)
        return self.seen(self.registry.announce(announce, now))

    def take_away(self, now: float, vassal: str = "one.ini", address: str = "/a") -> list[Happening]:
        """Whoever announced the vassal takes that back."""
        where = parse_peer(address) if address else NOWHERE
        announce = Announce(KEY, where, vassal=vassal.encode(), inactive=True, leaving=True)
        return self.seen(self.registry.announce(announce, now))

    def expire(self, now: float) -> list[Happening]:
        return self.seen(self.registry.expire(now))

    @property
    def node(self) -> Node:
        (node,) = self.table.nodes.values()
        return node

    @property
    def states(self) -> list[tuple[str, State]]:
        return [(node.address.text, node.state) for node in self.table.nodes.values()]


@pytest.fixture
def world() -> World:
    return World()


def test_a_vassal_that_can_be_started_is_a_node_that_gets_no_requests(world: World) -> None:
    assert world.stand_by(10, modifier1=5, weight=3) == [Happening.NEW_VASSAL]
    assert (world.node.state, world.node.vassal, world.node.modifiers, world.node.weight) == (
        INACTIVE,
        b"one.ini",
        (5, 0),
        3,
    )
    slot = world.replica.slots[KEY]
    assert slot.next() is None
    assert slot.next_except(()) is None
    assert slot.last_resort(()) is None
    assert world.replica.available(), "a cheap router must hear the request that wakes it"


def test_those_asleep_are_woken_in_turn(world: World) -> None:
    for number in range(3):
        world.stand_by(10, f"{number}.ini", f"/{number}")
    slot = world.replica.slots[KEY]
    woken = [slot.sleeping() for _ in range(6)]
    assert sorted(node.vassal for node in woken if node) == [b"0.ini", b"0.ini", b"1.ini", b"1.ini", b"2.ini", b"2.ini"]
    assert woken[:3] == woken[3:]
    world.run(11, "/0")
    world.run(11, "/1")
    world.run(11, "/2")
    assert slot.sleeping() is None


@pytest.mark.parametrize("vassal", ["", "one.ini"])
def test_it_is_up_when_it_announces_itself(world: World, vassal: str) -> None:
    """A vassal of uWSGI 2.0 does not tell its name: it is known by its address."""
    world.stand_by(10)
    assert world.run(12, vassal=vassal, weight=2) == [Happening.AWAKE]
    assert (world.node.state, world.node.weight, world.node.since, world.node.vassal) == (UP, 2, 12, b"one.ini")
    assert world.run(13, vassal=vassal, weight=2) == []
    assert world.replica.slots[KEY].next() is not None


def test_a_vassal_without_an_address_tells_it_when_it_runs(world: World) -> None:
    assert world.stand_by(10, address="") == [Happening.NEW_VASSAL]
    assert world.node.address == NOWHERE
    assert world.run(12, "127.0.0.1:3031", "one.ini") == [Happening.AWAKE]
    assert world.states == [("127.0.0.1:3031", UP)]
    assert world.replica.nodes[world.node.id].aim() == (AF_INET, ("127.0.0.1", 3031))
    assert world.run(13, "127.0.0.1:03031", "one.ini") == [], "another spelling is no other address"
    world.stop(14, "127.0.0.1:3031")
    assert world.run(15, "127.0.0.1:4000", "one.ini") == [Happening.AWAKE]
    assert world.states == [("127.0.0.1:4000", UP)]


def test_vassals_without_addresses_are_told_apart(world: World) -> None:
    world.stand_by(10, "one.ini", "")
    world.stand_by(10, "two.ini", "")
    assert world.run(11, "/two", "two.ini") == [Happening.AWAKE]
    assert {node.vassal: node.state for node in world.table.nodes.values()} == {b"one.ini": INACTIVE, b"two.ini": UP}


def test_a_node_that_ran_already_and_its_vassal_become_one(world: World) -> None:
    """The vassal told no name before: its node and the one that waits for it were two."""
    world.run(10, "/a")
    world.stand_by(11, "one.ini", "")
    assert len(world.table.nodes) == 2
    assert world.run(12, "/a", "one.ini") == [Happening.LEFT, Happening.UPDATED]
    assert (world.node.state, world.node.vassal, world.node.address.text) == (UP, b"one.ini", "/a")
    assert world.stop(13) == [Happening.ASLEEP], "what was said of the vassal holds for its node"


def test_whoever_announces_vassals_need_not_know_which_run(world: World) -> None:
    world.stand_by(10, weight=1)
    world.run(11, weight=5)
    for now in (12, 13):
        assert world.stand_by(now, weight=1) == []
    assert (world.node.state, world.node.weight) == (UP, 5)
    assert world.stand_by(14, "renamed.ini") == [Happening.UPDATED]
    assert (world.node.state, world.node.vassal) == (UP, b"renamed.ini")


def test_a_vassal_that_stops_sleeps(world: World) -> None:
    world.stand_by(10)
    world.run(11)
    world.busy.add(world.node.id)
    assert world.stop(20) == [Happening.ASLEEP]
    assert (world.node.state, world.node.since) == (INACTIVE, 20)
    assert world.stop(21) == [], "it may say so twice"
    assert world.run(22) == [Happening.AWAKE]


def test_without_the_word_of_somebody_it_leaves_as_any_node(world: World) -> None:
    world.run(10, "/a", "one.ini")
    assert world.node.vassal == b"one.ini"
    assert world.stop(11) == [Happening.LEFT]


def test_it_may_say_itself_that_it_can_be_started_again(world: World) -> None:
    """subscription-clear-on-shutdown of uWSGI 2.1."""
    world.run(10, "/a", "one.ini")
    assert world.stop(11, "/a", "one.ini", cleared=True) == [Happening.ASLEEP]
    assert world.stop(11, "/a", "one.ini", cleared=True) == []
    assert world.states == [("/a", INACTIVE)]
    assert world.run(12, "/b", "one.ini") == [Happening.AWAKE]
    assert world.states == [("/b", UP)]


def test_one_that_falls_silent_sleeps(world: World) -> None:
    world.stand_by(10)
    world.run(11)
    assert world.expire(28) == []
    assert world.expire(28.5) == [Happening.EXPIRED]
    assert world.states == [("/a", INACTIVE)]
    assert world.expire(100) == []


def test_one_that_cannot_be_reached_sleeps(world: World) -> None:
    """Its Emperor knows better whether it runs: it is asked before the client gets an error."""
    world.stand_by(10)
    world.run(11)
    assert world.seen(world.registry.fail(world.node.id, 12)) == [Happening.FAILED]
    assert world.states == [("/a", INACTIVE)]
    assert world.seen(world.registry.fail(world.node.id, 12)) == [], "another worker saw the same"
    assert world.run(13) == [Happening.AWAKE]


def test_a_node_that_drains_or_is_down_sleeps_when_its_vassal_is_announced(world: World) -> None:
    world.run(10, "/a")
    world.run(10, "/b")
    first, second = world.table.nodes.values()
    world.busy |= {first.id, second.id}
    world.stop(11, "/a")
    world.seen(world.registry.fail(second.id, 11))
    assert [state for _, state in world.states] == [DRAINING, DOWN]
    world.stand_by(12, "one.ini", "/a")
    world.stand_by(12, "two.ini", "/b")
    assert [state for _, state in world.states] == [INACTIVE, INACTIVE]
    world.busy.clear()
    assert world.expire(13) == [], "it drains no more"


def test_the_word_holds_for_a_while(world: World) -> None:
    world.stand_by(10)
    assert world.expire(10 + STANDING_TOLERANCE) == []
    world.stand_by(20)
    assert world.expire(20 + STANDING_TOLERANCE) == []
    assert world.expire(20.1 + STANDING_TOLERANCE) == [Happening.FORGOTTEN]
    assert world.states == []


def test_a_word_that_is_too_old_costs_a_running_vassal_nothing(world: World) -> None:
    world.stand_by(10)
    late = 11 + STANDING_TOLERANCE
    world.run(late)
    assert world.expire(late) == []
    assert world.states == [("/a", UP)]
    assert world.stop(late + 1) == [Happening.LEFT]


def test_what_was_announced_can_be_taken_back(world: World) -> None:
    world.stand_by(10)
    assert world.stop(11) == [], "the vassal itself cannot: it stops, and can be started"
    assert world.take_away(12) == [Happening.LEFT]
    assert world.take_away(12) == []
    world.stand_by(20, address="")
    assert world.take_away(21, address="") == [Happening.LEFT]


def test_taken_back_while_it_runs_it_goes_on_and_leaves_for_good(world: World) -> None:
    world.stand_by(10)
    world.run(11)
    assert world.take_away(12) == []
    assert world.states == [("/a", UP)]
    assert world.stop(13) == [Happening.LEFT]


def test_one_asleep_takes_what_is_said_of_it(world: World) -> None:
    world.stand_by(10)
    assert world.stand_by(11, weight=4) == [Happening.UPDATED]
    assert world.stand_by(12, address="/b", weight=4) == [Happening.UPDATED]
    assert world.states == [("/b", INACTIVE)]
    assert world.run(13, "/b") == [Happening.AWAKE]


# -- whatever comes, in whatever order ------------------------------------------------------------------------------

ADDRESSES = st.sampled_from(["", "/a", "/b", "127.0.0.1:80", "127.0.0.1:080"])
VASSALS = st.sampled_from(["", "one.ini", "two.ini"])


@dataclass
class Step:
    address: str
    vassal: str
    inactive: bool
    cleared: bool
    leaving: bool
    weight: int
    later: float
    fails: list[int] = field(default_factory=list)


STEPS = st.lists(
    st.builds(
        Step,
        ADDRESSES,
        VASSALS,
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.integers(1, 2),
        st.sampled_from([0.5, 10.0, 20.0, 4000.0]),
        st.lists(st.integers(0, 8), max_size=2),
    ),
    max_size=25,
)


@given(STEPS)
def test_any_sequence_leaves_a_registry_that_makes_sense(steps: list[Step]) -> None:
    world = World()
    now = 1000.0
    for step in steps:
        now += step.later
        inactive = bool(step.vassal) and (step.inactive or not step.address)
        if step.address or step.vassal:
            where = parse_peer(step.address) if step.address else NOWHERE
            cleared = step.cleared and bool(step.vassal)
            announce = Announce(
                KEY,
                where,
                weight=step.weight,
                leaving=step.leaving,
                vassal=step.vassal.encode(),
                inactive=inactive,
                cleared=cleared,
            )
            world.seen(world.registry.announce(announce, now))
        for id in step.fails:
            world.seen(world.registry.fail(id, now))
        world.expire(now)
        nodes = list(world.table.nodes.values())
        assert len({node.address.identity for node in nodes if node.address != NOWHERE}) == sum(
            node.address != NOWHERE for node in nodes
        )
        vassals = [node.vassal for node in nodes if node.vassal]
        assert len(set(vassals)) == len(vassals), "a vassal has one node"
        for node in nodes:
            assert node.state is INACTIVE or node.address != NOWHERE, "only one asleep may have no address"
            assert node.state is not INACTIVE or node.vassal, "one asleep can be started"
    world.expire(now + STANDING_TOLERANCE + TOLERANCE + 1)
    world.expire(now + 2 * (STANDING_TOLERANCE + TOLERANCE + 1))
    assert not world.table.nodes, "without a word of anybody nothing stays"


def test_vassals_that_can_be_started_leave_room_for_those_that_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """They stay for hours: a flood of them would keep others out for as long."""
    monkeypatch.setattr("uwsgirouter.model.vassals.STANDING_MOST", 2)
    world = World()
    assert [world.stand_by(0.0, f"{n}.ini", f"/{n}") for n in range(3)] == [
        [Happening.NEW_VASSAL],
        [Happening.NEW_VASSAL],
        [Happening.FULL],
    ]
    assert world.stand_by(1.0, "0.ini", "/0") == [], "those that are known stay"
    assert world.run(2.0, "/3", "3.ini") == [Happening.NEW]
    assert world.stand_by(3.0, "3.ini", "/3") == [Happening.FULL], "there is no way round it"
    assert world.take_away(4.0, "0.ini", "/0") == [Happening.LEFT]
    assert world.stand_by(5.0, "2.ini", "/2") == [Happening.NEW_VASSAL]
