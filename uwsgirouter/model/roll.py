"""The roll: the nodes that the registry knows, how each is found, and what is noted beside it.

One idea: every part of the registry (announcements, failures, configuration...) changes nodes through here and nowhere
else, so that a node that is changed or removed is so in every index, and an operator's word lies on it whatever else
happens to it. The parts need not know of operators: they take a node as it would be without one (:meth:`Roll.own`),
and say what it would be then. It decides nothing itself. Pure: ``now`` is passed in.
Invariants: no index knows a node that the table does not; a node under an order is in the order's state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from uwsgirouter.model.changes import Change, Happening
from uwsgirouter.model.echoes import Echoes
from uwsgirouter.model.ejection import Ejections
from uwsgirouter.model.events import Gone, Put
from uwsgirouter.model.node import Node, Order, State
from uwsgirouter.model.numbers import Numbers
from uwsgirouter.model.orders import Orders
from uwsgirouter.model.places import Places
from uwsgirouter.model.silence import Silence
from uwsgirouter.model.table import RouteTable
from uwsgirouter.model.vassals import Vassals
from uwsgirouter.settings.address import NOWHERE, Address

Sni = tuple[bytes, bytes, bytes]
"""The paths of key, certificate and authority."""


class Roll:
    """The nodes of ``table``; ``inflight(id)`` tells how many sessions a node has under way over all workers."""

    def __init__(self, table: RouteTable, inflight: Callable[[int], int]) -> None:
        self.table = table
        self.inflight = inflight
        self.numbers = Numbers(inflight)
        self._places = Places(table)
        self.silence = Silence()
        """Announced nodes, and when each was heard of last."""
        self.echoes = Echoes()
        self._sni: dict[int, Sni] = {}
        """Of the few nodes that announced some."""
        self.draining: set[int] = set()
        """Nodes that took leave, until their last session ends."""
        self.vassals = Vassals()
        self.ejections = Ejections()
        self.retry: dict[int, float] = {}
        """Configured nodes in their grace time, and its end."""
        self.orders = Orders()
        self._own: dict[int, Put] = {}
        """Nodes of which an operator said something, as they would be without that."""

    def find(self, key: bytes, address: Address) -> Node | None:
        """The node of this address under ``key``."""
        return self._places.find(key, address)

    def sni(self, node: Node) -> Sni | None:
        """The TLS files that ``node`` announced, for whoever asks; the router does not use them."""
        return self._sni.get(node.id)

    def note_sni(self, id: int, sni: Sni | None) -> None:
        """Node ``id`` announced these."""
        if sni is not None:
            self._sni[id] = sni
        elif self._sni:
            self._sni.pop(id, None)

    def own(self, node: Node) -> Put:
        """``node`` as it would be without an operator's word; whoever changes a node begins with this."""
        put = self._own.get(node.id)
        return Put.of(node) if put is None else replace(put, load=node.load)

    def is_plain(self, node: Node) -> bool:
        """Whether no operator has said anything of ``node``."""
        return node.id not in self._own

    def insert(self, put: Put, happening: Happening, why: str) -> Change:
        """A new node; its number was taken from :attr:`numbers`."""
        if put.address != NOWHERE:
            self.orders.came(put.key, put.address)
        change = self.apply(put, happening, why)
        node = self.table.nodes[put.id]
        self._places.came(node)
        self.vassals.name(node)
        return change

    def update(self, node: Node, put: Put, happening: Happening, why: str = "") -> list[Change]:
        """Make ``node`` what ``put`` says, if it is not so already; ``why``: the reason for its state, if that changes.

        The table may have another object for the node afterwards.
        """
        moves = put.address.identity != node.address.identity
        if not moves and self._shown(put) == Put.of(node):
            self._note_own(put)
            return []
        if moves:  # what was said of the old address does not go with it
            if node.address != NOWHERE:
                self.orders.gone(node.key, node.address)
            self.orders.came(put.key, put.address)
        self.vassals.forget_name(node)
        change = self.apply(put, happening, why or node.why)
        now = self.table.nodes[node.id]
        if moves:
            self._places.went(node)
            self._places.came(now)
        self.vassals.name(now)
        return [change]

    def apply(self, put: Put, happening: Happening, why: str) -> Change:
        """A known node is like this now; neither its address nor its vassal is another one."""
        shown = self._shown(put)
        self._note_own(put)
        self.table.apply(shown)
        word = self.orders.of(put.key, put.address)
        self.table.nodes[put.id].why = (word and word.why) or why
        if put.state is not State.EJECTED:
            self.ejections.end(put.id, put.since)
        return Change(happening, put.key, put.address, shown, put.vassal)

    def remove(self, node: Node, now: float, happening: Happening) -> Change:
        """``node`` is no more."""
        event = Gone(node.id)
        self.table.apply(event)
        if node.address != NOWHERE:
            self.orders.gone(node.key, node.address)
        self._places.went(node)
        self._own.pop(node.id, None)
        self.echoes.forget(node.id)
        self._sni.pop(node.id, None)
        self.vassals.forget(node)
        self.ejections.forget(node.id)
        self.silence.forget(node.id)
        self.draining.discard(node.id)
        self.retry.pop(node.id, None)
        self.numbers.give_back(node.id, now)
        return Change(happening, node.key, node.address, event, node.vassal)

    def _shown(self, put: Put) -> Put:
        """What everybody sees of a node that would be ``put``."""
        word = self.orders.of(put.key, put.address)
        if word is not None:
            return word.laid_on(put)
        return put if put.order is Order.READY else replace(put, order=Order.READY)

    def _note_own(self, put: Put) -> None:
        self.echoes.forget(put.id)
        if self.orders.of(put.key, put.address) is None:
            self._own.pop(put.id, None)
        else:
            self._own[put.id] = put
