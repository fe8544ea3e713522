"""File calls that may wait for a disk, made by a few threads so that the loop never waits.

One idea: the loop hands over a function and is called back with what came of it; the order of one caller's calls is
kept because a caller has one call under way at a time. It knows nothing of bodies. Invariant: at most
:data:`THREADS` calls run at once, the others wait in a queue here (gevent's own pool would make the loop wait).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from gevent.threadpool import ThreadPool

THREADS = 2

Done = Callable[[Any, OSError | None], None]
"""Called in the loop with the result, or with what was raised."""


class Disk:
    """Threads that start with the first call."""

    def __init__(self) -> None:
        self._pool: Any = None
        self._running = 0
        self._waiting: deque[tuple[Callable[[], Any], Done]] = deque()

    def call(self, function: Callable[[], Any], done: Done) -> None:
        """Run ``function`` in a thread, then ``done`` in the loop. Does not block."""
        if self._running >= THREADS:
            self._waiting.append((function, done))
            return
        if self._pool is None:
            self._pool = ThreadPool(THREADS + 1)
        self._running += 1
        self._pool.spawn(_caught, function).rawlink(lambda result: self._done(result, done))

    def _done(self, result: Any, done: Done) -> None:
        self._running -= 1
        if self._waiting:
            self.call(*self._waiting.popleft())
        done(*result.get())


def _caught(function: Callable[[], Any]) -> tuple[Any, OSError | None]:
    try:
        return function(), None
    except OSError as error:
        return None, error
