"""Weighted round robin, smooth: weights 3 and 1 give A A B A, and 3 and 2 stay 3 to 2.

Equal shares (the usual case) are a rotation, O(1). Otherwise each turn gives every node its share in credit and takes
the whole sum from the richest, so that a node's turns are spread over the round; credits live in the nodes and survive
a rebuild, so that frequent changes in a slot do not favour its first node. A rebuild bounds them by the new sum, so
that what a node owes from days of greater weights does not keep it waiting. Pure; never yields.
(The C FastRouter gives weight / smallest weight in whole numbers, in bursts: 3 and 2 become 1 and 1 there.)
"""

from __future__ import annotations

from collections.abc import Container

from uwsgirouter.model.node import Node
from uwsgirouter.model.slot import Client


class WeightedRoundRobin:
    """The order over ``nodes`` (at least one), going on at ``turn``."""

    __slots__ = ("_index", "_nodes", "_total")

    def __init__(self, nodes: list[Node], turn: int) -> None:
        self._nodes = nodes
        self._index = turn % len(nodes)
        first = nodes[0].share
        self._total = 0 if all(node.share == first for node in nodes) else sum(node.share for node in nodes)
        if self._total:
            bound_credits(nodes, self._total)

    def next(self, client: Client) -> Node:
        """The node whose turn it is."""
        if not self._total:
            index = self._index
            nodes = self._nodes
            self._index = index + 1 if index + 1 < len(nodes) else 0
            return nodes[index]
        return richest(self._nodes, self._total)

    def other(self, tried: Container[Node], client: Client) -> Node | None:
        """The next one that is not of ``tried``, whose turns are lost; it may be one whose turn is far away."""
        for _ in self._nodes:
            node = self.next(client)
            if node not in tried:
                return node
        return next((node for node in self._nodes if node not in tried), None)


def bound_credits(nodes: list[Node], total: int) -> None:
    """Nobody is owed, or owes, more than one round."""
    for node in nodes:
        node.credit = max(-total, min(total, node.credit))


def richest(nodes: list[Node], total: int) -> Node:
    """One turn among ``nodes``, whose shares add up to ``total``."""
    best = nodes[0]
    for node in nodes:
        node.credit += node.share
        if node.credit > best.credit:
            best = node
    best.credit -= total
    return best
