"""Counters that all processes see: one row a worker in shared memory.

One idea: a cell has one writer (the worker whose row it is), so no lock is needed; readers add up the column. The
memory is given from outside (an anonymous mapping made by the master before the first fork), so this module does no
I/O.
Invariant: the master clears a row only when its worker is dead. In-flight cells are signed: a column's sum is the
number of sessions that a node has under way, over all workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any

from uwsgirouter.protocol.answers import Cause

ROWS = 256
"""Workers that can exist at once: two generations of them during a reload."""
NODE_COLUMNS = 65536
"""Nodes that can be numbered at once."""
UNNUMBERED = NODE_COLUMNS - 1
"""The column of all nodes that no registry numbers: those that a mapper makes of a request's key."""


class Counter(IntEnum):
    """The columns of a worker's row (64-bit cells)."""

    BEAT = 0
    """Monotonic milliseconds of the last pass of the worker's clock."""
    SESSIONS = 1
    """Sessions open now."""
    REQUESTS = 2
    """Packets read whole."""
    ANSWERED = 3
    """Requests that a node began to answer."""
    RX = 4
    """Bytes sent to nodes, packets included."""
    TX = 5
    """Bytes that came from nodes."""
    RETRIES = 6
    """Attempts after the first one."""
    NODE_FAILURES = 7
    """Failed connects."""
    CLIENT_GONE = 8
    """Clients that went away before the end."""
    ABORTED = 9
    """Responses cut off after their first byte (reset, timeout)."""
    ACCEPT_ERRORS = 10
    ADOPTED = 11
    """Clients that a node took over (descriptor passing)."""
    WAITING_SINCE = 12
    """Monotonic milliseconds of when the first of those came who wait for a node that is not full; 0: nobody waits."""
    LINES_DROPPED = 13
    """Lines of the log that nobody took."""
    LOG_DROPPED = 14
    """Lines of the access log that the logger did not take in time."""
    FAILURES = 16
    """The first of the cells by cause: one for each :class:`~uwsgirouter.protocol.answers.Cause`, in its order."""
    LAG = 60
    """Microseconds by which the last pass of the worker's clock was late."""
    LAG_TOTAL = 61
    """The sum of them."""
    CHEAP = 62
    """1 while it accepts nothing, since no node is there."""
    USED = 63
    """The master's: 1 since the row was given out for the first time."""


ROW_CELLS = 64
COUNTER_BYTES = ROWS * ROW_CELLS * 8
INFLIGHT_BYTES = ROWS * NODE_COLUMNS * 4
MEMORY_BYTES = COUNTER_BYTES + INFLIGHT_BYTES
"""What the shared mapping must have; pages that nobody touches cost nothing."""


def layout() -> dict[str, Any]:
    """Where what is in the memory, for a program of another version that is given it."""
    return {
        "rows": ROWS,
        "nodes": NODE_COLUMNS,
        "cells": ROW_CELLS,
        "columns": [[int(column), column.name] for column in Counter],
        "causes": [cause.value.word for cause in Cause],
    }


def fits(theirs: Mapping[str, Any]) -> bool:
    """Whether memory of that :func:`layout` can be used as ours: nothing is anywhere else, though there may be more."""
    ours = layout()
    if any(ours[size] != theirs.get(size) for size in ("rows", "nodes", "cells")):
        return False
    known = dict(ours["columns"])
    if any(known.get(number, name) != name for number, name in theirs["columns"]):
        return False
    return all(one == two for one, two in zip(ours["causes"], theirs["causes"], strict=False))


class Counters:
    """The whole memory, as the master and the stats see it."""

    def __init__(self, memory: memoryview) -> None:
        self._cells = memory[:COUNTER_BYTES].cast("q")
        self._inflight = memory[COUNTER_BYTES:MEMORY_BYTES].cast("i")

    def row(self, index: int) -> memoryview:
        """The counter cells of row ``index``; subscript it with a :class:`Counter`."""
        return self._cells[index * ROW_CELLS : (index + 1) * ROW_CELLS]

    def inflight_row(self, index: int) -> memoryview:
        """The in-flight cells of row ``index``; subscript it with a node's id."""
        return self._inflight[index * NODE_COLUMNS : (index + 1) * NODE_COLUMNS]

    @property
    def inflight_cells(self) -> memoryview:
        """The in-flight cells of all rows, one row behind the other."""
        return self._inflight

    def read(self, row: int, column: int) -> int:
        """One cell."""
        value: int = self._cells[row * ROW_CELLS + column]
        return value

    def total(self, column: int, rows: Iterable[int]) -> int:
        """The sum of one column over ``rows``."""
        return sum(self._cells[row * ROW_CELLS + column] for row in rows)

    def inflight(self, node: int, rows: Iterable[int]) -> int:
        """Sessions that node ``node`` has under way in the workers of ``rows``."""
        return sum(self._inflight[row * NODE_COLUMNS + node] for row in rows)

    def used_rows(self) -> list[int]:
        """The rows that were ever given to a worker; what the dead counted still counts."""
        return [row for row, used in enumerate(self._cells[Counter.USED :: ROW_CELLS].tolist()) if used]

    def inflight_column(self, rows: Iterable[int], nodes: int) -> list[int]:
        """For the numbers below ``nodes``: the sessions under way in the workers of ``rows``."""
        found = [self._inflight[row * NODE_COLUMNS : row * NODE_COLUMNS + nodes].tolist() for row in rows]
        return [sum(cells) for cells in zip(*found, strict=True)] if found else [0] * nodes

    def release_row(self, index: int, nodes: int) -> None:
        """Forget what a dead worker held: its gauges, and its in-flight cells for the first ``nodes`` numbers."""
        self._cells[index * ROW_CELLS + Counter.SESSIONS] = 0
        self._cells[index * ROW_CELLS + Counter.BEAT] = 0
        self._cells[index * ROW_CELLS + Counter.WAITING_SINCE] = 0
        self._cells[index * ROW_CELLS + Counter.LAG] = 0
        self._cells[index * ROW_CELLS + Counter.CHEAP] = 0
        start = index * NODE_COLUMNS
        self._inflight[start + UNNUMBERED] = 0
        self._inflight[start : start + nodes] = memoryview(bytes(4 * nodes)).cast("i")
