"""News: what happened to nodes and processes, for operators who look on, and the last of it for those who come later.

One idea: each piece of news is a row with a number; the last ones are kept, and whoever follows asks for those behind
the number that he has. So a follower costs a number, however slowly he reads, and one that is too slow is told how many
he missed. Nodes are compared with what they were when the loop comes round, not at each change; what the master logs
of its processes is news as it is. Invariant: numbers are without gaps.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Iterator
from itertools import islice

from uwsgirouter.log import Log
from uwsgirouter.model.node import SERVING, Order, State
from uwsgirouter.model.table import FALLBACK_KEY, STATIC_KEY, RouteTable
from uwsgirouter.protocol.control import FALLBACK, STATIC, to_text

KEPT = 1000
"""Pieces of news that are kept."""
NODES_AT_ONCE = 200
"""Nodes that are compared in one pass of the loop: some tenths of a millisecond."""

_NO_NEWS = ("[rule: ", "*** dumping ", "*** end of the ")
"""How lines begin that show what was configured."""

Piece = dict[str, object]
_KEYS = {STATIC_KEY: STATIC, FALLBACK_KEY: FALLBACK}


class News:
    """All that happened lately. ``table`` is the master's."""

    def __init__(self, table: RouteTable) -> None:
        self._table = table
        self._kept: deque[Piece] = deque(maxlen=KEPT)
        self.count = 0
        """The number of the last piece."""
        self.states: Counter[State] = Counter()
        """How many nodes are in each state."""
        self.out: dict[int, None] = {}
        """The nodes that are given no requests, as long as others are there."""
        self._changed: dict[int, None] = {}
        self._known: dict[int, tuple[bytes, str, State, Order]] = {}

    def add(self, kind: str, **fields: object) -> None:
        """One piece more."""
        self.count += 1
        self._kept.append({"event": self.count, "at": round(time.time(), 3), "kind": kind, **fields})

    def node_changed(self, id: int) -> None:
        """Node ``id`` is not what it was, or is no more. Costs next to nothing."""
        self._changed[id] = None

    def look(self) -> None:
        """Called in each pass of the loop: see what became of the nodes that changed."""
        if not self._changed:
            return
        for id in list(islice(self._changed, NODES_AT_ONCE)):
            del self._changed[id]
            self._compare(id)

    def _compare(self, id: int) -> None:
        node, before = self._table.nodes.get(id), self._known.get(id)
        now = None if node is None else (node.key, node.address.text, node.state, node.order)
        if now == before:
            return
        if before is not None:
            self.states[before[2]] -= 1
            self.out.pop(id, None)
        if now is None:
            del self._known[id]
        else:
            self._known[id] = now
            self.states[now[2]] += 1
            if now[2] not in SERVING:
                self.out[id] = None
        key, address, _, _ = now or before or (b"", "", State.DOWN, Order.READY)
        self.add(
            "node",
            key=_KEYS.get(key) or to_text(key),
            node=address,
            state="gone" if now is None else now[2].value,
            was=None if before is None else before[2].value,
            order=None if now is None else now[3].value,
            why="" if node is None else node.why,
        )

    def last(self, count: int) -> list[Piece]:
        """The last ones, oldest first."""
        return list(islice(self._kept, max(0, len(self._kept) - count), None))

    def after(self, number: int) -> tuple[int, list[Piece]]:
        """How many of those behind ``number`` are not kept any more, and those that are."""
        wanted = self.count - number
        return max(0, wanted - len(self._kept)), self.last(wanted)

    def follow(self, number: int) -> Iterator[Piece | None]:
        """The news behind ``number``; None when there is none for now."""
        while True:
            missed, news = self.after(number)
            number = self.count
            if missed:
                yield {"event": number, "at": round(time.time(), 3), "kind": "missed", "count": missed}
            yield from news
            if number == self.count:
                yield None


class HeardLog(Log):
    """A log whose lines are news, too."""

    def __init__(self, log: Log, news: News) -> None:
        super().__init__(log.name)
        self._news = news
        self._front = f"[{log.name} pid {os.getpid()}] "

    def line(self, text: str) -> None:
        """As :meth:`Log.line`."""
        super().line(text)
        if not text.startswith(_NO_NEWS):
            self._news.add("router", text=text.removeprefix(self._front))
