"""Weighted round robin, smooth: weights 3 and 1 give A A B A, and 3 and 2 stay 3 to 2.

Equal weights (the usual case) are a rotation, O(1). Otherwise each turn gives every node its weight in credit and takes
the whole sum from the richest, so that a node's turns are spread over the round; credits live in the nodes and survive
a rebuild, so that frequent changes in a slot do not favour its first node. A rebuild bounds them by the new sum, so
that what a node owes from days of greater weights does not keep it waiting. Pure; never yields.
(The C FastRouter gives weight / smallest weight in whole numbers, in bursts: 3 and 2 become 1 and 1 there.)
"""

from __future__ import annotations

from uwsgirouter.model.node import Node


class WeightedRoundRobin:
    """The order over ``nodes`` (at least one), going on at ``turn``."""

    __slots__ = ("_index", "_nodes", "_total")

    def __init__(self, nodes: list[Node], turn: int) -> None:
        self._nodes = nodes
        self._index = turn % len(nodes)
        first = nodes[0].weight
        self._total = 0 if all(node.weight == first for node in nodes) else sum(node.weight for node in nodes)
        if self._total:
            for node in nodes:
                node.credit = max(-self._total, min(self._total, node.credit))

    def next(self) -> Node:
        """The node whose turn it is."""
        if not self._total:
            index = self._index
            nodes = self._nodes
            self._index = index + 1 if index + 1 < len(nodes) else 0
            return nodes[index]
        return self._richest()

    def _richest(self) -> Node:
        best = self._nodes[0]
        for node in self._nodes:
            node.credit += node.weight
            if node.credit > best.credit:
                best = node
        best.credit -= self._total
        return best
