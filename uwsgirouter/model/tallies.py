"""Tallies: what is counted of each node, in memory that all processes see.

One idea: as counters (model/counters.py) are a row of cells a worker, tallies are a row of records a worker, one for
each number that a node can have; a record has one writer, so nobody waits for anybody, and readers add up columns.
Pages that nobody touches cost nothing. What a dead worker counted stays: whoever gets its row goes on from there. The
memory is given from outside; no I/O.
Invariants: a record is cleared by the master alone, when its number is given to another node and no session of the
former one is left; who reads a row that was never given out makes pages for nothing, so it must not.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from uwsgirouter.model.counters import NODE_COLUMNS, ROWS

RECORD_CELLS = 8
"""64-bit cells of a node's record in a worker's row: one line of a cache, some of them to spare."""
REQUESTS, RX, TX, FAILURES, LAST = range(5)
"""The cells: requests (connections made, as uWSGI counts), bytes sent to the node and bytes that came from it, failed
connects, and the monotonic milliseconds of the last request."""

_RECORD = RECORD_CELLS
_REQUESTS, _RX, _TX, _FAILURES, _LAST = REQUESTS, RX, TX, FAILURES, LAST
# (The compiled form has these as numbers of C, which nobody else can see.)

ROW_CELLS = NODE_COLUMNS * RECORD_CELLS
TALLIES_BYTES = ROWS * ROW_CELLS * 8
"""What the shared mapping must have."""


class NodeTallies:
    """A worker's own row."""

    __slots__ = ("_cells",)

    def __init__(self, cells: memoryview) -> None:
        self._cells = cells

    def began(self, node: int, milliseconds: int) -> None:
        """A connection to node ``node`` was made, for a request."""
        place = node * _RECORD
        self._cells[place + _REQUESTS] += 1
        self._cells[place + _LAST] = milliseconds

    def moved(self, node: int, rx: int, tx: int) -> None:
        """So many bytes went to and came from a node."""
        place = node * _RECORD
        self._cells[place + _RX] += rx
        self._cells[place + _TX] += tx

    def failed(self, node: int) -> None:
        """It did not accept a connection."""
        self._cells[node * _RECORD + _FAILURES] += 1


class Tallies:
    """The whole memory, as the master and the stats see it."""

    def __init__(self, memory: memoryview) -> None:
        self._cells = memory[:TALLIES_BYTES].cast("q")
        self._announced = array("q")

    def row(self, index: int) -> NodeTallies:
        """That of a worker."""
        return NodeTallies(self._cells[index * ROW_CELLS : (index + 1) * ROW_CELLS])

    def column(self, cell: int, rows: Sequence[int], nodes: int) -> list[int]:
        """For the numbers below ``nodes``: a cell's sum over ``rows`` (of LAST: the latest)."""
        join = max if cell == LAST else sum
        found = [
            self._cells[row * ROW_CELLS + cell : row * ROW_CELLS + nodes * RECORD_CELLS : RECORD_CELLS].tolist()
            for row in rows
        ]
        return found[0] if len(found) == 1 else [join(cells) for cells in zip(*found, strict=True)]

    def of(self, cell: int, node: int, rows: Sequence[int]) -> int:
        """One cell's sum over ``rows``."""
        return sum(self._cells[row * ROW_CELLS + node * RECORD_CELLS + cell] for row in rows)

    def clear(self, node: int, rows: Sequence[int]) -> None:
        """The number is another node's now."""
        empty = memoryview(bytes(8 * RECORD_CELLS)).cast("q")
        for row in rows:
            place = row * ROW_CELLS + node * RECORD_CELLS
            self._cells[place : place + RECORD_CELLS] = empty
        self._set_announced(node, 0)

    def announced(self, node: int, rows: Sequence[int]) -> None:
        """The node announced itself: what it gets from now on is counted apart (:meth:`since_announced`)."""
        self._set_announced(node, self.of(REQUESTS, node, rows))

    def since_announced(self, node: int, requests: int) -> int:
        """How many of a node's ``requests`` came after its last announcement."""
        return max(0, requests - self._announced[node]) if node < len(self._announced) else requests

    def _set_announced(self, node: int, requests: int) -> None:
        if node >= len(self._announced):
            self._announced.extend([0] * (node + 1 - len(self._announced)))
        self._announced[node] = requests
