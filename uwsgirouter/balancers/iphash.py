"""iphash: the same client address has the same node, in all workers, after reloads and restarts.

One idea: rendezvous hashing. Address and node together give a number; the greatest wins. So a node that leaves gives up
its own clients and moves nobody else's, one that comes takes over only those that it will keep, and the second choice
of a client is always the same one too. Numbers are made longer by weight, so shares of the clients are as the weights,
and a change of weight (a slow start) moves only what must move. A request without an address gets turns. Each choice
looks at every node of the slot. Pure; never yields.
Invariant: what is computed depends on the addresses alone, not on the process or the order of the nodes.
(uWSGI 2.1 takes the hash modulo the number of nodes: one node less, and nearly every client moves.)
"""

from __future__ import annotations

from collections.abc import Container
from hashlib import blake2b
from math import log

from uwsgirouter.balancers.wrr import WeightedRoundRobin
from uwsgirouter.model.node import Node
from uwsgirouter.model.slot import Client

_MASK = (1 << 64) - 1
_STEP = 1.0 / (1 << 52)


class AddressHash:
    """The order over ``nodes`` (at least one), for each client its own."""

    __slots__ = ("_nodes", "_turns", "_weighted")

    def __init__(self, nodes: list[Node], turn: int) -> None:
        self._nodes = nodes
        self._turns = WeightedRoundRobin(nodes, turn)
        self._weighted = any(node.share != nodes[0].share for node in nodes)
        for node in nodes:
            node.seed = node.seed or seed_of(node)

    def next(self, client: Client) -> Node:
        """The node of the client's address."""
        address = client.remote_address()
        return self._winner(self._nodes, address) if address else self._turns.next(client)

    def other(self, tried: Container[Node], client: Client) -> Node | None:
        """The node that the address would have if those of ``tried`` were not there."""
        address = client.remote_address()
        if not address:
            return self._turns.other(tried, client)
        left = [node for node in self._nodes if node not in tried]
        return self._winner(left, address) if left else None

    def _winner(self, nodes: list[Node], address: bytes) -> Node:
        # Both numbers are as good as random and one of them is odd: then so is the product, for each node its own.
        number = number_of(address)
        scores = [number * node.seed & _MASK for node in nodes]
        if self._weighted:
            return max(zip(nodes, scores, strict=True), key=_length)[0]
        return nodes[scores.index(max(scores))]


def _length(scored: tuple[Node, int]) -> float:
    """A score made longer by weight: -share / log(u), for u evenly between 0 and 1, wins as often as the share says."""
    node, score = scored
    return -node.share / log(((score >> 12) + 0.5) * _STEP)  # 52 bits: u is never 1


def seed_of(node: Node) -> int:
    """The number of a node's address, whatever its spelling; odd."""
    kind, host, port = node.address.identity
    return number_of(f"{kind.name} {host} {port}".encode("utf-8", "surrogateescape")) | 1


def number_of(text: bytes) -> int:
    """64 even bits that stand for ``text`` everywhere."""
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")
