"""Orders: what operators said of nodes, and for how long that is remembered.

One idea: an operator speaks of an address under a key, not of the node that is there at the moment. So the word
outlasts announcements and the node itself, and counts again for whoever comes back to that address. It knows no table;
what a node under an order looks like is said by :meth:`Word.laid_on`. Pure: ``now`` is passed in. Invariant: at most
:data:`ABSENT_MOST` words are kept for nodes that are not there; beyond that, the one that went first is forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace

from uwsgirouter.model.events import Put
from uwsgirouter.model.node import Order, State
from uwsgirouter.settings.address import Address, Kind

ABSENT_MOST = 4096
"""Words that are kept for nodes that are not there."""

Identity = tuple[Kind, str, int]
Place = tuple[bytes, Identity]

STATES = {Order.DRAIN: State.DRAINING, Order.DOWN: State.DOWN}
"""The state of a node under an order, whatever it would be in without it."""
_DONE = {Order.DRAIN: "drained by an operator", Order.DOWN: "taken down by an operator"}


@dataclass(frozen=True)
class Word:
    """One operator's word about an address. ``weight``: the one that counts (None: the announced one)."""

    key: bytes
    address: Address
    order: Order = Order.READY
    weight: int | None = None
    who: str = ""
    since: float = 0.0
    """Monotonic seconds of when ``order`` was given."""

    @property
    def why(self) -> str:
        """Why the node is in the state of the order; empty when there is no order."""
        return f"{_DONE[self.order]} ({self.who})" if self.order in STATES else ""

    def laid_on(self, put: Put) -> Put:
        """``put`` as it is under this word."""
        if self.weight is not None:
            put = replace(put, weight=self.weight)
        if self.order in STATES:
            put = replace(put, state=STATES[self.order], since=self.since)
        return replace(put, order=self.order)


class Orders:
    """The words by key and address; whoever changes nodes tells which of these are there."""

    def __init__(self) -> None:
        self._words: dict[Place, Word] = {}
        self._absent: OrderedDict[Place, None] = OrderedDict()

    def of(self, key: bytes, address: Address) -> Word | None:
        """What was said of this address."""
        return self._words.get((key, address.identity)) if self._words else None

    def say(self, word: Word, present: bool) -> None:
        """This counts from now on; ``present``: there is a node at that address."""
        place = (word.key, word.address.identity)
        self._absent.pop(place, None)
        if word.order is Order.READY and word.weight is None:
            self._words.pop(place, None)
            return
        self._words[place] = word
        if not present:
            self.gone(word.key, word.address)

    def came(self, key: bytes, address: Address) -> None:
        """A node is at this address."""
        if self._absent:
            self._absent.pop((key, address.identity), None)

    def gone(self, key: bytes, address: Address) -> None:
        """No node is at this address any more."""
        place = (key, address.identity)
        if place not in self._words:
            return
        self._absent[place] = None
        self._absent.move_to_end(place)
        if len(self._absent) > ABSENT_MOST:
            oldest, _ = self._absent.popitem(last=False)
            del self._words[oldest]

    def all(self) -> list[Word]:
        """Every word that counts."""
        return list(self._words.values())

    def absent(self) -> Iterator[Word]:
        """The words about nodes that are not there, the one that went first first."""
        return (self._words[place] for place in list(self._absent))
