"""p2c, the power of two choices: two nodes are drawn by lot, each by its share, and the less busy one wins.

One idea: it is nearly as even as looking at every node and costs the same for ten nodes and for a thousand, and
workers that choose at the same moment do not all run to the same node. Busy is the number of requests under way for
each share of weight; of two equals the first one drawn wins, so an idle slot is shared out by weight. Pure but for the
lots that ``draw`` gives (from 0 up to, not including, 1) and what ``inflight`` reads; never yields.
"""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Callable, Container
from itertools import accumulate

from uwsgirouter.model.node import Node
from uwsgirouter.model.slot import Client


class PowerOfTwo:
    """The order over ``nodes`` (at least one)."""

    __slots__ = ("_draw", "_inflight", "_nodes", "_sums")

    def __init__(
        self, nodes: list[Node], turn: int, inflight: Callable[[int], int], draw: Callable[[], float] = random.random
    ) -> None:
        self._nodes = nodes
        self._inflight = inflight
        self._draw = draw
        self._sums = list(accumulate(node.share for node in nodes))

    def next(self, client: Client) -> Node:
        """The less busy one of two."""
        nodes, sums = self._nodes, self._sums
        if len(nodes) == 1:
            return nodes[0]
        index = bisect(sums, int(self._draw() * sums[-1]))
        one = nodes[index]
        # The second lot is drawn among the others: those behind the first one move up into its place.
        lot = int(self._draw() * (sums[-1] - one.share))
        if lot >= sums[index] - one.share:
            lot += one.share
        two = nodes[bisect(sums, lot)]
        inflight = self._inflight
        return two if inflight(two.id) * one.share < inflight(one.id) * two.share else one

    def other(self, tried: Container[Node], client: Client) -> Node | None:
        """The less busy one of two that are not of ``tried``."""
        left = [node for node in self._nodes if node not in tried]
        return PowerOfTwo(left, 0, self._inflight, self._draw).next(client) if left else None
