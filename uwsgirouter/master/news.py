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
from uwsgirouter.model.node import SERVING, Node, Order, State
from uwsgirouter.model.table import FALLBACK_KEY, STATIC_KEY, RouteTable
from uwsgirouter.protocol.control import FALLBACK, STATIC, to_text

KEPT = 1000
"""Pieces of news that are kept."""
NODES_AT_ONCE = 200
"""Nodes that are compared in one pass of the loop: some tenths of a millisecond."""

_NO_NEWS = ("[rule: ", "*** dumping ", "*** end of the ")
"""How lines begin that show what was configured."""

_ABLE = (*SERVING, State.INACTIVE)
"""States in which a node serves requests, if only after it was started for one."""

Piece = dict[str, object]
KEYS = {STATIC_KEY: STATIC, FALLBACK_KEY: FALLBACK}
"""Keys that are written as no request can have them."""


_How = tuple[State, Order]

_HOWS: dict[_How, _How] = {(state, order): (state, order) for state in State for order in Order}
"""One of each, so that fifty thousand nodes share a few."""


class News:
    """All that happened lately. ``table`` is the master's; its nodes are only looked at while it ``attends``."""

    def __init__(self, table: RouteTable, attends: bool = True) -> None:
        self._table = table
        self._attends = attends
        self._kept: deque[Piece] = deque(maxlen=KEPT)
        self.count = 0
        """The number of the last piece."""
        self.states: Counter[State] = Counter()
        """How many nodes are in each state."""
        self.out: dict[int, None] = {}
        """The nodes that are given no requests, as long as others are there; not those that only have to be started."""
        self.unserved: dict[bytes, None] = {}
        """The keys that have nodes, and none that can be given a request."""
        self._changed: dict[int, None] = {}
        self._nodes: list[Node | None] = []
        """By number, the nodes as they were looked at; and how they were."""
        self._hows: list[_How | None] = []

    def add(self, kind: str, **fields: object) -> None:
        """One piece more."""
        self.count += 1
        self._kept.append({"event": self.count, "at": round(time.time(), 3), "kind": kind, **fields})

    def attend(self, wanted: bool) -> None:
        """Look at nodes from now on, or (nobody can ask) no more: what they were takes memory."""
        if wanted is self._attends:
            return
        self._attends = wanted
        for kept in (self.states, self.out, self.unserved, self._changed, self._nodes, self._hows):
            kept.clear()
        if wanted:
            self._changed = dict.fromkeys(self._table.nodes)

    def node_changed(self, id: int) -> None:
        """Node ``id`` is not what it was, or is no more. Costs next to nothing."""
        if self._attends:
            self._changed[id] = None

    @property
    def is_behind(self) -> bool:
        """Whether there are changes that were not looked at."""
        return bool(self._changed)

    def look(self) -> None:
        """Called in each pass of the loop: see what became of the nodes that changed.

        So many at once that the news would be of nothing else (a start with thousands of nodes) are one piece.
        """
        if not self._changed:
            return
        several: Counter[str] | None = Counter() if len(self._changed) >= NODES_AT_ONCE else None
        for id in list(islice(self._changed, NODES_AT_ONCE)):
            del self._changed[id]
            self._compare(id, several)
        if not self._changed:
            self._changed = {}  # else it keeps the room that it once needed
        if several:
            self.add("nodes", count=several.total(), changes=dict(several))

    def _compare(self, id: int, several: Counter[str] | None) -> None:
        if id >= len(self._nodes):
            more = id + 1 - len(self._nodes)
            self._nodes += [None] * more
            self._hows += [None] * more
        node, before, was = self._table.nodes.get(id), self._nodes[id], self._hows[id]
        how = None if node is None else _HOWS[node.state, node.order]
        self._nodes[id] = node
        if how == was and (node is before or (node is not None and before is not None and _same(node, before))):
            return
        self._hows[id] = how
        self._count(id, was, how)
        for one in (before, node):
            if one is not None:
                self._look_at(one.key)
        told = node or before
        if told is None:
            return
        then, state = None if was is None else was[0].value, "gone" if how is None else how[0].value
        if several is not None:
            several[f"{then or 'new'} -> {state}"] += 1
            return
        self.add(
            "node",
            key=KEYS.get(told.key) or to_text(told.key),
            node=told.address.text,
            state=state,
            was=then,
            order=None if how is None else how[1].value,
            why="" if node is None else node.why,
        )

    def _count(self, id: int, was: _How | None, how: _How | None) -> None:
        if was is not None:
            self.states[was[0]] -= 1
            self.out.pop(id, None)
        if how is not None:
            self.states[how[0]] += 1
            if how[0] not in _ABLE:
                self.out[id] = None

    def _look_at(self, key: bytes) -> None:
        """Whether ``key`` has nodes, and none that can be given a request. (The first one mostly can.)"""
        slot = self._table.slots.get(key)
        if slot is None or any(node.state in _ABLE for node in slot.nodes):
            self.unserved.pop(key, None)
        else:
            self.unserved[key] = None

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


def _same(one: Node, two: Node) -> bool:
    return one.key == two.key and one.address.text == two.address.text
