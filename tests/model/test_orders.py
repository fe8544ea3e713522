"""An operator's word about nodes: it lies on them whatever they do, and ends when the operator says so.

First the cases one by one, then any sequence of everything that can happen to a node.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.model.made import put, table, view
from uwsgirouter.balancers.wrr import WeightedRoundRobin
from uwsgirouter.model.changes import Change, Happening
from uwsgirouter.model.node import SERVING, Node, Order, State
from uwsgirouter.model.orders import ABSENT_MOST, STATES, Orders, Word
from uwsgirouter.model.registry import Registry
from uwsgirouter.model.table import FALLBACK_KEY, STATIC_KEY, RouteTable
from uwsgirouter.protocol.subscription import Announce
from uwsgirouter.settings.address import parse_peer

DRAIN, DOWN, READY = Order.DRAIN, Order.DOWN, Order.READY
KEY = b"foo.com"
WHO = "uid 0"
TOLERANCE, GRACETIME = 17.0, 30.0


class World:
    """A registry with its replica, and the sessions under way."""

    def __init__(self) -> None:
        self.inflight: Counter[int] = Counter()
        self.table = RouteTable(WeightedRoundRobin)
        self.replica = RouteTable(WeightedRoundRobin)
        self.registry = Registry(self.table, lambda id: self.inflight[id], TOLERANCE, GRACETIME)

    def seen(self, changes: list[Change]) -> list[Happening]:
        for change in changes:
            if change.event is not None:
                self.replica.apply(change.event)
        assert view(self.replica) == view(self.table)
        assert all(self.replica.nodes[id].order is node.order for id, node in self.table.nodes.items())
        return [change.happening for change in changes]

    def announce(self, now: float, address: str = "/a", key: bytes = KEY, **values: object) -> list[Happening]:
        announce = Announce(key, parse_peer(address))._replace(**values)  # type: ignore[arg-type]
        return self.seen(self.registry.announce(announce, now))

    def order(self, order: Order, now: float, address: str = "/a", key: bytes = KEY) -> list[Happening]:
        return self.seen(self.registry.order(key, parse_peer(address), order, WHO, now))

    def weigh(self, weight: int | None, now: float, address: str = "/a", key: bytes = KEY) -> list[Happening]:
        return self.seen(self.registry.weigh(key, parse_peer(address), weight, WHO, now))

    def node(self, address: str = "/a", key: bytes = KEY) -> Node:
        found = self.registry.find(key, parse_peer(address))
        assert found is not None
        return found


@pytest.fixture
def world() -> World:
    made = World()
    made.announce(10, weight=3)
    return made


@pytest.mark.parametrize(("order", "state"), [(DRAIN, State.DRAINING), (DOWN, State.DOWN)])
def test_an_order_outlasts_announcements(world: World, order: Order, state: State) -> None:
    assert world.order(order, 11) == [Happening.ORDERED]
    assert (world.node().state, world.node().order, world.node().since) == (state, order, 11)
    for now in (12, 20, 30):
        assert world.announce(now, weight=3) == []
        assert (world.node().state, world.registry.heard(world.node())) == (state, now)
    assert world.announce(31, weight=5) == [Happening.UPDATED]
    assert (world.node().state, world.node().weight, world.node().since) == (state, 5, 11)
    assert world.seen(world.registry.expire(40)) == []
    assert world.order(READY, 41) == [Happening.ORDERED]
    assert (world.node().state, world.node().since, world.node().order) == (State.UP, 41, READY)
    assert world.registry.words() == []


def test_an_order_outlasts_the_node(world: World) -> None:
    world.order(DRAIN, 11)
    assert world.seen(world.registry.expire(30)) == [Happening.EXPIRED]
    assert [word.order for word in world.registry.absent_words()] == [DRAIN]
    assert Happening.NEW in world.announce(60)
    assert (world.node().state, world.node().why) == (State.DRAINING, "drained by an operator (uid 0)")
    assert world.registry.absent_words() == []
    world.announce(61, leaving=True)
    assert world.table.nodes == {}
    assert world.order(READY, 62) == [], "it ends even while the node is away"
    world.announce(63)
    assert world.node().state is State.UP


def test_the_same_order_again_changes_nothing(world: World) -> None:
    world.order(DOWN, 11)
    assert world.order(DOWN, 15) == []
    assert world.node().since == 11
    assert world.order(DRAIN, 16) == [Happening.ORDERED]
    assert (world.node().state, world.node().since) == (State.DRAINING, 16)
    assert world.order(READY, 17) == [Happening.ORDERED]
    assert world.order(READY, 18) == []
    assert world.node().since == 17


def test_a_node_that_unsubscribes_under_an_order_goes_normally(world: World) -> None:
    id = world.node().id
    world.inflight[id] = 2
    world.order(DOWN, 11)
    assert world.announce(12, leaving=True) == [Happening.LEAVING]
    assert world.announce(13, leaving=True) == []
    assert world.node().state is State.DOWN
    world.order(READY, 14)
    assert (world.node().state, world.node().why) == (State.DRAINING, "unsubscribed")
    world.inflight[id] = 0
    assert world.seen(world.registry.expire(15)) == [Happening.DRAINED]


def test_ready_on_a_silent_node_does_not_keep_it(world: World) -> None:
    world.order(DRAIN, 11)
    assert world.order(READY, 26.5) == [Happening.ORDERED]
    assert world.node().state is State.UP
    assert world.seen(world.registry.expire(28)) == [Happening.EXPIRED]


def test_ready_forgives_failures(world: World) -> None:
    for address in ("/b", "/c"):
        world.announce(10, address)
    world.seen(world.registry.fail(world.node().id, 11, "refused"))
    assert (world.node().state, world.node().why) == (State.DOWN, "refused")
    assert world.order(READY, 12) == [Happening.ORDERED]
    assert (world.node().state, world.node().why) == (State.UP, "let back by an operator (uid 0)")
    assert world.seen(world.registry.fault(world.node("/b").id, 13, 3)) == [Happening.EJECTED]
    assert "left alone for 1 s" in world.node("/b").why
    world.order(DRAIN, 13, "/b")
    assert world.seen(world.registry.expire(20)) == [], "its ejection ended with the order"
    world.order(READY, 21, "/b")
    assert world.node("/b").state is State.UP


def test_failures_of_a_node_under_an_order_count_for_nothing(world: World) -> None:
    world.order(DRAIN, 11)
    assert world.registry.fail(world.node().id, 12) == []
    assert world.registry.fault(world.node().id, 12, 9) == []
    world.order(READY, 13)
    assert world.node().state is State.UP


def test_configured_nodes_over_reloads(world: World) -> None:
    addresses = [parse_peer("/a"), parse_peer("/b"), parse_peer("/b")]
    world.seen(world.registry.configure(addresses, 1, addresses[:2]))
    world.seen(world.registry.fail(world.node("/a", STATIC_KEY).id, 2))
    world.order(DOWN, 3, "/a", STATIC_KEY)
    world.order(DRAIN, 3, "/b", FALLBACK_KEY)
    world.weigh(7, 3, "/b", STATIC_KEY)
    assert world.seen(world.registry.configure(addresses, 4, addresses[:2])) == []
    assert world.seen(world.registry.expire(100)).count(Happening.BACK) == 0
    world.seen(world.registry.configure([], 101))
    world.seen(world.registry.configure(addresses, 102, addresses[:2]))
    assert world.node("/a", STATIC_KEY).state is State.DOWN
    assert world.node("/b", FALLBACK_KEY).state is State.DRAINING
    assert world.node("/a", FALLBACK_KEY).state is State.UP
    assert (world.node("/b", STATIC_KEY).weight, world.registry.own_weight(world.node("/b", STATIC_KEY))) == (7, 2)
    world.order(READY, 103, "/a", STATIC_KEY)
    world.weigh(None, 103, "/b", STATIC_KEY)
    assert (world.node("/a", STATIC_KEY).state, world.node("/b", STATIC_KEY).weight) == (State.UP, 2)


def test_a_weight_outlasts_announcements(world: World) -> None:
    assert world.weigh(9, 11) == [Happening.ORDERED]
    assert world.announce(12, weight=3) == []
    assert (world.node().weight, world.node().state, world.node().why) == (9, State.UP, "announced")
    assert world.announce(13, weight=4, cores=2) == [Happening.UPDATED]
    assert (world.node().weight, world.registry.own_weight(world.node())) == (9, 4)
    world.order(DRAIN, 14)
    world.order(READY, 15)
    assert world.node().weight == 9
    assert world.weigh(None, 16) == [Happening.ORDERED]
    assert world.node().weight == 4


def test_the_load_is_news_under_an_order_too(world: World) -> None:
    world.order(DRAIN, 11)
    world.announce(12, weight=3, load=8)
    assert world.node().load == 8
    world.announce(13, weight=4, load=9)
    assert world.node().load == 9


def test_another_spelling_is_the_same_address(world: World) -> None:
    world.announce(10, "127.0.0.1:3031")
    world.order(DRAIN, 11, "127.0.0.1:03031")
    assert world.node("127.0.0.1:3031").state is State.DRAINING
    world.announce(12, "127.0.0.1:003031")
    assert world.node("127.0.0.1:3031").state is State.DRAINING


def test_the_same_address_under_another_key_is_another_node(world: World) -> None:
    world.announce(10, key=b"bar.com")
    world.order(DOWN, 11)
    assert world.node(key=b"bar.com").state is State.UP


def test_a_sleeping_vassal_under_an_order_is_not_woken(world: World) -> None:
    world.announce(10, "/v", vassal=b"v.ini", inactive=True)
    assert world.node("/v").state is State.INACTIVE
    world.order(DRAIN, 11, "/v")
    slot = world.table.slots[KEY]
    assert slot.sleeping() is None
    assert world.announce(12, "/v", vassal=b"v.ini", inactive=True) == []
    world.order(READY, 13, "/v")
    assert world.node("/v").state is State.INACTIVE
    world.order(DOWN, 14, "/v")
    world.announce(15, "/v", vassal=b"v.ini")
    assert world.node("/v").state is State.DOWN
    world.announce(16, "/v", vassal=b"v.ini", inactive=True)
    world.order(READY, 17, "/v")
    assert world.node("/v").state is State.UP, "it announced itself; the word that it can be started is none of that"


def test_an_order_does_not_follow_a_vassal_that_moves(world: World) -> None:
    world.announce(10, "127.0.0.1:1", vassal=b"v.ini")
    world.order(DRAIN, 11, "127.0.0.1:1")
    world.announce(12, "127.0.0.1:2", vassal=b"v.ini")
    assert world.node("127.0.0.1:2").state is State.UP
    assert [word.address.text for word in world.registry.absent_words()] == ["127.0.0.1:1"]
    world.announce(13, "127.0.0.1:1", vassal=b"v.ini")
    assert world.node("127.0.0.1:1").state is State.DRAINING


def test_words_can_be_recalled(world: World) -> None:
    world.order(DOWN, 11)
    world.weigh(5, 11)
    world.order(DRAIN, 12, "/later")
    words = world.registry.words()
    assert len(words) == 2
    again = World()
    again.announce(1)
    assert again.seen(again.registry.recall(words)) == [Happening.ORDERED]
    assert (again.node().state, again.node().weight) == (State.DOWN, 5)
    again.announce(2, "/later")
    assert again.node("/later").state is State.DRAINING


def test_what_is_remembered_of_absent_nodes_is_bounded() -> None:
    orders = Orders()
    kept = parse_peer("127.0.0.1:1")
    orders.say(Word(b"kept", kept, DOWN), present=True)
    for number in range(ABSENT_MOST + 10):
        orders.say(Word(b"%d" % number, kept, DRAIN), present=False)
    assert len(list(orders.absent())) == ABSENT_MOST
    assert len(orders.all()) == ABSENT_MOST + 1
    assert orders.of(b"9", kept) is None
    assert orders.of(b"10", kept) is not None
    orders.came(b"10", kept)
    orders.say(Word(b"last", kept, DRAIN), present=False)
    assert orders.of(b"10", kept) is not None, "a node that is there again is not forgotten"


def test_a_last_resort_is_no_node_that_an_operator_took_down() -> None:
    ordered = replace(put(1, state=State.DOWN), order=DOWN)
    slot = table(ordered, put(2, state=State.DOWN)).slots[KEY]
    assert slot.last_resort(()) is slot.nodes[1]
    assert slot.last_resort((slot.nodes[1],)) is None


def test_whom_an_operator_took_out_keeps_no_cheap_router_awake() -> None:
    ordered = replace(put(1, key=STATIC_KEY, state=State.DOWN), order=DOWN)
    assert not table(ordered).available()
    assert table(ordered, put(2)).available()
    assert table(ordered, put(2, key=FALLBACK_KEY)).available(), "a fallback stands in for it"


ADDRESSES = ["/a", "/b", "127.0.0.1:80"]
VASSALS = ["", "v.ini", "w.ini"]


class AnySequence(RuleBasedStateMachine):
    """Everything that can happen to nodes, in any order, and what must hold whatever did."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.now = 100.0
        self.said: dict[str, Order] = {}
        self.weights: dict[str, int] = {}

    @rule(seconds=st.sampled_from([0.5, 3.0, 20.0, 8000.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.world.seen(self.world.registry.expire(self.now))

    @rule(
        address=st.sampled_from(ADDRESSES),
        vassal=st.sampled_from(VASSALS),
        weight=st.integers(1, 3),
        kind=st.sampled_from(["here", "here", "leaving", "inactive", "inactive leaving", "cleared"]),
    )
    def announce(self, address: str, vassal: str, weight: int, kind: str) -> None:
        values: dict[str, object] = dict.fromkeys(kind.split(), True)
        values.pop("here", None)
        self.world.announce(self.now, address, vassal=vassal.encode(), weight=weight, **values)

    @rule(address=st.sampled_from(ADDRESSES), sessions=st.integers(0, 2))
    def sessions(self, address: str, sessions: int) -> None:
        node = self.world.registry.find(KEY, parse_peer(address))
        if node is not None:
            self.world.inflight[node.id] = sessions

    @rule(address=st.sampled_from(ADDRESSES), count=st.integers(0, 4))
    def fail(self, address: str, count: int) -> None:
        node = self.world.registry.find(KEY, parse_peer(address))
        if node is not None and count:
            self.world.seen(self.world.registry.fault(node.id, self.now, count))
        elif node is not None:
            self.world.seen(self.world.registry.fail(node.id, self.now))

    @rule(address=st.sampled_from(ADDRESSES), order=st.sampled_from([DRAIN, DOWN]))
    def take_out(self, address: str, order: Order) -> None:
        self.world.order(order, self.now, address)
        self.said[address] = order

    @rule(address=st.sampled_from(ADDRESSES))
    def let_back(self, address: str) -> None:
        registry = self.world.registry
        node = registry.find(KEY, parse_peer(address))
        self.world.order(READY, self.now, address)
        self.said.pop(address, None)
        if node is not None and node.id in registry._roll.silence:
            assert node.state is State.UP, "one that announces itself is back at once"

    @rule(address=st.sampled_from(ADDRESSES), weight=st.sampled_from([None, 1, 8]))
    def weigh(self, address: str, weight: int | None) -> None:
        self.world.weigh(weight, self.now, address)
        self.weights.pop(address, None)
        if weight is not None:
            self.weights[address] = weight

    @invariant()
    def a_node_under_an_order_is_in_its_state(self) -> None:
        for node in self.world.table.nodes.values():
            order = self.said.get(node.address.text, READY)
            assert node.order is order
            if order is not READY:
                assert node.state is STATES[order] and node.state not in SERVING
                assert node.why.endswith("by an operator (uid 0)")
            if node.address.text in self.weights:
                assert node.weight == self.weights[node.address.text]
            assert node.why

    @invariant()
    def nobody_under_an_order_is_given_a_request_out_of_turn(self) -> None:
        for slot in self.world.table.slots.values():
            for node in (slot.next(), slot.next_except(()), slot.last_resort(())):
                assert node is None or node.order is READY

    @invariant()
    def words_are_about_somebody_or_absent(self) -> None:
        registry = self.world.registry
        present = {node.address.identity for node in self.world.table.nodes.values()}
        said = {parse_peer(text).identity for text in (*self.said, *self.weights)}
        assert {word.address.identity for word in registry.words()} == said
        assert {word.address.identity for word in registry.absent_words()} == said - present


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
