"""Nodes, events and tables for the tests of this package and its neighbours."""

from __future__ import annotations

from uwsgirouter.balancers.wrr import WeightedRoundRobin
from uwsgirouter.model.events import Put
from uwsgirouter.model.node import FULL_SHARE, State
from uwsgirouter.model.table import RouteTable
from uwsgirouter.settings.address import parse_peer

View = tuple[dict[int, tuple[object, ...]], dict[bytes, list[int]]]


def put(
    id: int,
    key: bytes = b"foo.com",
    state: State = State.UP,
    weight: int = 1,
    address: str = "",
    since: float = 0.0,
) -> Put:
    """An event; the address is made from the number when none is given."""
    where = parse_peer(address or f"127.0.0.1:{3000 + id}")
    return Put(id, key, where, (0, 0), weight, 0, 0, state, since)


def table(*events: Put) -> RouteTable:
    """A table that has seen ``events``."""
    made = RouteTable(WeightedRoundRobin)
    for event in events:
        made.apply(event)
    return made


def view(table: RouteTable) -> View:
    """All that the tables of two processes must agree on (the order in a slot and the load are not of it)."""
    for key, slot in table.slots.items():
        assert slot.nodes, "a slot without nodes does not exist"
        assert all(node.key == key and table.nodes[node.id] is node for node in slot.nodes)
    nodes: dict[int, tuple[object, ...]] = {
        node.id: (
            node.key,
            node.address,
            node.modifiers,
            node.weight,
            node.cores,
            node.state,
            node.since,
            node.vassal,
            node.backup,
            node.algo,
            node.algo_since,
        )
        for node in table.nodes.values()
    }
    assert all(node.share == node.weight * FULL_SHARE for node in table.nodes.values()), "nothing starts slowly here"
    slots = {key: sorted(node.id for node in slot.nodes) for key, slot in table.slots.items()}
    assert sorted(nodes) == sorted(id for ids in slots.values() for id in ids), "a node is in exactly one slot"
    return nodes, slots
