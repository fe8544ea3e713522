"""Vassals: the nodes that an Emperor can start, by name, and for how long that holds.

One idea: a node *stands by* while somebody says of its vassal that it can be started (an inactive announcement, or the
vassal's own word when it stops). A node that stands by is put to sleep where another one would be removed. The times
are given from outside; what becomes of a node is the registry's to decide. Pure; never yields.
"""

from __future__ import annotations

from collections import OrderedDict

from uwsgirouter.model.node import Node

STANDING_TOLERANCE = 7200.0
"""Seconds for which an inactive announcement holds."""
STANDING_MOST = 32768
"""Vassals that can be started: half of the nodes that there can be. They stay for hours, so a flood of them must not
keep out those that run."""


class Vassals:
    """The vassals of one registry; nodes are known by their numbers."""

    def __init__(self) -> None:
        self._ids: dict[tuple[bytes, bytes], int] = {}
        self._standing: OrderedDict[int, float] = OrderedDict()
        """Numbers of nodes that stand by, and when that was last said; the oldest word first."""

    def find(self, key: bytes, vassal: bytes) -> int | None:
        """The number of the node that is vassal ``vassal`` of ``key``."""
        return self._ids.get((key, vassal))

    def name(self, node: Node) -> None:
        """``node`` is its vassal's node from now on."""
        if node.vassal:
            self._ids[node.key, node.vassal] = node.id

    def stand_by(self, id: int, now: float) -> None:
        """Somebody said at ``now`` that this node's vassal can be started."""
        self._standing[id] = now
        self._standing.move_to_end(id)

    def stands_by(self, id: int) -> bool:
        """Whether the node's vassal can be started."""
        return id in self._standing

    def has_room(self, id: int | None) -> bool:
        """Whether it can be said of this node (None: of a new one)."""
        return id in self._standing or len(self._standing) < STANDING_MOST

    def said(self, id: int) -> float | None:
        """When that was said last; None when nobody says it."""
        return self._standing.get(id)

    def rows(self) -> list[tuple[int, float]]:
        """All that stand by, and when that was said, the oldest word first."""
        return list(self._standing.items())

    def stand_down(self, id: int) -> None:
        """It cannot be started any more."""
        self._standing.pop(id, None)

    def overdue(self, now: float, tolerance: float) -> list[int]:
        """The nodes of which nobody said anything for longer than ``tolerance`` seconds."""
        found = []
        for id, said in self._standing.items():
            if now - said <= tolerance:
                break
            found.append(id)
        return found

    def forget_name(self, node: Node) -> None:
        """``node`` is not its vassal's any more."""
        if self._ids.get((node.key, node.vassal)) == node.id:
            del self._ids[node.key, node.vassal]

    def forget(self, node: Node) -> None:
        """``node`` is gone."""
        self.forget_name(node)
        self.stand_down(node.id)
