"""A line to another server: one thread with one connection, which does one call after the other.

One idea: a client library may block as it likes, since nothing but its own thread waits for it. The connection never
leaves its thread, so it does not matter whether the process's sockets are gevent's (they are, once scripts run) or the
system's. It decides nothing: how many lines there are and who waits for them is worker/services.py. Invariants: a
connection whose call failed is closed, not used again; a line that is told to leave closes what it has.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent.monkey import get_original, is_module_patched

from uwsgirouter.errors import RouterError
from uwsgirouter.rules.service import Service, Timing

Work = Callable[[Any], Any]
"""What is done with a connection."""


class Order:
    """One call. ``heard(outcome, error)`` is called in the worker's own thread when it is over; one of both is None."""

    __slots__ = ("heard", "once", "work")

    def __init__(self, work: Work, once: bool, heard: Callable[[Any, BaseException | None], None]) -> None:
        self.work = work
        self.once = once
        """It must not be repeated, whatever became of it."""
        self.heard = heard


class Orders:
    """The calls that wait for a free line of one service, and a way back into the thread of ``loop``."""

    def __init__(self, service: Service[Any], timing: Timing, loop: Any) -> None:
        self._service = service
        self._timing = timing
        self._loop = loop
        self._queue: Any = get_original("queue", "SimpleQueue")()

    def put(self, order: Order) -> None:
        """A line will do it."""
        self._queue.put(order)

    def dismiss(self) -> None:
        """One of the lines leaves, when it is free."""
        self._queue.put(None)

    def start_line(self) -> None:
        """One more. RuntimeError: the system has no thread for it."""
        get_original("_thread", "start_new_thread")(self._serve, ())

    def _serve(self) -> None:
        """The life of a thread."""
        line = Line(self._service, self._timing)
        try:
            while True:
                order = self._queue.get()
                if order is None:
                    return
                outcome, error = line.do(order)
                self._loop.run_callback_threadsafe(order.heard, outcome, error)
                order = outcome = error = None  # an idle line keeps nothing
        finally:
            line.close()
            if is_module_patched("socket"):  # then this thread got a hub of its own
                gevent.get_hub().destroy(destroy_loop=True)


class Line:
    """A connection that is made when it is first needed."""

    def __init__(self, service: Service[Any], timing: Timing) -> None:
        self._service = service
        self._timing = timing
        self._connection: Any = None

    def do(self, order: Order) -> tuple[Any, BaseException | None]:
        """The outcome or the error. The server may have closed an idle connection meanwhile: then it is made again."""
        was_idle = self._connection is not None
        began = time.monotonic()
        try:
            try:
                return self._try(order.work), None
            except RouterError:
                raise
            except self._service.failures:
                # What was closed fails at once; whoever has waited does not wait again.
                if not was_idle or order.once or time.monotonic() - began > self._timing.answer / 2:
                    raise
            return self._try(order.work), None
        except BaseException as error:  # noqa: BLE001 - it is raised where it belongs, in the greenlet
            return None, error

    def _try(self, work: Work) -> Any:
        if self._connection is None:
            self._connection = self._service.connect(self._timing)
        try:
            return work(self._connection)
        except RouterError:
            raise  # the action's own word: the connection has nothing to do with it
        except BaseException:
            self.close()  # whatever it was, nobody knows what comes next on this connection
            raise

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                self._service.close(connection)
