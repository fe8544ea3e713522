"""A slot: the nodes under one key, and whose turn it is.

One idea: the slot owns the order of its nodes and rebuilds its list of candidates only when a node changes. It knows
the balancer by one method, so that algorithms can be added without a change here. No I/O, no clock, never yields.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Protocol

from uwsgirouter.model.node import Node, State


class Balancer(Protocol):
    """An order over nodes."""

    def __init__(self, nodes: list[Node], turn: int) -> None: ...

    def next(self) -> Node:
        """The node whose turn it is; there is at least one."""


class Slot:
    """The nodes under ``key``, oldest first."""

    __slots__ = ("_balancer", "_factory", "key", "nodes", "turns")

    def __init__(self, key: bytes, factory: Callable[[list[Node], int], Balancer]) -> None:
        self.key = key
        self.nodes: list[Node] = []
        self.turns = 0
        """Requests that were given a node here (also where a rebuilt balancer goes on)."""
        self._factory = factory
        self._balancer: Balancer | None = None

    def changed(self) -> None:
        """A node came, went or changed: the order is made anew at the next request."""
        self._balancer = None

    def next(self) -> Node | None:
        """The node for a new request, or None when no node is up."""
        balancer = self._balancer
        if balancer is None:
            balancer = self._rebuild()
            if balancer is None:
                return None
        self.turns += 1
        return balancer.next()

    def next_except(self, tried: Container[Node]) -> Node | None:
        """Another node that is up after a failure, not one of ``tried``; None when there is none."""
        balancer = self._balancer or self._rebuild()
        if balancer is not None:
            for _ in self.nodes:
                node = balancer.next()
                if node not in tried and node.state is State.UP:
                    return node
        return self.first(State.UP, tried)

    def last_resort(self, tried: Container[Node]) -> Node | None:
        """A node that is down, for when nobody else is left. One that drains is never chosen: it said that it goes."""
        return self.first(State.DOWN, tried)

    def first(self, state: State, tried: Container[Node]) -> Node | None:
        """The first node of that state in the slot's order, whoever's turn it is (fallback nodes have no turns)."""
        for node in self.nodes:
            if node.state is state and node not in tried:
                return node
        return None

    def sleeping(self) -> Node | None:
        """A node whose vassal must be started first, another one at each call; None when there is no such node."""
        asleep = [node for node in self.nodes if node.state is State.INACTIVE]
        if not asleep:
            return None
        self.turns += 1
        return asleep[self.turns % len(asleep)]

    def _rebuild(self) -> Balancer | None:
        up = [node for node in self.nodes if node.state is State.UP]
        self._balancer = self._factory(up, self.turns) if up else None
        return self._balancer
