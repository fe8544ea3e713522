"""What the worker processes of a forking server let their parent know: that one of them serves, and who is busy.

One idea: a page of shared memory that is made before the fork. Each worker writes a cell of its own, so nobody waits
for anybody; the parent adds up the cells of the workers that it has, so what a killed one left behind counts no more.
It must not know the server.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterable

CELLS = 1023
"""Workers that have a cell of their own; numbers grow by one with each worker that is started."""


class Gauge:
    """Made in the parent. ``number`` of a worker: any that none of the others that live has, modulo :data:`CELLS`."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 4 * (CELLS + 1))
        self._cells = memoryview(self._memory).cast("I")
        self._lock = threading.Lock()

    # -- in a worker -------------------------------------------------------------------------------------------------

    def serve(self, number: int) -> None:
        """This worker is about to take requests."""
        self._lock = threading.Lock()
        self._cells[1 + number % CELLS] = 0
        self._cells[0] = 1

    def begin(self, number: int) -> None:
        """A request begins, in whatever thread."""
        with self._lock:
            self._cells[1 + number % CELLS] += 1

    def end(self, number: int) -> None:
        """One that began has ended, whatever became of it."""
        with self._lock:
            cell = 1 + number % CELLS
            self._cells[cell] = max(0, self._cells[cell] - 1)

    # -- in the parent -----------------------------------------------------------------------------------------------

    @property
    def has_served(self) -> bool:
        """Some worker was ready to take requests, once."""
        return self._cells[0] == 1

    def busy(self, numbers: Iterable[int]) -> int:
        """Requests under way in these workers."""
        return sum(self._cells[1 + number % CELLS] for number in numbers)
