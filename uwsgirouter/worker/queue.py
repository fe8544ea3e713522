"""The queue: requests of keys whose nodes have all the requests that they can have (``subscription-limit-cores``).

One idea: who came first is asked first, whenever a request here ends and every few milliseconds (requests that end in
other workers are seen in the shared cells only), whether a node is free for it. Each key has a line of its own, of
bounded length, and nobody waits longer than ``subscription-queue-timeout``. What a session does with its turn is
worker/seeking.py's to say. Invariant: a session is in one line at most; the timer runs only while somebody waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from uwsgirouter.protocol.answers import Cause
from uwsgirouter.worker.seeking import dequeued

if TYPE_CHECKING:
    from uwsgirouter.model.node import Node
    from uwsgirouter.worker.choice import Choice
    from uwsgirouter.worker.session import Session

POLL = 0.005
"""Seconds between two looks at what other workers' requests have left free."""


class Queue:
    """Lines by slot key. ``patience``: seconds; ``most``: requests in a line."""

    def __init__(
        self, loop: Any, choice: Choice, patience: float, most: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.waiting = 0
        """Requests in all lines."""
        self._loop = loop
        self._choice = choice
        self._patience = patience
        self._most = most
        self._clock = clock
        self._lines: dict[bytes, dict[Session, float]] = {}
        self._places: dict[Session, bytes] = {}
        self._timer = loop.timer(POLL, POLL)
        self._called = False

    def has(self, key: bytes) -> bool:
        """Whether somebody waits for ``key``: who comes now stands behind."""
        return key in self._lines

    def put(self, session: Session, key: bytes) -> bool:
        """Let ``session`` wait; False when the line is full, or nobody is to wait at all."""
        line = self._lines.get(key)
        if self._patience <= 0 or (line is not None and len(line) >= self._most):
            return False
        if not self._places:
            self._timer.again(self._poll)
        self._lines.setdefault(key, {})[session] = self._clock() + self._patience
        self._places[session] = key
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
        if not self._places:
            self._timer.stop()

    def released(self, node: Node) -> None:
        """A request of ``node`` has ended here: those who wait are asked as soon as what goes on now is done."""
        if node.key in self._lines and not self._called:
            self._called = True
            self._loop.run_callback(self._poll)

    def _poll(self) -> None:
        self._called = False
        now = self._clock()
        for key in list(self._lines):
            line = self._lines.get(key, {})
            for session in [session for session, end in line.items() if now >= end]:
                if session in self._places:
                    self.forget(session)
                    session.fail(Cause.QUEUE_TIMEOUT, f"{self._patience:g} s")
            self._serve(key)

    def _serve(self, key: bytes) -> None:
        """Give what is free to those who wait for it, in their order."""
        for session in list(self._lines.get(key, ())):
            if session not in self._places:
                continue  # it ended while others were served
            slot = session.look()
            if session not in self._places:
                continue
            tried = session.tried or []
            waits = self._choice.must_wait(session, slot, tried, in_line=True)
            if waits is not None and self._choice.is_full(waits):
                return  # for all of them
            if waits is not None:
                continue  # it waits for the node of its cookie: those behind it may have others
            node = self._choice.pick(session, slot, tried, in_line=True) if slot is not None else None
            self.forget(session)
            dequeued(session, slot, node)
