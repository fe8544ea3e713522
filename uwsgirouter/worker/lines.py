"""Lines of requests that wait until others of their key have ended (``concurrency`` with ``queue=``).

One idea: a line of a worker moves when one of its own requests ends, and every few milliseconds, since requests that
end in other workers are seen in the shared counts only. Only the first of a line looks. How many wait over all workers
is a count like that of those under way, so the line is bounded exactly, and a worker that dies takes its own along.
Invariants: who waits is a greenlet of its session, and leaves line and count whatever ends it; nobody who comes passes
one who waits, in any worker.
"""

from __future__ import annotations

import time
from collections import deque

from gevent.event import Event

from uwsgirouter.model.holds import FULL, UNCOUNTED, Holds
from uwsgirouter.rules.host import Waiting

POLL = 0.01
"""Seconds between two looks at what other workers' requests have left free."""


class _Line:
    """Those who wait for one key; ``cell`` is the number under which its requests are counted, when last looked at."""

    __slots__ = ("cell", "turns")

    def __init__(self) -> None:
        self.cell = UNCOUNTED
        self.turns: deque[Event] = deque()


class Lines:
    """The lines of one worker."""

    def __init__(self, holds: Holds) -> None:
        self._holds = holds
        self._lines: dict[tuple[bytes, bytes], _Line] = {}
        self._watched: dict[int, _Line] = {}
        holds.freed = self._move

    def stand(self, waiting: Waiting, key: bytes) -> int:
        """A number for :meth:`Holds.release`, or FULL when the line is, or when time is up. In a greenlet."""
        line_of_all = waiting.limit + b" in line"
        if not self._holds.count(line_of_all, key):
            cell = self._holds.take(waiting.limit, key, waiting.most)
            if cell != FULL:
                return cell
        place = self._holds.take(line_of_all, key, waiting.places)
        if place == FULL:
            return FULL
        name = (waiting.limit, key)
        line = self._lines.setdefault(name, _Line())
        turn = Event()
        line.turns.append(turn)
        try:
            return self._wait(line, turn, waiting, key)
        finally:
            line.turns.remove(turn)
            if line.turns:
                line.turns[0].set()
            else:
                del self._lines[name]
                self._watch(line, UNCOUNTED)
            self._holds.release(place)

    def _wait(self, line: _Line, turn: Event, waiting: Waiting, key: bytes) -> int:
        deadline = time.monotonic() + waiting.patience
        while (left := deadline - time.monotonic()) > 0:
            turn.clear()
            if line.turns[0] is not turn:
                turn.wait(left)
                continue
            cell = self._holds.take(waiting.limit, key, waiting.most)
            if cell != FULL:
                return cell
            self._watch(line, self._holds.cell(waiting.limit, key))
            turn.wait(min(POLL, left))
        return FULL

    def _watch(self, line: _Line, cell: int) -> None:
        """``line`` waits for requests that are counted under ``cell``."""
        if cell == line.cell:
            return
        if self._watched.get(line.cell) is line:
            del self._watched[line.cell]
        line.cell = cell
        if cell >= 0:
            self._watched[cell] = line

    def _move(self, cell: int) -> None:
        """A request of this worker is over: the first of those who wait for that looks again."""
        line = self._watched.get(cell)
        if line is not None:
            line.turns[0].set()
