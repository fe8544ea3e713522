"""Requests under way by key, counted over all workers: who may have one more at the same time.

One idea: a key that has requests under way has a cell number, the same in all workers; each worker counts its own in
a row of its own, and the sum over the rows is the number. So a worker that is killed takes its count with it when its
row is cleared, and a number whose sum is 0 is free for another key without anybody saying so. No I/O here.
Invariants: a row has one writer; a new key gets a number, and a count goes up, only under the lock of the key's set,
so that two workers never let one too many in; a count goes down without it.
"""

from __future__ import annotations

from collections.abc import Callable

from uwsgirouter.model.counters import ROWS
from uwsgirouter.model.shelf import STRIPES, WAYS, Spots, Stripes

CELLS = 65536
"""Keys that can have requests under way at once, about: a set of them may be full before the others are."""
ROW_BYTES = CELLS * 4
HEAD_BYTES = 65536
"""Who lives, a byte a row; as large as the largest page, so that rows begin at one."""
ROWS_AT = HEAD_BYTES + CELLS * 8
"""Where the rows begin."""
MEMORY_BYTES = ROWS_AT + ROWS * ROW_BYTES
"""Pages that nobody touches cost nothing."""

FULL = -1
"""The key has as many as it may have."""
UNCOUNTED = -2
"""There is no cell for it: it goes on without being counted."""


class Holds:
    """As worker ``row`` sees them. ``memory`` has :data:`MEMORY_BYTES` zeroed bytes."""

    def __init__(self, memory: memoryview, row: int, secret: bytes, locks: Stripes) -> None:
        self._active = memory[:ROWS]
        self._tags = memory[HEAD_BYTES:ROWS_AT].cast("Q")
        self._counts = memory[ROWS_AT:MEMORY_BYTES].cast("i")
        self._own = row * CELLS
        self._spots = Spots(secret)
        self._locks = locks
        self._known = b""
        self._rows: tuple[int, ...] = ()
        self._active[row] = 1
        self.freed: Callable[[int], None] | None = None
        """Called with the number when one is over that this worker counted."""

    def take(self, limit: bytes, key: bytes, most: int) -> int:
        """Count one more of that limit's key, unless there are ``most``: the number for :meth:`release`, or FULL, or
        UNCOUNTED.
        """
        spot = self._spots(limit, key)
        at = spot.number % (CELLS // WAYS)
        stripe = at % STRIPES
        is_alone = self._locks.enter(stripe)
        try:
            cell = self._find(spot.tag, at * WAYS, is_alone)
            if cell < 0:
                return cell
            if self._sum(cell) >= most:
                return FULL
            self._counts[self._own + cell] += 1
            return cell
        finally:
            if is_alone:
                self._locks.leave(stripe)

    def release(self, cell: int) -> None:
        """One is over that :meth:`take` has counted."""
        if cell >= 0:
            self._counts[self._own + cell] -= 1
            if self.freed is not None:
                self.freed(cell)

    def cell(self, limit: bytes, key: bytes) -> int:
        """The number of a key that has, or had, requests under way; UNCOUNTED when there is none."""
        spot = self._spots(limit, key)
        return self._find(spot.tag, spot.number % (CELLS // WAYS) * WAYS, False)

    def count(self, limit: bytes, key: bytes) -> int:
        """Those of a key that are under way, in all workers."""
        cell = self.cell(limit, key)
        return 0 if cell < 0 else self._sum(cell)

    def _find(self, tag: int, start: int, is_alone: bool) -> int:
        line = self._tags[start : start + WAYS].tolist()
        if tag in line:
            return int(start + line.index(tag))
        for cell in range(start, start + WAYS) if is_alone else ():
            if not self._sum(cell):
                self._tags[cell] = tag
                return cell
        return UNCOUNTED

    def _sum(self, cell: int) -> int:
        active = self._active.tobytes()
        if active != self._known:
            self._known = active
            self._rows = tuple(row * CELLS for row in range(ROWS) if active[row])
        counts = self._counts
        return sum([counts[row + cell] for row in self._rows])
