"""lrc and wlrc: the node with the fewest requests under way, counted over all workers.

One idea: what decides is load, and turns decide between equals, so that an idle slot is shared out as by wrr. lrc
looks at the number alone, wlrc at the number for each share of weight; while a node starts slowly its number counts
for more in both. Each choice looks at every node of the slot: for slots of hundreds of nodes p2c is cheaper. What other
workers chose in this very moment is not seen yet, which moves the balance by that many requests at most. Pure but for
what ``inflight`` reads; never yields.
"""

from __future__ import annotations

from collections.abc import Callable, Container

from uwsgirouter.balancers.wrr import bound_credits, richest
from uwsgirouter.model.node import Node
from uwsgirouter.model.slot import Client


class LeastInFlight:
    """The order over ``nodes`` (at least one); ``inflight(id)`` counts the requests that a node has under way."""

    __slots__ = ("_equal", "_index", "_inflight", "_nodes", "_shares")

    def __init__(self, nodes: list[Node], turn: int, inflight: Callable[[int], int], weighted: bool) -> None:
        self._nodes = nodes
        self._index = turn % len(nodes)
        self._inflight = inflight
        self._shares = [node.share if weighted else node.share // node.weight for node in nodes]
        self._equal = len(set(self._shares)) == 1
        if not self._equal:
            bound_credits(nodes, sum(node.share for node in nodes))

    def next(self, client: Client) -> Node:
        """The least busy one."""
        inflight = self._inflight
        loads = [inflight(node.id) for node in self._nodes]
        return self._first_of_equals(loads) if self._equal else self._lightest(loads)

    def other(self, tried: Container[Node], client: Client) -> Node | None:
        """The least busy one that is not of ``tried``."""
        left = [index for index, node in enumerate(self._nodes) if node not in tried]
        if not left:
            return None
        return self._nodes[min(left, key=self._load_of)]

    def _load_of(self, index: int) -> tuple[float, int]:
        """For one node of several: its load for each share, then how long until it has its turn."""
        load = self._inflight(self._nodes[index].id) / self._shares[index]
        return load, (index - self._index) % len(self._nodes)

    def _first_of_equals(self, loads: list[int]) -> Node:
        """The least busy one; several take turns."""
        fewest = min(loads)
        try:
            index = loads.index(fewest, self._index)
        except ValueError:
            index = loads.index(fewest)
        self._index = index + 1 if index + 1 < len(loads) else 0
        return self._nodes[index]

    def _lightest(self, loads: list[int]) -> Node:
        """The one with the least load for its share; several take turns by their shares."""
        tied: list[Node] = []
        least, pull = 0, 1
        for node, load, share in zip(self._nodes, loads, self._shares, strict=True):
            # load / share against least / pull, in whole numbers
            difference = load * pull - least * share
            if not tied or difference < 0:
                tied, least, pull = [node], load, share
            elif not difference:
                tied.append(node)
        return tied[0] if len(tied) == 1 else richest(tied, sum(node.share for node in tied))
