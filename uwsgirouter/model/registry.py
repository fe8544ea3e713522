"""The master's registry: what announcements, failures and time do to the route table.

One idea: decisions here, replay everywhere. Each method takes ``now`` (monotonic seconds), changes the table through
events, and returns the :class:`Change` list, from which the master writes its log lines and what it sends to the
workers. Each reason why a node changes is a module of its own, and all of them change it through one
:class:`~uwsgirouter.model.roll.Roll`. Pure: no I/O, no clock, never yields. It asks one thing of the world: how many
sessions a node has under way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from uwsgirouter.model import handover
from uwsgirouter.model.announced import Announced
from uwsgirouter.model.changes import Change
from uwsgirouter.model.configured import Configured
from uwsgirouter.model.failing import Failing
from uwsgirouter.model.hearing import PERFECT, Hearing
from uwsgirouter.model.node import Node, Order
from uwsgirouter.model.operated import Operated
from uwsgirouter.model.orders import Word
from uwsgirouter.model.restored import Restored
from uwsgirouter.model.roll import Roll, Sni
from uwsgirouter.model.snapshot import SavedNode
from uwsgirouter.model.table import FALLBACK_KEY, STATIC_KEY, RouteTable
from uwsgirouter.protocol.subscription import Announce
from uwsgirouter.settings.address import Address


class Registry:
    """All nodes, numbered. ``inflight(id)`` tells how many sessions a node has under way over all workers."""

    def __init__(self, table: RouteTable, inflight: Callable[[int], int], tolerance: float, gracetime: float) -> None:
        self.table = table
        self._roll = Roll(table, inflight)
        self._announced = Announced(self._roll, tolerance)
        self._failing = Failing(self._roll, self._announced, gracetime)
        self._configured = Configured(self._roll)
        self._operated = Operated(self._roll)
        self._restored = Restored(self._roll)

    @property
    def tolerance(self) -> float:
        """Seconds of silence after which an announced node is gone."""
        return self._announced.tolerance

    @tolerance.setter
    def tolerance(self, seconds: float) -> None:
        self._announced.tolerance = seconds

    @property
    def standing_tolerance(self) -> float:
        """Seconds for which an inactive announcement holds."""
        return self._announced.standing_tolerance

    @standing_tolerance.setter
    def standing_tolerance(self, seconds: float) -> None:
        self._announced.standing_tolerance = seconds

    @property
    def gracetime(self) -> float:
        """Seconds for which a configured node that failed is out."""
        return self._failing.gracetime

    @gracetime.setter
    def gracetime(self, seconds: float) -> None:
        self._failing.gracetime = seconds

    @property
    def numbers(self) -> int:
        """How many numbers were ever given: no node has a higher one."""
        return self._roll.numbers.given

    def watch_numbers(self, given_again: Callable[[int], None], heard: Callable[[int], None] | None = None) -> None:
        """Tell ``given_again`` of each number that another node had before, and ``heard`` of each announcement."""
        self._roll.numbers.given_again = given_again
        self._roll.silence.told = heard

    def announce(self, announce: Announce, now: float) -> list[Change]:
        """A datagram that passed every check."""
        return self._announced.announce(announce, now)

    def note_echo(self, digest: bytes, announce: Announce) -> bool:
        """``announce``, whose datagram has this digest, was taken just now; whether :meth:`hear_echo` does from now on
        what taking it again would do, as long as its node does not change."""
        return self._announced.note_echo(digest, announce)

    def hear_echo(self, digest: bytes, now: float) -> bool:
        """Take a datagram by its digest; False: it must be read."""
        return self._announced.hear_echo(digest, now)

    def fail(self, id: int, now: float, reason: str = "no connection") -> list[Change]:
        """A worker could not connect to node ``id``: out until it announces itself, or its grace time is over."""
        return self._failing.fail(id, now, reason)

    def fault(self, id: int, now: float, count: int = 1) -> list[Change]:
        """Node ``id`` accepted ``count`` requests and reset, closed or did not answer in time: too often, it is out."""
        return self._failing.fault(id, now, count)

    def expire(self, now: float, hearing: Hearing = PERFECT) -> list[Change]:
        """Once a second: nodes not heard of, drained ones, and those whose grace time or ejection is over.

        ``hearing``: how much the silence of a node proves.
        """
        return [*self._announced.expire(now, hearing), *self._failing.expire(now)]

    def configure(self, static: Iterable[Address], now: float, fallback: Iterable[Address] = ()) -> list[Change]:
        """The static and the fallback nodes are these from now on.

        A static node listed twice gets twice the requests. Fallback nodes stand in their slot in the order given.
        """
        return [
            *self._configured.fill(STATIC_KEY, static, now),
            *self._configured.fill(FALLBACK_KEY, fallback, now),
        ]

    def find(self, key: bytes, address: Address) -> Node | None:
        """The node of this address (in whatever spelling) under ``key``."""
        return self._roll.find(key, address)

    def heard(self, node: Node) -> float | None:
        """When ``node`` announced itself last; None: it is a configured one, or a vassal that never did."""
        return self._roll.silence.heard(node.id)

    def sni(self, node: Node) -> Sni | None:
        """The TLS files that ``node`` announced: key, certificate, authority."""
        return self._roll.sni(node)

    def own_weight(self, node: Node) -> int:
        """The announced or configured weight, whatever an operator said."""
        return self._roll.own(node).weight

    def order(self, key: bytes, address: Address, order: Order, who: str, now: float) -> list[Change]:
        """An operator's order; it counts until another one, whatever is announced, and over the node's absence."""
        return self._operated.order(key, address, order, who, now)

    def weigh(self, key: bytes, address: Address, weight: int | None, who: str, now: float) -> list[Change]:
        """An operator's weight for a node, likewise; None ends it."""
        return self._operated.weigh(key, address, weight, who, now)

    def word(self, key: bytes, address: Address) -> Word | None:
        """What an operator said of an address, be there a node or not."""
        return self._roll.orders.of(key, address)

    def words(self) -> list[Word]:
        """All that operators said and that still counts (for a snapshot)."""
        return self._roll.orders.all()

    def absent_words(self) -> list[Word]:
        """What they said of addresses at which there is no node now."""
        return list(self._roll.orders.absent())

    def recall(self, words: Iterable[Word]) -> list[Change]:
        """Let these count again (from a snapshot), before or after the nodes come."""
        return [change for word in words for change in self._operated.recall(word)]

    def saved(self, now: float, wall: float) -> Iterator[SavedNode]:
        """The announced nodes for a snapshot; ``wall`` is now in wall-clock seconds."""
        return self._restored.saved(now, wall)

    def restore(self, nodes: Iterable[SavedNode], now: float, wall: float) -> list[Change]:
        """Bring back the nodes of a snapshot: unconfirmed, until they announce themselves or answer."""
        return self._restored.restore(nodes, now, wall, self.standing_tolerance)

    def handed(self) -> handover.Rows:
        """All of it for the master that takes the place of this one."""
        return handover.handed(self._roll)

    def inherit(self, rows: Mapping[str, Any]) -> None:
        """Be as the registry that was handed over, number by number; this one is empty still."""
        handover.inherit(self._roll, rows)

    def answered(self, id: int) -> list[Change]:
        """Node ``id`` answered a request, which says that it is there and nothing more."""
        return self._restored.answered(id)
