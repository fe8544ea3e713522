"""Measures: what is counted of each key, and how its memory is laid out.

One idea: a worker's part has a row for each key that it has measured, and the first row for all that has none of its
own. A row is a histogram of each of three times, requests by class of status, failures by cause, bytes: 64-bit cells,
written by that worker alone. The memory is given from outside; no I/O. Who writes it is worker/measures.py.
Invariants: a row that has a key keeps it for ever, and no cell but the names ever goes down; so whoever adds up a key's
rows over all workers, dead ones too, gets a number that never goes down. A row counts when it is among the first
``ROWS_USED`` ones, which is written last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from uwsgirouter.model.counters import ROWS
from uwsgirouter.protocol.answers import Cause

KEY_ROWS = 2048
"""Keys with a row of their own in a worker, and the row of the others."""
OTHER = 0
"""The row of the others."""
ROW_CELLS = 128

ROWS_USED = 0
"""In the first row: how many rows are used. In the others: the length of the key."""
KEY = 1
KEY_CELLS = 32
CONNECT, FIRST_BYTE, TOTAL = 33, 48, 63
"""Histograms: a cell for each bound and one for what is beyond, then the sum in microseconds."""
CONNECT_BOUNDS = (100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 500000, 1000000, 5000000)
LATENCY_BOUNDS = (1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 10000000, 60000000)
"""Microseconds: the largest time that is counted in a cell."""
BUCKETS = len(LATENCY_BOUNDS) + 1
SUM = BUCKETS
STATUS = 78
"""Six cells: requests without a status, and those of 1xx to 5xx."""
CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
RX, TX = 84, 85
FAILED = 86
"""The first cell of failures: by cause, as :data:`CAUSES` has them."""
CLIENT_GONE = "client-gone"
CAUSES = (CLIENT_GONE, *(cause.value.word for cause in Cause))

WORKER_CELLS = KEY_ROWS * ROW_CELLS
MEASURES_BYTES = ROWS * WORKER_CELLS * 8
"""What the shared mapping must have."""

Row = Sequence[int]
"""The cells of a row, or their sums over workers."""


class Measures:
    """The whole memory, as the master and the stats see it."""

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self._cells = memory[:MEASURES_BYTES].cast("q")

    def part(self, index: int) -> memoryview:
        """The cells of a worker."""
        return self._cells[index * WORKER_CELLS : (index + 1) * WORKER_CELLS]

    def rows(self, index: int) -> Iterator[tuple[bytes | None, Row]]:
        """The rows of a worker that was there once: the key (None: the others) and the cells."""
        part = self.part(index)
        for number in range(max(1, part[ROWS_USED])):
            cells = part[number * ROW_CELLS : (number + 1) * ROW_CELLS].tolist()
            yield (None if number == OTHER else key_of(part, number)), cells


def key_of(part: memoryview, number: int) -> bytes:
    """The key of a row of a worker's part."""
    place = number * ROW_CELLS
    length = part[place + ROWS_USED]
    return part[place + KEY : place + KEY + KEY_CELLS].tobytes()[:length]


def requests_of(row: Row) -> int:
    """How many requests a row counted."""
    return sum(row[STATUS : STATUS + len(CLASSES)])


def quantile(row: Row, histogram: int, share: float) -> float | None:
    """The seconds below which ``share`` of a histogram's times are, as well as its cells tell; None: it has none."""
    bounds = CONNECT_BOUNDS if histogram == CONNECT else LATENCY_BOUNDS
    cells = row[histogram : histogram + BUCKETS]
    wanted = share * sum(cells)
    if not wanted:
        return None
    below, low = 0, 0
    for count, high in zip(cells, bounds, strict=False):
        if below + count >= wanted:
            return (low + (high - low) * (wanted - below) / count) / 1e6
        below, low = below + count, high
    return bounds[-1] / 1e6


def total(rows: Sequence[Row]) -> Row:
    """The sums of rows."""
    return rows[0] if len(rows) == 1 else [sum(cells) for cells in zip(*rows, strict=True)]
