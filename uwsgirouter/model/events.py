"""What can happen to the registry, as values: the master decides them, and every process replays them.

An event carries the whole state of a node, so that the last one wins and none depends on an earlier one: a worker that
missed ten of them is right after the eleventh. Each can be written as a JSON row (:meth:`Put.row`) for the channel.
"""

from __future__ import annotations

from dataclasses import dataclass

from uwsgirouter.model.node import Node, Order, State
from uwsgirouter.settings.address import NOWHERE, Address, parse_peer


@dataclass(frozen=True)
class Put:
    """Node ``id`` is now like this (new or changed)."""

    id: int
    key: bytes
    address: Address
    modifiers: tuple[int, int]
    weight: int
    cores: int
    load: int
    state: State
    since: float
    vassal: bytes = b""
    backup: int = 0
    algo: str = ""
    algo_since: float = 0.0
    order: Order = Order.READY

    @classmethod
    def of(cls, node: Node) -> Put:
        """The event that would make another registry know ``node`` as it is."""
        return cls(
            node.id,
            node.key,
            node.address,
            node.modifiers,
            node.weight,
            node.cores,
            node.load,
            node.state,
            node.since,
            node.vassal,
            node.backup,
            node.algo,
            node.algo_since,
            node.order,
        )

    def row(self) -> list[object]:
        """As a JSON value; bytes travel as latin-1 text."""
        return [
            self.id,
            self.key.decode("latin-1"),
            self.address.text,
            *self.modifiers,
            self.weight,
            self.cores,
            self.load,
            self.state.value,
            self.since,
            self.vassal.decode("latin-1"),
            self.backup,
            self.algo,
            self.algo_since,
            self.order.value,
        ]

    @classmethod
    def from_row(cls, row: list[object]) -> Put:
        """The inverse of :meth:`row`."""
        id, key, address, modifier1, modifier2, weight, cores, load, state, since, *rest = row
        vassal, backup, algo, algo_since, order = rest
        assert isinstance(id, int) and isinstance(key, str) and isinstance(address, str) and isinstance(weight, int)
        assert isinstance(modifier1, int) and isinstance(modifier2, int) and isinstance(since, (int, float))
        assert isinstance(cores, int) and isinstance(load, int) and isinstance(vassal, str)
        assert isinstance(backup, int) and isinstance(algo, str) and isinstance(algo_since, (int, float))
        return cls(
            id,
            key.encode("latin-1"),
            parse_peer(address) if address else NOWHERE,
            (modifier1, modifier2),
            weight,
            cores,
            load,
            State(state),
            float(since),
            vassal.encode("latin-1"),
            backup,
            algo,
            float(algo_since),
            Order(order),
        )


@dataclass(frozen=True)
class Gone:
    """Node ``id`` is no more."""

    id: int


Event = Put | Gone
