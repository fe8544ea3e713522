"""Requests under way by node, over all workers: what balancers ask for each of their choices.

One idea: the cells are read where they are, one for each living worker, so the number is that of this moment and costs
a few dozen nanoseconds a worker. Rows of workers that are not there are not touched (that would have the kernel give
them memory): who lives is looked up once a second by their beats. A worker that is new has a beat from its fork on, so
the others usually know it before it serves; it counts a second late at most.
Invariant: the own row always counts.
"""

from __future__ import annotations

from uwsgirouter.model.counters import NODE_COLUMNS, ROWS, Counter, Counters

_WAITING_SINCE = int(Counter.WAITING_SINCE)


class InFlight:
    """``inflight(id)`` as worker ``row`` sees it."""

    __slots__ = ("_cells", "_counters", "_others", "_row", "_starts")

    def __init__(self, counters: Counters, row: int) -> None:
        self._counters = counters
        self._row = row
        self._cells = counters.inflight_cells
        self.look()

    def look(self) -> None:
        """Once a second: find out which workers live."""
        beat = int(Counter.BEAT)
        rows = [row for row in range(ROWS) if row == self._row or self._counters.read(row, beat)]
        self._starts = tuple(row * NODE_COLUMNS for row in rows)
        self._others = tuple(row for row in rows if row != self._row)

    def waits_elsewhere(self, since: int) -> bool:
        """Whether somebody waits in another worker who came before monotonic millisecond ``since``."""
        read = self._counters.read
        return any(0 < read(row, _WAITING_SINCE) < since for row in self._others)

    def __call__(self, id: int) -> int:
        """Requests that node ``id`` has under way."""
        cells = self._cells
        total = 0
        for start in self._starts:
            total += cells[start + id]
        return total
