"""An announcement that changes nothing takes a short way; whatever happens, the registry is as by the long one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.model.made import view
from uwsgirouter.balancers.wrr import WeightedRoundRobin
from uwsgirouter.model.announced import Announced
from uwsgirouter.model.changes import Change
from uwsgirouter.model.hearing import PERFECT, Hearing
from uwsgirouter.model.node import Node, Order, State
from uwsgirouter.model.registry import Registry
from uwsgirouter.model.table import RouteTable
from uwsgirouter.protocol.subscription import Announce
from uwsgirouter.settings.address import NOWHERE, parse_peer

KEYS = (b"x", b"y")
ADDRESSES = tuple(map(parse_peer, ("/a", "127.0.0.1:80", "127.0.0.1:080")))
SECONDS = st.sampled_from([0.0, 1.0, 5.0, 10.0, 17.5, 60.0])


def said(**fields: Any) -> Announce:
    """(From the type alone, hypothesis would make values for fields that have one.)"""
    return Announce(**fields)


announcements = st.builds(
    said,
    key=st.sampled_from(KEYS),
    address=st.sampled_from(ADDRESSES),
    vassal=st.sampled_from([b"", b"", b"v"]),
)
sleepers = st.builds(
    said,
    key=st.sampled_from(KEYS),
    address=st.sampled_from([*ADDRESSES, NOWHERE]),
    vassal=st.sampled_from([b"v", b"w"]),
    inactive=st.just(True),
    leaving=st.booleans(),
)
OTHERS = (
    *(("weight", 1), ("weight", 2), ("cores", 0), ("cores", 4), ("load", 1), ("backup", 0), ("backup", 1)),
    *(("algo", ""), ("algo", "lrc"), ("algo", "odd"), ("modifier1", 0), ("modifier1", 5), ("modifier2", 9)),
    *(("vassal", b""), ("vassal", b"v"), ("vassal", b"w"), ("leaving", True), ("leaving", False)),
)
places = st.sampled_from([(key, address) for key in KEYS for address in ADDRESSES[:2]])
steps = st.one_of(
    st.tuples(st.just("announce"), st.one_of(announcements, announcements, sleepers)),
    st.tuples(st.just("again"), st.tuples(st.integers(0, 3), st.none())),
    st.tuples(st.just("again"), st.tuples(st.integers(0, 3), st.sampled_from(OTHERS))),
    st.tuples(st.sampled_from(["fail", "fault"]), st.integers(0, 3)),
    st.tuples(st.just("session"), st.tuples(st.integers(0, 3), st.sampled_from([0, 1]))),
    st.tuples(st.just("expire"), st.tuples(SECONDS, st.sampled_from([0.0, 3.0, 20.0]))),
    st.tuples(st.just("order"), st.tuples(places, st.sampled_from(Order))),
    st.tuples(st.just("weigh"), st.tuples(places, st.sampled_from([None, 1, 2]))),
)


class World:
    """A registry, and what was announced to it; ``by_echo``: by digests, as far as it knows them."""

    def __init__(self, by_echo: bool = False) -> None:
        self.by_echo = by_echo
        self.echoes = 0
        self.inflight: Counter[int] = Counter()
        self.table = RouteTable(WeightedRoundRobin)
        self.registry = Registry(self.table, lambda id: self.inflight[id], 17.0, 30.0)
        self.now = 1000.0
        self.said: list[Announce] = []

    def do(self, what: str, argument: object) -> list[Change]:
        """One step."""
        registry, now = self.registry, self.now
        if what == "announce":
            assert isinstance(argument, Announce)
            self.said.append(argument)
            return self.take(argument)
        if what == "again":
            assert isinstance(argument, tuple)
            return self.say_again(*argument) if self.said else []
        if what == "fail":
            assert isinstance(argument, int)
            return registry.fail(argument, now)
        if what == "fault":
            assert isinstance(argument, int)
            return registry.fault(argument, now, 3)
        assert isinstance(argument, tuple)
        if what == "session":
            self.inflight[argument[0]] = argument[1]
            return []
        if what == "order":
            return registry.order(*argument[0], argument[1], "somebody", now)
        if what == "weigh":
            return registry.weigh(*argument[0], argument[1], "somebody", now)
        seconds, missed = argument
        self.now += seconds
        return registry.expire(self.now, Hearing(missed=self.now - missed) if missed else PERFECT)

    def say_again(self, index: int, other: tuple[str, Any] | None) -> list[Change]:
        """What was said before, perhaps with another value."""
        announce = self.said[-1 - index % len(self.said)]
        if other is not None and not announce.inactive:
            announce = announce._replace(**dict([other]))
        self.said.append(announce)
        return self.take(announce)

    def take(self, announce: Announce) -> list[Change]:
        """As the subscription server does it."""
        digest = repr(announce).encode()
        if self.by_echo and self.registry.hear_echo(digest, self.now):
            self.echoes += 1
            return []
        changes = self.registry.announce(announce, self.now)
        if self.by_echo:
            self.registry.note_echo(digest, announce)
        return changes

    def state(self) -> tuple[object, ...]:
        """All that can be told from outside."""
        nodes = {
            id: (self.registry.heard(node), node.load, node.why, node.order, node.share, self.registry.own_weight(node))
            for id, node in self.table.nodes.items()
        }
        return view(self.table), nodes, self.registry.words(), self.registry.numbers


def both(taken: Iterable[tuple[str, object]]) -> None:
    """Take these steps by any way; after each of them nothing is different."""
    repeats = Announced._repeats
    short, long, shortest = World(), World(), World(by_echo=True)
    for what, argument in taken:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Announced, "_repeats", lambda self, node, announce: False)
            expected = long.do(what, argument)
            patch.setattr(Announced, "_repeats", repeats)
            assert short.do(what, argument) == shortest.do(what, argument) == expected
        for world in (short, shortest):
            assert world.state() == long.state()
            assert list(world.registry._roll.silence) == list(long.registry._roll.silence)
            assert world.registry._roll.draining == long.registry._roll.draining
        assert len(shortest.registry._roll.echoes) <= len(shortest.table.nodes)


@given(st.lists(steps, min_size=10, max_size=40))
def test_both_ways_give_the_same(taken: list[tuple[str, object]]) -> None:
    both(taken)


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize(
    "before",
    [
        [],
        [("fail", 0)],
        [("fault", 0)],
        [("session", (0, 1)), ("again", (0, ("leaving", True)))],
        [("order", ((b"x", ADDRESSES[0]), Order.DRAIN))],
        [("weigh", ((b"x", ADDRESSES[0]), 2))],
        [("announce", Announce(b"x", ADDRESSES[1], vassal=b"v"))],
    ],
)
def test_any_value_in_any_state(other: tuple[str, object], before: list[tuple[str, object]]) -> None:
    first = Announce(b"x", ADDRESSES[0])
    both([("announce", first), *before, ("announce", first), ("again", (0, other)), ("again", (0, None))])
    both([("announce", first), *before, ("announce", first._replace(**dict([other]))), ("again", (0, None))])  # type: ignore[arg-type]


def test_a_weight_that_an_operator_had_given_already() -> None:
    """It is the node's own as well from now on, which is seen when the operator takes his back."""
    place = (b"x", ADDRESSES[0])
    heavy = Announce(*place, weight=2)
    both([("announce", Announce(*place)), ("weigh", (place, 2)), ("announce", heavy), ("weigh", (place, None))])


