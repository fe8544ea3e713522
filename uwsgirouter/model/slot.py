"""A slot: the nodes under one key, and whose turn it is.

One idea: the slot owns the order of its nodes and rebuilds its list of candidates only when a node changes. Candidates
are the nodes that are up on the best backup level that has any. It knows a balancer by two methods, and which one is
made by a name that the nodes announce, so that algorithms can be added without a change here. What an algorithm wants
to know of a request it asks the :class:`Client`, so that the others cost nothing. No I/O, no clock, never yields.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Protocol

from uwsgirouter.model.node import SERVING, Node, Order, State


class Client(Protocol):
    """Whose request it is, for algorithms that want to know."""

    def remote_address(self) -> bytes:
        """REMOTE_ADDR of the request as the web server wrote it; empty when it is not there."""


class Nobody:
    """The client of which nothing is known."""

    def remote_address(self) -> bytes:
        """None."""
        return b""


NOBODY = Nobody()


class Balancer(Protocol):
    """An order over nodes."""

    def next(self, client: Client) -> Node:
        """The node for a new request of ``client``; there is at least one."""

    def other(self, tried: Container[Node], client: Client) -> Node | None:
        """The node for the same request when it cannot be one of ``tried``; None when none is left."""


Factory = Callable[[list[Node], int], Balancer]
"""Makes a balancer for nodes (at least one); the number of requests that were given a node says where it goes on."""


class Balancing:
    """How the slots of one table share requests out.

    ``default`` is the factory of slots that no node wishes another algorithm for, ``named`` those that can be wished,
    ``weigh`` sets the nodes' shares before a balancer is made, and tells whether they will grow by themselves.
    """

    __slots__ = ("default", "growing", "named", "weigh")

    def __init__(
        self,
        default: Factory,
        named: Mapping[str, Factory] | None = None,
        weigh: Callable[[list[Node]], bool] | None = None,
    ) -> None:
        self.default = default
        self.named = named or {}
        self.weigh = weigh
        self.growing: set[Slot] = set()
        """The slots whose shares must be set again."""

    def grow(self) -> None:
        """Time has passed: shares that grow are set anew at the next request."""
        growing, self.growing = self.growing, set()
        for slot in growing:
            slot.changed()

    def make(self, slot: Slot, nodes: list[Node]) -> Balancer:
        """The order of ``nodes``, the candidates of ``slot``."""
        if self.weigh is not None and self.weigh(nodes):
            self.growing.add(slot)
        return self.named.get(slot.algo, self.default)(nodes, slot.turns)


class Slot:
    """The nodes under ``key``, oldest first."""

    __slots__ = ("_balancer", "_balancing", "key", "nodes", "turns")

    def __init__(self, key: bytes, balancing: Balancing) -> None:
        self.key = key
        self.nodes: list[Node] = []
        self.turns = 0
        """Requests that were given a node here (also where a rebuilt balancer goes on)."""
        self._balancing = balancing
        self._balancer: Balancer | None = None

    @property
    def algo(self) -> str:
        """The algorithm that a node wishes, the last wish first; empty when none wishes one that can be had.

        Made of what the nodes are now, so that all processes agree, in whatever order they heard of the nodes.
        """
        named = self._balancing.named
        wishes = [(node.algo_since, node.id, node.algo) for node in self.nodes if node.algo and node.algo in named]
        return max(wishes)[2] if wishes else ""

    def changed(self) -> None:
        """A node came, went or changed: the order is made anew at the next request."""
        self._balancer = None

    def next(self, client: Client = NOBODY) -> Node | None:
        """The node for a new request, or None when no node is up."""
        balancer = self._balancer
        if balancer is None:
            balancer = self._rebuild()
            if balancer is None:
                return None
        self.turns += 1
        return balancer.next(client)

    def next_except(self, tried: Container[Node], client: Client = NOBODY) -> Node | None:
        """Another node that is up after a failure, not one of ``tried``; None when there is none.

        One of a worse backup level only when all of the better ones were tried.
        """
        return self.next_free(tried, client) or self.first(SERVING, tried)

    def next_free(self, full: Container[Node], client: Client = NOBODY) -> Node | None:
        """A node of the backup level in use that is not one of ``full``.

        None: wait until one of them is free. Being full is no failure, and does not put a worse level in use.
        """
        balancer = self._balancer or self._rebuild()
        return balancer.other(full, client) if balancer is not None else None

    def last_resort(self, tried: Container[Node]) -> Node | None:
        """A node that is out, for when nobody else is left: rather one that accepts connections than one that failed.

        One that drains is never chosen: it said that it goes.
        """
        return self.first((State.EJECTED,), tried) or self.first((State.DOWN,), tried)

    def first(self, states: Container[State], tried: Container[Node]) -> Node | None:
        """The first node of those states and of the best level in the slot's order, whoever's turn it is.

        (Fallback nodes have no turns.) One that an operator took down is never given: it did not fail, it is not to be.
        """
        best = None
        for node in self.nodes:
            if node.state not in states or node.order is Order.DOWN:
                continue
            if (best is None or node.backup < best.backup) and node not in tried:
                best = node
                if not node.backup:
                    break
        return best

    def sleeping(self) -> Node | None:
        """A node whose vassal must be started first, another one at each call; None when there is no such node."""
        asleep = [node for node in self.nodes if node.state is State.INACTIVE]
        if not asleep:
            return None
        self.turns += 1
        return asleep[self.turns % len(asleep)]

    def candidates(self) -> list[Node]:
        """The nodes that are up, of the best backup level that has any; for the slow paths, it looks at all nodes."""
        return self.left(())

    def left(self, tried: Container[Node]) -> list[Node]:
        """The nodes that are up and not of ``tried``, of the best level that has any; it looks at all nodes, too."""
        up = [node for node in self.nodes if node.state in SERVING and node not in tried]
        level = min((node.backup for node in up), default=0)
        return [node for node in up if node.backup == level]

    def _rebuild(self) -> Balancer | None:
        candidates = self.candidates()
        self._balancer = self._balancing.make(self, candidates) if candidates else None
        return self._balancer
