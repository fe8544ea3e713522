"""Who is at an address: the same with an index and without, in whatever spelling."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.model.made import put
from uwsgirouter.balancers.wrr import WeightedRoundRobin
from uwsgirouter.model.events import Gone
from uwsgirouter.model.places import FEW, MANY, Places
from uwsgirouter.model.table import RouteTable
from uwsgirouter.settings.address import NOWHERE, parse_peer

KEYS = (b"a", b"b")
PORTS = range(1, 30)


class World:
    def __init__(self) -> None:
        self.table = RouteTable(WeightedRoundRobin)
        self.places = Places(self.table)
        self.there: dict[tuple[bytes, int], int] = {}
        self.number = 0

    def toggle(self, key: bytes, port: int) -> None:
        """A node comes, or goes."""
        id = self.there.pop((key, port), None)
        if id is not None:
            node = self.table.nodes[id]
            self.table.apply(Gone(id))
            self.places.went(node)
            return
        self.number += 1
        self.there[key, port] = self.number
        self.table.apply(put(self.number, key=key, address=f"127.0.0.1:{port}"))
        self.places.came(self.table.nodes[self.number])

    def check(self) -> None:
        for key in KEYS:
            for port in PORTS:
                for text in (f"127.0.0.1:{port}", f"127.0.0.1:0{port}"):
                    node = self.places.find(key, parse_peer(text))
                    assert (node.id if node else None) == self.there.get((key, port))


@given(st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(PORTS)), max_size=80), st.booleans())
def test_any_coming_and_going(steps: list[tuple[bytes, int]], crowded: bool) -> None:
    world = World()
    for port in PORTS if crowded else ():
        world.toggle(b"a", port)
    for key, port in steps:
        world.toggle(key, port)
    world.check()


def test_an_index_is_there_while_it_is_worth_it() -> None:
    world = World()
    for port in PORTS[: MANY + 1]:
        assert not world.places._indexes
        world.toggle(b"a", port)
    assert list(world.places._indexes) == [b"a"]
    world.check()
    for port in PORTS[: MANY + 2 - FEW]:
        assert list(world.places._indexes) == [b"a"]
        world.toggle(b"a", port)
    assert not world.places._indexes
    world.check()


def test_nobody_is_nowhere() -> None:
    world = World()
    for number in range(MANY + 3):
        world.table.apply(replace(put(100 + number, key=b"a"), address=NOWHERE))
        world.places.came(world.table.nodes[100 + number])
        assert world.places.find(b"a", NOWHERE) is None
    world.toggle(b"a", 5)
    world.check()
    for number in range(MANY + 3):
        node = world.table.nodes[100 + number]
        world.table.apply(Gone(node.id))
        world.places.went(node)
    world.check()
