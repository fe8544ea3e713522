"""Places: which node is at an address under a key.

One idea: a key has a few nodes, and a look at each of them is as fast as an index, which would take as much memory as
the nodes themselves. Only of keys that have many is there an index, made when they get that many. Pure; it looks at the
table, and changes nothing there. Invariant: an index has all nodes of its key but those that are nowhere yet.
"""

from __future__ import annotations

from uwsgirouter.model.node import Node
from uwsgirouter.model.table import RouteTable
from uwsgirouter.settings.address import NOWHERE, Address, Kind

MANY, FEW = 16, 8
"""Nodes of a key for which there is an index from then on, and of which there is none any more."""

Identity = tuple[Kind, str, int]


class Places:
    """The places of ``table``; whoever changes it says here which nodes came, moved and went, once that is done."""

    def __init__(self, table: RouteTable) -> None:
        self._table = table
        self._indexes: dict[bytes, dict[Identity, int]] = {}

    def find(self, key: bytes, address: Address) -> Node | None:
        """The node of this address (in whatever spelling) under ``key``; nobody is nowhere."""
        slot = self._table.slots.get(key)
        if slot is None or address == NOWHERE:
            return None
        if key in self._indexes:
            id = self._indexes[key].get(address.identity)
            return None if id is None else self._table.nodes[id]
        for node in slot.nodes:
            if node.address == address:
                return node
        identity = address.identity
        return next((node for node in slot.nodes if node.address.identity == identity), None)

    def came(self, node: Node) -> None:
        """``node`` is in the table."""
        index = self._indexes.get(node.key)
        if index is not None:
            if node.address != NOWHERE:
                index[node.address.identity] = node.id
            return
        nodes = self._table.slots[node.key].nodes
        if len(nodes) > MANY:
            self._indexes[node.key] = {one.address.identity: one.id for one in nodes if one.address != NOWHERE}

    def went(self, node: Node) -> None:
        """``node`` is not in the table any more, or not at this address."""
        index = self._indexes.get(node.key)
        if index is None:
            return
        if node.address != NOWHERE:
            del index[node.address.identity]
        if len(index) < FEW:
            del self._indexes[node.key]
