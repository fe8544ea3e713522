"""What one registry hands over is known by the next, number by number, and handed over the same again."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uwsgirouter.balancers.wrr import WeightedRoundRobin
from uwsgirouter.model.counters import fits, layout
from uwsgirouter.model.leases import Leases
from uwsgirouter.model.memory import Memory
from uwsgirouter.model.node import Order, State
from uwsgirouter.model.registry import Registry
from uwsgirouter.model.table import RouteTable
from uwsgirouter.protocol.replay import Replays
from uwsgirouter.protocol.subscription import Announce
from uwsgirouter.settings.address import NOWHERE, parse_peer

KEYS = (b"a.example", b"b.example", b"\xff odd \x00 key")
PLACES = tuple(parse_peer(text) for text in ("127.0.0.1:1", "127.0.0.1:2", "[::1]:3", "/run/n.sock", "127.0.0.1:04"))


class World:
    """A memory with its table; ``busy`` are the numbers of nodes with sessions under way."""

    def __init__(self) -> None:
        self.busy: set[int] = set()
        self.table = RouteTable(WeightedRoundRobin)
        self.registry = Registry(self.table, lambda id: int(id in self.busy), 17.0, 30.0)
        self.memory = Memory(self.registry, Leases(), Replays())

    def successor(self) -> World:
        """Another one that was handed what this one knows, by way of JSON."""
        other = World()
        other.busy = self.busy
        other.memory.inherit(json.loads(json.dumps(self.memory.handed())))
        return other

    def shown(self) -> list[list[object]]:
        names = type(next(iter(self.table.nodes.values()), None)).__slots__ if self.table.nodes else ()
        private = {"credit", "pass_after", "seed", "share", "target", "token"}
        return [
            [getattr(node, name) for name in names if name not in private]
            + [self.registry.heard(node), self.registry.sni(node), self.registry.own_weight(node)]
            for node in self.table.nodes.values()
        ]


def test_each_state_and_word_goes_over() -> None:
    one = World()
    registry = one.registry
    registry.configure([PLACES[0], PLACES[0], PLACES[1]], 1.0, [PLACES[2]])
    for number, place in enumerate(PLACES):
        registry.announce(Announce(b"a.example", place, weight=number + 1, cores=4, sni_key=b"/k\xff"), 2.0 + number)
    ids = {node.address.text: node.id for node in one.table.slots[b"a.example"].nodes}
    registry.fail(ids["127.0.0.1:1"], 8.0, "refused")
    registry.fault(ids["127.0.0.1:2"], 8.0, 3)
    registry.fail(0, 8.0)
    one.busy.add(ids["[::1]:3"])
    registry.announce(Announce(b"a.example", PLACES[2], leaving=True), 9.0)
    registry.announce(Announce(b"v.example", NOWHERE, vassal=b"v.ini", inactive=True), 9.5)
    registry.order(b"a.example", PLACES[3], Order.DRAIN, "uid 0", 10.0)
    registry.weigh(b"a.example", PLACES[4], 77, "uid 0", 10.0)
    registry.order(b"gone.example", PLACES[0], Order.DOWN, "uid 7", 11.0)
    registry.announce(Announce(b"b.example", PLACES[0]), 11.0)
    registry.announce(Announce(b"b.example", PLACES[0], leaving=True), 12.0)
    two = one.successor()
    states = {node.state for node in two.table.nodes.values()}
    assert states == {State.UP, State.DOWN, State.EJECTED, State.DRAINING, State.INACTIVE}
    assert two.shown() == one.shown()
    assert two.memory.handed() == one.memory.handed()
    for world in (one, two):
        world.busy.clear()
    for world in (one, two):
        world.registry.announce(Announce(b"new.example", PLACES[0]), 70.0)
    assert two.memory.handed() == one.memory.handed(), "both go on alike, and give the same numbers"


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, bytes, int, int]]:
    kinds = st.sampled_from(
        ["up", "leave", "fail", "fault", "drain", "down", "ready", "weigh", "asleep", "time", "busy"]
    )
    step = st.tuples(kinds, st.sampled_from(KEYS), st.integers(0, len(PLACES) - 1), st.integers(1, 9))
    return draw(st.lists(step, max_size=40))


def play(world: World, history: list[tuple[str, bytes, int, int]], now: float) -> float:
    """What happens to a registry, a quarter of a second apart."""
    registry = world.registry
    for kind, key, place, number in history:
        now += 0.25
        address = PLACES[place]
        node = registry.find(key, address)
        if kind == "up":
            registry.announce(Announce(key, address, weight=number, vassal=b"v%d" % number if number > 7 else b""), now)
        elif kind == "leave":
            registry.announce(Announce(key, address, leaving=True), now)
        elif kind == "asleep":
            registry.announce(Announce(key, NOWHERE, vassal=b"v%d" % number, inactive=True), now)
        elif kind in ("drain", "down", "ready"):
            registry.order(key, address, Order(kind), "uid 0", now)
        elif kind == "weigh":
            registry.weigh(key, address, number if number > 3 else None, "uid 0", now)
        elif kind == "time":
            now += number
            registry.expire(now)
        elif kind == "busy":
            world.busy ^= {number}
        elif node is not None and kind == "fail":
            registry.fail(node.id, now)
        elif node is not None and kind == "fault":
            registry.fault(node.id, now, number)
    return now


@given(histories(), histories())
@settings(max_examples=150)
def test_whatever_happened_it_goes_on_as_if_nothing_had_been(
    before: list[tuple[str, bytes, int, int]], after: list[tuple[str, bytes, int, int]]
) -> None:
    one = World()
    now = play(one, before, 100.0)
    two = one.successor()
    two.busy = set(one.busy)
    assert two.shown() == one.shown()
    assert two.memory.handed() == one.memory.handed()
    play(one, after, now)
    play(two, after, now)
    assert two.shown() == one.shown()
    assert two.memory.handed() == one.memory.handed()


def test_names_and_clocks_go_over() -> None:
    one = World()
    named = Announce(b"n.example", parse_peer("node.example:8000"), weight=3)
    one.memory.leases.hear(named, 1.0)
    one.memory.leases.learn("node.example", ("10.0.0.1", "10.0.0.2"), 2.0)
    one.memory.replays.admit(b"k", "10.0.0.1:1", 1000, b"signed", 1000.0, 100.0)
    two = one.successor()
    assert two.memory.handed() == one.memory.handed()
    assert two.memory.leases.names == {"node.example": ("10.0.0.1", "10.0.0.2")}
    with pytest.raises(Exception, match="replayed"):
        two.memory.replays.admit(b"k", "10.0.0.1:1", 1000, b"signed", 1000.5, 100.0)
    two.memory.replays.admit(b"k", "10.0.0.1:1", 1000, b"another one of that second", 1000.5, 100.0)


def test_memory_of_counters_fits_what_it_was_made_for() -> None:
    ours = layout()
    assert fits(ours)
    assert fits({**ours, "columns": ours["columns"][:-1]}), "a version that knew fewer"
    assert fits({**ours, "columns": [*ours["columns"], [1000, "NEW"]]}), "or more"
    assert fits({**ours, "causes": [*ours["causes"], "new"]})
    assert not fits({**ours, "rows": 128})
    assert not fits({**ours, "columns": [[0, "SOMETHING_ELSE"]]})
    assert not fits({**ours, "causes": ["other", *ours["causes"]]})
