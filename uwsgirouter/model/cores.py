"""Which nodes are full: as many requests under way as they have cores.

One idea: "full" is a collection of nodes that is never written down; whether a node is in it is asked when a request
looks for one. So it can be given to :meth:`~uwsgirouter.model.slot.Slot.next_free` like any other collection. A node
that announces no cores is never full. What waits for a full node is not known here. Pure but for what ``inflight``
reads.
"""

from __future__ import annotations

from collections.abc import Callable, Container

from uwsgirouter.model.node import Node


class FullNodes:
    """``node in full``; ``inflight(id)`` counts over all workers. Two of them may find room in the same moment, so
    whoever takes it asks :meth:`over` afterwards."""

    __slots__ = ("_inflight",)

    def __init__(self, inflight: Callable[[int], int]) -> None:
        self._inflight = inflight

    def __contains__(self, node: object) -> bool:
        return isinstance(node, Node) and 0 < node.cores <= self._inflight(node.id)

    def over(self, node: Node) -> bool:
        """Whether it has more than it can have: seen by whoever adds one first and looks then."""
        return 0 < node.cores < self._inflight(node.id)

    def free(self, node: Node) -> int | None:
        """How many more requests ``node`` can have; None: there is no limit."""
        return max(0, node.cores - self._inflight(node.id)) if node.cores else None

    def besides(self, tried: Container[Node]) -> Either:
        """The nodes that are full or of ``tried``."""
        return Either(self, tried)


class Either:
    """What is in one collection or in the other."""

    __slots__ = ("_one", "_two")

    def __init__(self, one: Container[Node], two: Container[Node]) -> None:
        self._one = one
        self._two = two

    def __contains__(self, node: object) -> bool:
        return node in self._two or node in self._one
