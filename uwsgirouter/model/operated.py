"""Nodes under an operator's word: what drain, down, ready and a weight do.

One idea: what is said counts from now on, whatever the node does (``orders.py`` remembers it, the roll lays it on the
node); here it is laid on a node that is there. Ready ends an order, and every failure with it: whoever says that a node
is ready has seen to it. Pure: ``now`` is passed in.
"""

from __future__ import annotations

from dataclasses import replace

from uwsgirouter.model.changes import Change, Happening
from uwsgirouter.model.events import Put
from uwsgirouter.model.node import Node, Order, State
from uwsgirouter.model.orders import Word
from uwsgirouter.model.roll import Roll
from uwsgirouter.settings.address import Address

_WHY = {State.DRAINING: "unsubscribed", State.INACTIVE: "its vassal is started when it is needed"}
"""Of nodes that are not let back by being ready."""


class Operated:
    """What operators do to the nodes of ``roll``."""

    def __init__(self, roll: Roll) -> None:
        self._roll = roll

    def order(self, key: bytes, address: Address, order: Order, who: str, now: float) -> list[Change]:
        """``who`` orders this of an address, whether or not a node is there. The same once more changes nothing."""
        node = self._roll.find(key, address)
        word = self._roll.orders.of(key, address) or Word(key, address)
        if order is word.order and (order is not Order.READY or node is None):
            return []
        own = None if node is None else self._roll.own(node)
        self._roll.orders.say(replace(word, order=order, who=who, since=now), node is not None)
        if node is None or own is None:
            return []
        self._roll.retry.pop(node.id, None)
        put = self._healed(node, own, now)
        if order is Order.READY and word.order is not Order.READY and put.state is not State.DRAINING:
            put = replace(put, since=now)
        return self._lay(node, put, _WHY.get(put.state, f"let back by an operator ({who})"))

    def weigh(self, key: bytes, address: Address, weight: int | None, who: str, now: float) -> list[Change]:
        """This weight counts for an address from now on, not the announced one; None: the announced one again."""
        node = self._roll.find(key, address)
        word = self._roll.orders.of(key, address) or Word(key, address, who=who, since=now)
        own = None if node is None else self._roll.own(node)
        self._roll.orders.say(replace(word, weight=weight), node is not None)
        return [] if node is None or own is None else self._lay(node, own)

    def recall(self, word: Word) -> list[Change]:
        """What was said before the router was restarted."""
        node = self._roll.find(word.key, word.address)
        own = None if node is None else self._roll.own(node)
        self._roll.orders.say(word, node is not None)
        return [] if node is None or own is None else self._lay(node, own)

    def _lay(self, node: Node, own: Put, why: str = "") -> list[Change]:
        """Show ``node``, which would be ``own``, as the word has it by now."""
        return self._roll.update(node, own, Happening.ORDERED, why)

    def _healed(self, node: Node, own: Put, now: float) -> Put:
        """What it would be had it never failed: what it said of itself stays, sleeping and leaving."""
        leaving = node.id in self._roll.draining
        if own.state in (State.DOWN, State.EJECTED) or (own.state is State.DRAINING and not leaving):
            return replace(own, state=State.UP, since=now)
        return own
