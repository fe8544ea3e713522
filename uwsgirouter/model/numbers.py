"""The numbers of nodes: who gets which, and when one may be given again.

One idea: a number is a column of the in-flight cells, so it rests after its node is gone, and is given again only when
no session of its former bearer is left. Pure: ``now`` is passed in; it asks how many sessions a number has under way.
Invariant: no two nodes have the same number at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from uwsgirouter.model.counters import UNNUMBERED

COOLING = 5.0
"""Seconds for which a node's number rests: no worker can still be choosing that node then."""


class Numbers:
    """``inflight(id)`` tells how many sessions number ``id`` has under way over all workers."""

    def __init__(self, inflight: Callable[[int], int]) -> None:
        self._inflight = inflight
        self._free: deque[tuple[float, int]] = deque()
        self.given_again: Callable[[int], None] | None = None
        """Told of each number that another node had before."""
        self.given = 0
        """How many numbers were ever given: no node has a higher one."""

    def take(self, now: float) -> int | None:
        """A number that nobody uses: one that has rested, else a new one; None when there is none."""
        for _ in range(min(8, len(self._free))):
            freed, id = self._free[0]
            if now - freed < COOLING:
                break
            self._free.popleft()
            if not self._inflight(id):
                if self.given_again is not None:
                    self.given_again(id)
                return id
            self._free.append((now, id))
        if self.given == UNNUMBERED:
            return None
        self.given += 1
        return self.given - 1

    def give_back(self, id: int, now: float) -> None:
        """The node of this number is gone."""
        self._free.append((now, id))

    def rows(self) -> dict[str, Any]:
        """For a successor: how many were given, and those that rest, the first one first."""
        return {"given": self.given, "free": list(self._free)}

    def restore(self, rows: Mapping[str, Any]) -> None:
        """Go on as whoever gave :meth:`rows`."""
        self.given = int(rows["given"])
        self._free = deque((float(freed), int(id)) for freed, id in rows["free"])
