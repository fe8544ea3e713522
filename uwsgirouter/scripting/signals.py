"""``uwsgi.register_signal`` and ``uwsgi.signal``: functions that a number calls.

One idea: a signal is raised by whoever runs in this process (a rule, a script), which waits for nothing; the
function runs in a thread of its own, in a worker a greenlet. A signal that is raised while its function runs makes
it run once more, however often it is raised, so a flood of requests is no flood of threads.
"""

from __future__ import annotations

import _thread
import time
import traceback
from collections.abc import Callable

from uwsgirouter.log import Throttle

NUMBER_MOST = 255
RECEIVERS = ("", "worker", "worker0")
"""Whom a signal can be for: the process that raises it."""


class SignalCalls:
    """The functions of this process. ``block`` logs several lines."""

    def __init__(self, block: Callable[[str], None]) -> None:
        self._block = Throttle(block, 5)
        self._handlers: dict[int, Callable[[int], object]] = {}
        self._raised: set[int] = set()
        self._running: set[int] = set()

    def register_signal(self, number: int, receiver: str, handler: Callable[[int], object], /) -> None:
        """Have ``handler(number)`` called for a signal. ValueError for a receiver that a router has not."""
        _check(number)
        if not callable(handler):
            raise TypeError(f"register_signal: {handler!r} cannot be called")
        if receiver not in RECEIVERS:
            raise ValueError(
                f"register_signal: {receiver!r} is nobody here: the worker whose rule raises a signal handles it ('')"
            )
        self._handlers[number] = handler

    def signal_registered(self, number: int, /) -> bool:
        """Whether there is a function for it."""
        _check(number)
        return number in self._handlers

    def signal(self, number: int = 0, /) -> None:
        """Raise a signal. Does not wait."""
        _check(number)
        if number not in self._handlers:
            self._block(f"signal {number} is raised, and no script has a function for it", time.monotonic())
            return
        self._raised.add(number)
        if number not in self._running:
            self._running.add(number)
            _thread.start_new_thread(self._run, (number,))

    def _run(self, number: int) -> None:
        try:
            while number in self._raised:
                self._raised.discard(number)
                try:
                    self._handlers[number](number)
                except Exception:  # noqa: BLE001 - whatever a script raises is its own
                    self._block(traceback.format_exc(), time.monotonic())
        finally:
            self._running.discard(number)


def _check(number: int) -> None:
    if not isinstance(number, int) or not 0 <= number <= NUMBER_MOST:
        raise ValueError(f"a signal is a number from 0 to {NUMBER_MOST}, not {number!r}")
