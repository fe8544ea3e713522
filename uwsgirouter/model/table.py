"""The route table: slots by key and nodes by id, changed only by events.

One idea: :meth:`RouteTable.apply` is the only way in, the same in the master and in every worker, so all of them agree
once they have seen the same events, in whatever order those of different nodes came. No I/O, no clock, never yields.
Invariant: every node is in exactly the slot of its key; a slot without nodes does not exist.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import TypeVar

from uwsgirouter.model.events import Event, Gone, Put
from uwsgirouter.model.node import FULL_SHARE, SERVING, Node, Order, State
from uwsgirouter.model.slot import Balancing, Factory, Slot

STATIC_KEY = b""
"""The slot of the nodes that the configuration names: no request can have an empty key."""
FALLBACK_KEY = b"fallback".ljust(256, b"\0")
"""The slot of the fallback nodes, in the order of the file: no key of a request or an announcement is that long."""
CONFIGURED_KEYS = (STATIC_KEY, FALLBACK_KEY)
"""The slots whose nodes come from the configuration."""

_T = TypeVar("_T", bound=Hashable)


@lru_cache(maxsize=256)
def _the_same(value: _T) -> _T:
    """One object for what is equal: many nodes have the same of it."""
    return value


class RouteTable:
    """``slots`` by key and ``nodes`` by id; look, but change them by events.

    ``balancing`` says how slots share requests out; a factory alone is one balancer for all of them.
    """

    def __init__(self, balancing: Balancing | Factory) -> None:
        self.slots: dict[bytes, Slot] = {}
        self.nodes: dict[int, Node] = {}
        self.balancing = balancing if isinstance(balancing, Balancing) else Balancing(balancing)

    def apply(self, event: Event) -> Node | None:
        """Take one event; the node it speaks of, or None when it was not known. Does not yield."""
        if isinstance(event, Gone):
            return self._remove(event.id)
        return self._put(event)

    def clear(self) -> None:
        """Forget everything (a snapshot follows)."""
        self.slots.clear()
        self.nodes.clear()

    def available(self) -> bool:
        """Whether any node may be given a request (cheap mode asks).

        A node that failed and has to announce itself again is none, nor is one that an operator took out: whoever
        shares the sockets with a cheap router would answer what the router can only refuse. Fallback nodes stand in
        for such nodes, but not for none at all: they would keep the router from ever being cheap.
        """
        known = False
        for node in self.nodes.values():
            if node.key == FALLBACK_KEY or (node.state is State.DRAINING and node.order is Order.READY):
                continue
            if node.order is Order.READY and (node.state is not State.DOWN or node.key == STATIC_KEY):
                return True
            known = True
        return known and FALLBACK_KEY in self.slots

    def fail(self, node: Node) -> None:
        """Mark a node at once where its failure was seen; the master's word follows. Does not yield.

        A vassal that cannot be reached is taken for one that does not run, so that its request waits for it.
        """
        if node.state in SERVING:
            node.state = State.INACTIVE if node.vassal else State.DOWN
            slot = self.slots.get(node.key)
            if slot is not None:
                slot.changed()

    def _put(self, put: Put) -> Node:
        node = self.nodes.get(put.id)
        if node is not None and (node.key != put.key or node.address != put.address):
            self._remove(put.id)
            node = None
        if node is None:
            node = self._insert(put)
        node.modifiers = _the_same(put.modifiers)
        node.weight = put.weight
        node.share = put.weight * FULL_SHARE
        node.cores = put.cores
        node.load = put.load
        node.state = put.state
        node.since = put.since
        node.vassal = put.vassal
        node.backup = put.backup
        node.algo = _the_same(put.algo)
        node.algo_since = put.algo_since
        node.order = put.order
        self.slots[put.key].changed()
        return node

    def _insert(self, put: Put) -> Node:
        slot = self.slots.get(put.key)
        if slot is None:
            slot = self.slots[put.key] = Slot(put.key, self.balancing)
        node = self.nodes[put.id] = Node(put.id, slot.key, put.address)
        slot.nodes.append(node)
        return node

    def _remove(self, id: int) -> Node | None:
        node = self.nodes.pop(id, None)
        if node is None:
            return None
        slot = self.slots[node.key]
        slot.nodes.remove(node)
        slot.changed()
        if not slot.nodes:
            del self.slots[node.key]
        return node