def test_the_usual_announcement_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    announce = Announce(b"x", ADDRESSES[0], weight=3, cores=4, algo="lrc")
    world.do("announce", announce)
    monkeypatch.setattr(Announced, "_refresh", lambda *arguments: pytest.fail("the long way"))
    world.now += 10
    assert world.do("again", (0, None)) == []
    node: Node = world.table.nodes[0]
    assert (world.registry.heard(node), node.state) == (world.now, State.UP)
    monkeypatch.undo()
    assert world.do("announce", announce._replace(weight=4)) != []


def test_an_echo_is_no_longer_one_when_its_node_changes() -> None:
    world = World(by_echo=True)
    first, other = Announce(b"x", ADDRESSES[0]), Announce(b"x", ADDRESSES[0], load=7)
    world.do("announce", first)
    world.do("announce", first)
    assert world.echoes == 1
    world.do("announce", other)
    world.do("announce", first)
    assert (world.echoes, world.table.nodes[0].load) == (1, 0), "another one was heard in between"
    for event, argument in (("fail", 0), ("order", ((b"x", ADDRESSES[0]), Order.DRAIN))):
        world.do(event, argument)
        world.do("announce", first)
        assert world.echoes == 1, event
    world.do("order", ((b"x", ADDRESSES[0]), Order.READY))
    world.do("announce", first)
    world.do("announce", first)
    assert world.echoes == 2
    world.do("announce", first._replace(leaving=True))
    assert len(world.registry._roll.echoes) == 0
    world.do("announce", first)
    assert world.echoes == 2
