"""Restored nodes: they serve at once, and are known for what they are; restarts at any moment harm nothing."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.model.test_registry_replicas import TOLERANCE, Known, Model, Replicas
from uwsgirouter.balancers.wrr import WeightedRoundRobin
from uwsgirouter.model.changes import Happening
from uwsgirouter.model.leases import Leases
from uwsgirouter.model.memory import Memory
from uwsgirouter.model.node import SERVING, Node, Order, State
from uwsgirouter.model.registry import Registry
from uwsgirouter.model.snapshot import SavedNode, Snapshot, decode_snapshot, encode_snapshot
from uwsgirouter.model.table import STATIC_KEY, RouteTable
from uwsgirouter.protocol.replay import Replays
from uwsgirouter.protocol.subscription import Announce
from uwsgirouter.settings.address import NOWHERE, Address, parse_peer

A, B, C = (parse_peer(f"10.0.0.{number}:3031") for number in (1, 2, 3))
WALL = 1_700_000_000.0
"""Wall-clock seconds at monotonic 0, before the restart."""


class Master:
    """What of a master lasts, with a clock for each of its lives."""

    def __init__(self, inflight: int = 0) -> None:
        self.registry = Registry(RouteTable(WeightedRoundRobin), lambda id: inflight, TOLERANCE, 30.0)
        self.memory = Memory(self.registry, Leases(), Replays())

    def node(self, address: Address, key: bytes = b"k") -> Node:
        node = self.registry.find(key, address)
        assert node is not None
        return node

    def restarted(self, now: float, away: float = 3.0, later: float = 50.0) -> Master:
        """Another one that goes on ``away`` seconds later; its monotonic clock says ``later`` then."""
        data = encode_snapshot(self.memory.snapshot(now, WALL + now))
        master = Master()
        master.memory.recall(decode_snapshot(data), later, WALL + now + away)
        return master


def announce(address: Address, **fields: object) -> Announce:
    return Announce(b"k", address)._replace(**fields)  # type: ignore[arg-type]


def test_all_that_is_known_of_a_node_comes_back() -> None:
    master = Master()
    said = announce(A, modifier1=5, modifier2=6, weight=7, cores=8, load=9, backup=1, algo="lrc")
    master.registry.announce(said, 100.0)
    master.registry.announce(said._replace(load=10), 140.0)
    again = master.restarted(150.0, away=3.0, later=50.0)
    node = again.node(A)
    assert (node.state, node.modifiers, node.weight, node.cores, node.load) == (State.UNCONFIRMED, (5, 6), 7, 8, 10)
    assert (node.backup, node.algo) == (1, "lrc")
    assert (node.since, node.algo_since) == (-3.0, -3.0), "it has served for 53 seconds: it need not start slowly"
    slot = again.registry.table.slots[b"k"]
    assert slot.next() is node


@pytest.mark.parametrize("away", [0.0, 3.0, 3600.0, -3600.0])
def test_they_have_their_time_to_announce_themselves(away: float) -> None:
    """However long the router was away, and wherever the wall clock was put meanwhile."""
    master = Master()
    master.registry.announce(announce(A), 100.0)
    again = master.restarted(101.0, away)
    assert again.registry.expire(50.0 + TOLERANCE) == []
    assert again.node(A).since <= 50.0
    (gone,) = again.registry.expire(50.1 + TOLERANCE)
    assert gone.happening is Happening.EXPIRED


def test_an_answer_confirms_a_node_and_keeps_it_no_longer() -> None:
    master = Master()
    master.registry.announce(announce(A), 100.0)
    again = master.restarted(101.0)
    since = again.node(A).since
    (change,) = again.registry.answered(again.node(A).id)
    assert change.happening is Happening.CONFIRMED
    assert (again.node(A).state, again.node(A).since) == (State.UP, since)
    assert again.registry.answered(again.node(A).id) == []
    assert again.registry.answered(12345) == []
    (gone,) = again.registry.expire(50.1 + TOLERANCE)
    assert gone.happening is Happening.EXPIRED


def test_an_announcement_confirms_a_node() -> None:
    master = Master()
    master.registry.announce(announce(A), 100.0)
    again = master.restarted(101.0)
    (change,) = again.registry.announce(announce(A), 60.0)
    assert change.happening is Happening.CONFIRMED, "not a new node, and not one that is back"
    assert (again.node(A).state, again.node(A).since) == (State.UP, 46.0)
    assert again.registry.announce(announce(A), 70.0) == []
    assert again.registry.expire(60.0 + TOLERANCE) == []


def test_who_refuses_is_out_like_others_and_comes_back_like_others() -> None:
    master = Master()
    master.registry.announce(announce(A), 100.0)
    again = master.restarted(101.0)
    (change,) = again.registry.fail(again.node(A).id, 51.0)
    assert (change.happening, again.node(A).state) == (Happening.FAILED, State.DOWN)
    third = again.restarted(52.0)
    assert third.node(A).state is State.DOWN, "nobody heard of it since"
    (change,) = third.registry.announce(announce(A), 52.0)
    assert (change.happening, third.node(A).state) == (Happening.BACK, State.UP)


def test_who_does_not_answer_is_left_alone_like_others() -> None:
    master = Master()
    for address in (A, B):
        master.registry.announce(announce(address), 100.0)
    again = master.restarted(101.0)
    (change,) = again.registry.fault(again.node(A).id, 51.0, 3)
    assert change.happening is Happening.EJECTED
    assert again.registry.fault(again.node(B).id, 51.0, 3) == [], "never more than half"
    third = again.restarted(51.5)
    assert third.node(A).state is State.UNCONFIRMED, "its seconds are over, or nearly"


def test_who_was_leaving_is_not_brought_back() -> None:
    master = Master(inflight=1)
    master.registry.announce(announce(A), 100.0)
    master.registry.announce(announce(B), 100.0)
    master.registry.announce(announce(A, leaving=True), 101.0)
    again = master.restarted(102.0)
    assert again.registry.find(b"k", A) is None
    assert again.node(B).state is State.UNCONFIRMED
    leaving = Snapshot(0.0, (SavedNode(announce(C), State.DRAINING, 1.0, 1.0),))
    assert again.memory.recall(leaving, 60.0, WALL) == []


def test_vassals_that_sleep_and_vassals_that_run() -> None:
    master = Master()
    for name, address in ((b"a.ini", A), (b"b.ini", B)):
        master.registry.announce(announce(NOWHERE, vassal=name, inactive=True), 100.0)
        master.registry.announce(announce(address, vassal=name), 101.0)
    master.registry.announce(announce(NOWHERE, vassal=b"c.ini", inactive=True), 102.0)
    master.registry.fail(master.node(B).id, 103.0)
    again = master.restarted(110.0)
    states = {node.vassal: node.state for node in again.registry.table.nodes.values()}
    assert states == {b"a.ini": State.UNCONFIRMED, b"b.ini": State.INACTIVE, b"c.ini": State.INACTIVE}
    again.registry.expire(51.0 + TOLERANCE)
    assert again.node(A).state is State.INACTIVE, "it said nothing, but it can be started again"
    (change,) = again.registry.announce(announce(C, vassal=b"c.ini"), 80.0)
    assert (change.happening, again.node(C).state) == (Happening.AWAKE, State.UP)


def test_a_word_about_vassals_lasts_over_a_long_absence() -> None:
    master = Master()
    master.registry.announce(announce(NOWHERE, vassal=b"a.ini", inactive=True), 100.0)
    again = master.restarted(110.0, away=1e6)
    assert again.registry.expire(60.0) == []
    assert again.registry.expire(50.0 + again.registry.standing_tolerance) != []


def test_words_of_operators() -> None:
    master = Master()
    for address in (A, B):
        master.registry.announce(announce(address, weight=2), 100.0)
    master.registry.order(b"k", A, Order.DRAIN, "root", 101.0)
    master.registry.weigh(b"k", B, 9, "root", 101.0)
    master.registry.order(b"k", C, Order.DOWN, "root", 101.0)
    again = master.restarted(110.0, away=3.0, later=50.0)
    assert (again.node(A).state, again.node(A).order, again.node(A).since) == (State.DRAINING, Order.DRAIN, 38.0)
    assert (again.node(B).state, again.node(B).weight) == (State.UNCONFIRMED, 9)
    again.registry.announce(announce(C), 51.0)
    assert again.node(C).state is State.DOWN
    again.registry.order(b"k", A, Order.READY, "root", 52.0)
    assert again.node(A).state in SERVING
    again.registry.weigh(b"k", B, None, "root", 52.0)
    assert again.node(B).weight == 2


def test_what_is_known_by_now_counts_more() -> None:
    master = Master()
    master.registry.announce(announce(A, weight=5), 100.0)
    master.registry.announce(announce(NOWHERE, vassal=b"b.ini", inactive=True), 100.0)
    again = Master()
    again.registry.announce(announce(A, weight=1), 50.0)
    again.registry.announce(announce(B, vassal=b"b.ini"), 50.0)
    assert again.memory.recall(master.memory.snapshot(101.0, WALL), 51.0, WALL) == []
    assert (again.node(A).weight, again.node(A).state) == (1, State.UP)
    twice = Snapshot(0.0, (SavedNode(announce(C), State.UP, 1.0, 1.0),) * 2)
    assert len(again.memory.recall(twice, 52.0, WALL)) == 1


def test_configured_nodes_are_the_configurations() -> None:
    master = Master()
    master.registry.configure([A], 100.0, [B])
    assert master.memory.snapshot(101.0, WALL).nodes == ()


def test_clocks_of_nodes_that_sign() -> None:
    master = Master()
    master.memory.replays.admit(b"k", "10.0.0.1:3031", 1000, b"signed", 1000.0, 60.0)
    again = master.restarted(101.0)
    assert list(again.memory.replays.rows()) == [(b"k", "10.0.0.1:3031", 1000)]


# -- any sequence of events -----------------------------------------------------------------------------------------


class RestartModel(Model):
    """The plain model, with nodes that are known from before."""

    def fail(self, name: tuple[bytes, object], now: float) -> None:
        if self.nodes[name].state is State.UNCONFIRMED:
            self.nodes[name].state = State.UP
        super().fail(name, now)

    def restart(self, now: float) -> None:
        kept = {name: node for name, node in self.nodes.items() if name[0] != STATIC_KEY}
        self.nodes = {name: node for name, node in kept.items() if node.state is not State.DRAINING}
        for node in self.nodes.values():
            node.seen = now
            node.state = node.state if node.state is State.DOWN else State.UNCONFIRMED


class Restarts(Replicas):
    """All that the world does to a registry, and restarts of the router in between."""

    def __init__(self) -> None:
        super().__init__()
        self.model = RestartModel(self.named)

    @rule(later=st.sampled_from([-900.0, 0.0, 5.0]), away=st.sampled_from([-60.0, 0.0, 5.0, 3600.0]))
    def the_router_is_restarted(self, later: float, away: float) -> None:
        wall = WALL + self.now
        before = Memory(self.registry, Leases(), Replays()).snapshot(self.now, wall)
        self.now += later
        self.sessions.clear()
        self.master = RouteTable(WeightedRoundRobin)
        self.registry = Registry(self.master, lambda id: self.sessions[id], TOLERANCE, 30.0)
        self.by_event, self.by_state = RouteTable(WeightedRoundRobin), RouteTable(WeightedRoundRobin)
        self.pending.clear()
        self.dirty.clear()
        self.freed.clear()
        self.live.clear()
        memory = Memory(self.registry, Leases(), Replays())
        self.take(memory.recall(decode_snapshot(encode_snapshot(before)), self.now, wall + away))
        assert isinstance(self.model, RestartModel)
        self.model.restart(self.now)
        after = memory.snapshot(self.now, wall + away)
        assert [(node.announce, node.state) for node in after.nodes] == [
            (node.announce, node.state if node.state is State.DOWN else State.UNCONFIRMED) for node in before.nodes
        ]
        again = Memory(Registry(RouteTable(WeightedRoundRobin), lambda id: 0, TOLERANCE, 30.0), Leases(), Replays())
        again.recall(after, self.now, wall + away)
        assert again.snapshot(self.now, wall + away).nodes == after.nodes

    @precondition(lambda self: any(node.state is State.UNCONFIRMED for node in self.master.nodes.values()))
    @rule(data=st.data(), well=st.booleans())
    def an_unconfirmed_node_is_tried(self, data: st.DataObject, well: bool) -> None:
        ids = sorted(id for id, node in self.master.nodes.items() if node.state is State.UNCONFIRMED)
        id = data.draw(st.sampled_from(ids))
        if well:
            self.take(self.registry.answered(id))
            known: Known = self.model.nodes[self.live[id]]
            known.state = State.UP
        else:
            self.take(self.registry.fail(id, self.now))
            self.model.fail(self.live[id], self.now)


TestRestarts = Restarts.TestCase
TestRestarts.settings = settings(stateful_step_count=40)
