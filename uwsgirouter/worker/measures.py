"""Measures of a worker: each request that is over is counted in the row of its key.

One idea: a key has a row of its own from its first answered request on, as long as there are rows; whatever else comes
(keys that nobody serves, of which anybody can make as many as they like, and keys beyond the last row) is counted
together. So it is a look-up and some additions a request. How the rows are laid out is model/measures.py's to say; it
must not know who reads them.
Invariant: what a worker that had this row before has counted goes on.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from uwsgirouter.model import measures as layout
from uwsgirouter.model.measures import CAUSES, CONNECT_BOUNDS, KEY_ROWS, LATENCY_BOUNDS, key_of

if TYPE_CHECKING:
    from uwsgirouter.worker.record import Record
    from uwsgirouter.worker.session import Session

_ROW_CELLS = layout.ROW_CELLS
_ROWS_USED, _KEY, _KEY_CELLS = layout.ROWS_USED, layout.KEY, layout.KEY_CELLS
_CONNECT, _FIRST_BYTE, _TOTAL = layout.CONNECT, layout.FIRST_BYTE, layout.TOTAL
_STATUS, _RX, _TX, _FAILED = layout.STATUS, layout.RX, layout.TX, layout.FAILED
_BOUNDS = len(LATENCY_BOUNDS)
_FAILED_OF = {word: layout.FAILED + index for index, word in enumerate(CAUSES)}
_MICROSECONDS = 1000000.0


class KeyMeasures:
    """``cells``: the worker's part of the shared memory."""

    __slots__ = ("_cells", "_connect", "_latency", "_part", "_places")

    def __init__(self, cells: memoryview) -> None:
        self._cells = cells
        self._part = cells
        self._connect = array("q", CONNECT_BOUNDS)
        self._latency = array("q", LATENCY_BOUNDS)
        self._places: dict[bytes, int] = {}
        used = max(1, cells[_ROWS_USED])
        for number in range(1, used):
            self._places[key_of(cells, number)] = number * _ROW_CELLS
        cells[_ROWS_USED] = used

    def note(self, session: Session, record: Record) -> None:
        """``session`` is over: a sink of the observer."""
        key = session.key
        place = self._places.get(key, -1)
        if place < 0:
            place = self._place(key) if record.first and key else 0
        cells = self._cells
        if record.connected:
            self._count(place + _CONNECT, self._connect, record.connected - record.dialled)
            if record.first:
                self._count(place + _FIRST_BYTE, self._latency, record.first - record.connected)
        self._count(place + _TOTAL, self._latency, record.ended - record.began)
        status = record.status // 100
        cells[place + _STATUS + (status if 0 < status < 6 else 0)] += 1
        cells[place + _RX] += record.rx
        cells[place + _TX] += record.tx
        if record.cause:
            cells[place + self._failed(record.cause)] += 1

    def _count(self, place: int, bounds: array[int], seconds: float) -> None:
        """A time, in the histogram at ``place``."""
        time = int(seconds * _MICROSECONDS)
        bucket = 0
        while bucket < _BOUNDS and time > bounds[bucket]:
            bucket += 1
        self._cells[place + bucket] += 1
        self._cells[place + _BOUNDS + 1] += time

    def _failed(self, cause: str) -> int:
        return _FAILED_OF.get(cause, _FAILED)

    def _place(self, key: bytes) -> int:
        """A row for a key that has none; that of the others when there is none left."""
        number = self._cells[_ROWS_USED]
        if number >= KEY_ROWS or len(key) > 8 * _KEY_CELLS:
            return 0
        place = number * _ROW_CELLS
        padded = memoryview(key.ljust(8 * _KEY_CELLS, b"\0")).cast("q")
        self._part[place + _KEY : place + _KEY + _KEY_CELLS] = padded
        self._cells[place + _ROWS_USED] = len(key)
        self._cells[_ROWS_USED] = number + 1
        self._places[key] = place
        return place
