"""The queue: requests of keys whose nodes have all the requests that they can have (``subscription-limit-cores``).

One idea: who came first is asked first, whenever a request here ends and every few milliseconds (requests that end in
other workers are seen in the shared cells only), whether a node is free for it. Each key has a line of its own, of
bounded length, and nobody waits longer than ``subscription-queue-timeout``. What a session does with its turn is
worker/seeking.py's to say. Invariants: a session is in one line at most; the timer runs while somebody waits, and only
then; who loses its turn to another worker has its place again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable
from itertools import takewhile
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from uwsgirouter.model.counters import Counter
from uwsgirouter.protocol.answers import Cause
from uwsgirouter.worker.seeking import dequeued, look

if TYPE_CHECKING:
    from uwsgirouter.mappers.base import Candidates
    from uwsgirouter.model.node import Node
    from uwsgirouter.model.slot import Slot
    from uwsgirouter.worker.choice import Choice
    from uwsgirouter.worker.session import Session

_WAITING_SINCE = int(Counter.WAITING_SINCE)

POLL = 0.005
"""Seconds between two looks at what other workers' requests have left free."""
REST = 4
"""A look that took long is followed by a rest of so many times that, so that long lines leave time for the others."""


class Queue:
    """Lines by slot key. ``patience``: seconds; ``most``: requests in a line; ``cells``: the worker's counters.

    ``waits_elsewhere(since)``: whether another worker has somebody who came before that millisecond.
    """

    def __init__(
        self,
        loop: Any,
        choice: Choice,
        patience: float,
        most: int,
        cells: memoryview,
        waits_elsewhere: Callable[[int], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.waiting = 0
        """Requests in all lines."""
        self._loop = loop
        self._choice = choice
        self._patience = patience
        self._most = most
        self._clock = clock
        self._lines: dict[bytes, dict[Session, float]] = {}
        """By key, and in their order, those who wait, and until when."""
        self._places: dict[Session, bytes] = {}
        self._awaited: dict[bytes, set[Node]] = {}
        """By key, the nodes that those in the line may be given."""
        self._cells = cells
        self._waits_elsewhere = waits_elsewhere
        self._was_left = False
        """The last request that could have gone on here was left to the other workers."""
        self._timer = loop.timer(POLL, POLL)
        self._rests_until = 0.0
        self._freed: set[bytes] = set()
        """Lines to look at as soon as what goes on now is done."""
        self._called: Session | None = None
        self._called_until = 0.0
        """Whose turn it is at this moment, and until when it could wait."""

    def awaited(self, key: bytes) -> Container[Node]:
        """The nodes of ``key`` that those who wait may be given: who comes now must leave them alone."""
        return self._awaited.get(key, ())

    def put(self, session: Session, key: bytes, wanted: Iterable[Node]) -> bool:
        """Let ``session`` wait for one of ``wanted``; False when the line is full, or nobody is to wait at all."""
        line = self._lines.get(key, {})
        came_before = session is self._called
        if not came_before and (self._patience <= 0 or len(line) >= self._most):
            return False
        if not self._places:
            self._timer.again(self._poll)
        if came_before:
            places = [(session, self._called_until), *line.items()]
            self._lines[key] = dict(sorted(places, key=itemgetter(1)))
        else:
            line[session] = self._clock() + self._patience
            self._lines[key] = line
        self._places[session] = key
        self._awaited.setdefault(key, set()).update(wanted)
        self.waiting = len(self._places)
        return True

    def forget(self, session: Session) -> None:
        """``session`` waits no more."""
        key = self._places.pop(session, None)
        if key is None:
            return
        self.waiting = len(self._places)
        line = self._lines[key]
        del line[session]
        if not line:
            del self._lines[key]
            self._awaited.pop(key, None)
        if not self._places:
            self._timer.stop()
            self._cells[_WAITING_SINCE] = 0

    def released(self, node: Node) -> None:
        """A request of ``node`` has ended here: those who wait are asked as soon as what goes on now is done."""
        if node.key in self._lines:
            if not self._freed:
                self._loop.run_callback(self._serve_freed)
            self._freed.add(node.key)

    def go_on(self) -> None:
        """A handler of ours raised, and the loop has stopped its timer."""
        self._loop.run_callback(self._go_on)

    def _go_on(self) -> None:
        if self._places:
            self._timer.again(self._poll)

    def _serve_freed(self) -> None:
        freed, self._freed = self._freed, set()
        for key in freed:
            if not self._is_left_to_others(key):
                self._serve(key)

    def _is_left_to_others(self, key: bytes) -> bool:
        """Whether the timer is soon enough, so that another worker, whose requests came first, has a chance as well.

        Every second time: what those wait for may be quite another node.
        """
        line = self._lines.get(key)
        if not line:
            return False
        self._was_left = not self._was_left and self._waits_elsewhere(self._came(next(iter(line.values()))))
        return self._was_left

    def _came(self, end: float) -> int:
        """Monotonic milliseconds of when somebody came who waits until ``end``."""
        return int((end - self._patience) * 1000)

    def _poll(self) -> None:
        began = self._clock()
        if began < self._rests_until:
            return
        for key in list(self._lines):
            self._dismiss(key, began)
            self._serve(key)
        if self._lines:
            self._cells[_WAITING_SINCE] = self._came(min(next(iter(line.values())) for line in self._lines.values()))
        ended = self._clock()
        self._rests_until = ended + REST * (ended - began)

    def _dismiss(self, key: bytes, now: float) -> None:
        """Tell those who have waited for long enough."""
        for session, _ in list(takewhile(lambda place: now >= place[1], self._lines.get(key, {}).items())):
            if self._places.get(session) == key:
                self.forget(session)
                session.fail(Cause.QUEUE_TIMEOUT, f"{self._patience:g} s")

    def _serve(self, key: bytes) -> None:
        """Give what is free to those who wait for it, in their order."""
        passed: list[Node] = []
        for session in list(self._lines.get(key, ())):
            if self._places.get(session) != key:
                continue  # it ended while others were served
            slot = look(session)
            if self._places.get(session) != key:
                continue
            waits = self._choice.must_wait(session, slot, session.tried or [], in_line=True)
            if waits is None or waits.key != key:
                self._call(session, slot, waits)
            elif self._choice.is_full(waits, self._awaited.get(key, ())):
                return  # for all of them
            else:
                # It waits for the node of its cookie: those behind it may have others.
                passed += self._choice.wanted(session, waits, session.tried or [])
        if key in self._lines:
            self._awaited[key] = set(passed)

    def _call(self, session: Session, slot: Candidates | None, waits: Slot | None) -> None:
        """It is the turn of ``session``, or (``waits``) it goes on waiting in another line."""
        self._called, self._called_until = session, self._lines[self._places[session]][session]
        self.forget(session)
        try:
            if waits is not None:
                self.put(session, waits.key, self._choice.wanted(session, waits, session.tried or []))
                return
            tried = session.tried or []
            node = self._choice.pick(session, slot, tried, in_line=True) if slot is not None else None
            dequeued(session, slot, node)
        finally:
            self._called = None
